//! All that is wrong with `vmward.toml`, each with its place.

use std::fmt;
use std::ops::Range;

/// Most mistakes that are shown: a file of another kind has thousands.
pub(super) const FAULTS_MAX: usize = 50;
/// Longest part of a source line that is shown, in characters.
const SHOWN_CHARS_MAX: usize = 120;

/// The mistakes of one file, in the order of the text; at least one.
#[derive(Debug, PartialEq, Eq)]
pub struct Faults {
    faults: Vec<Shown>,
    /// What was not looked at because of them.
    unread: Option<&'static str>,
}

/// One mistake before its place is worked out.
#[derive(Debug)]
pub(super) struct Fault {
    /// Bytes of the text; `None` for what is not in the file.
    pub(super) span: Option<Range<usize>>,
    /// What is wrong, and what to write instead.
    pub(super) message: String,
}

#[derive(Debug, PartialEq, Eq)]
struct Shown {
    message: String,
    place: Option<Place>,
}

#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// From 1.
    line: usize,
    /// In characters, from 1.
    column: usize,
    /// The part of the source line that is shown.
    source: String,
    /// What stands before the mistake there, in characters.
    before: usize,
    /// In characters, at least 1.
    width: usize,
}

impl Faults {
    /// `unread` says what was not looked at, where that is so.
    pub(super) fn new(text: &str, mut found: Vec<Fault>, unread: Option<&'static str>) -> Faults {
        found.sort_by_key(|fault| fault.span.as_ref().map(|span| span.start));
        let shown = found.into_iter().map(|Fault { span, message }| Shown {
            message,
            place: span.map(|span| place(text, &span)),
        });
        Faults {
            faults: shown.collect(),
            unread,
        }
    }
}

impl std::error::Error for Faults {}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.faults.len() > 1 {
            writeln!(f, "{} mistakes", self.faults.len())?;
        }
        for (index, Shown { message, place }) in self.faults.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            match place {
                Some(place) => {
                    let (line, column) = (place.line, place.column);
                    write!(f, "line {line}, column {column}: {message}")?;
                    place.fmt_excerpt(f)?;
                }
                None => f.write_str(message)?,
            }
        }
        match self.unread {
            Some(unread) => write!(f, "\n{unread}"),
            None => Ok(()),
        }
    }
}

impl Place {
    fn fmt_excerpt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gutter = self.line.to_string();
        let blank = " ".repeat(gutter.len());
        // Tabs stay, so that the caret lines up whatever a terminal makes of them.
        let indent = self.source.chars().take(self.before);
        let indent: String = indent.map(|c| if c == '\t' { c } else { ' ' }).collect();
        write!(
            f,
            "\n {gutter} | {}\n {blank} | {indent}{}",
            self.source,
            "^".repeat(self.width)
        )
    }
}

fn place(text: &str, span: &Range<usize>) -> Place {
    let mut start = span.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let (before, after) = text.split_at(start);
    let line_start = before.rfind('\n').map_or(0, |feed| feed + 1);
    let line_end = after.find('\n').map_or(text.len(), |feed| start + feed);
    let line = text[line_start..line_end].trim_end_matches('\r');
    let column = before[line_start..].chars().count();
    let skipped = column.saturating_sub(SHOWN_CHARS_MAX / 2);
    let shown = line.chars().skip(skipped).take(SHOWN_CHARS_MAX);
    // What could move the cursor must not reach a terminal.
    let source: String = shown
        .map(|c| {
            if c.is_control() && c != '\t' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect();
    let before_shown = column - skipped;
    let end = span.end.clamp(start, line_end);
    let width = text.get(start..end).map_or(1, |part| part.chars().count());
    let room = source.chars().count().saturating_sub(before_shown);
    Place {
        line: before.matches('\n').count() + 1,
        column: column + 1,
        source,
        before: before_shown,
        width: width.min(room).max(1),
    }
}
