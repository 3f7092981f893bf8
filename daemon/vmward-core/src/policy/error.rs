//! Mistakes in a policy, each pointing at its place.

use std::fmt;

/// Longest part of a source line that is shown, in characters.
const SHOWN_CHARS_MAX: usize = 120;
/// Most mistakes that are kept: a file of another kind has thousands.
pub const ERRORS_MAX: usize = 100;

/// The first [`ERRORS_MAX`] mistakes found in one policy, in the order of the
/// text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyErrors {
    file: String,
    errors: Vec<PolicyError>,
    /// Mistakes found beyond those.
    more: usize,
    /// Something was not looked at any more.
    unread: bool,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Byte offset in the text, from 0.
    pub offset: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    source_line: String,
    width: usize,
}

/// Something that is right and still worth a second look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lint(pub PolicyError);

/// A mistake before its place is worked out.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl PolicyErrors {
    pub(super) fn new(file: &str, text: &str, mut findings: Vec<Finding>) -> Self {
        findings.sort_by_key(|finding| finding.start);
        let more = findings.len().saturating_sub(ERRORS_MAX);
        let errors = findings
            .into_iter()
            .take(ERRORS_MAX)
            .map(|finding| place(text, finding))
            .collect();
        Self {
            file: file.to_owned(),
            errors,
            more,
            unread: false,
        }
    }

    /// The same, of a policy that was not looked at as a whole.
    pub(super) fn unread(self, unread: bool) -> Self {
        Self { unread, ..self }
    }

    /// Each mistake, in the order of the text; at least one.
    pub fn errors(&self) -> &[PolicyError] {
        &self.errors
    }

    /// How many more there are than [`PolicyErrors::errors`] has.
    pub fn more(&self) -> usize {
        self.more
    }
}

impl std::error::Error for PolicyErrors {}

impl fmt::Display for PolicyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            error.show(&self.file).fmt(f)?;
        }
        if self.more > 0 {
            write!(
                f,
                "\n\n{}: {} more mistakes are not shown",
                self.file, self.more
            )?;
        }
        if self.unread {
            write!(
                f,
                "\n\n{}: after {ERRORS_MAX} mistakes no pattern and no schema was looked at",
                self.file
            )?;
        }
        Ok(())
    }
}

/// One mistake or lint with the name of its file: place, message, the line with
/// a caret, help.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    error: &'a PolicyError,
    file: &'a str,
    kind: &'static str,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { error, file, kind } = self;
        let (line, column) = (error.line, error.column);
        write!(f, "{file}:{line}:{column}: {kind}{}", error.message)?;
        error.fmt_excerpt(f)
    }
}

impl Lint {
    /// For people. `file` only names the policy.
    pub fn show<'a>(&'a self, file: &'a str) -> Shown<'a> {
        let kind = "warning: ";
        Shown {
            kind,
            ..self.0.show(file)
        }
    }
}

impl PolicyError {
    /// For people. `file` only names the policy.
    pub fn show<'a>(&'a self, file: &'a str) -> Shown<'a> {
        Shown {
            error: self,
            file,
            kind: "",
        }
    }

    fn fmt_excerpt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A minified policy is one long line: show the part around the mistake.
        let skipped = (self.column - 1).saturating_sub(SHOWN_CHARS_MAX / 2);
        let shown: Vec<char> = self
            .source_line
            .chars()
            .skip(skipped)
            .take(SHOWN_CHARS_MAX)
            .collect();
        let before = self.column - 1 - skipped;
        // Tabs stay, so that the caret lines up whatever the terminal makes of
        // them; other control characters must not reach the terminal.
        let show = |character: &char| match character {
            '\t' => '\t',
            other if other.is_control() => '\u{fffd}',
            other => *other,
        };
        let line: String = shown.iter().map(show).collect();
        let indent: String = shown
            .iter()
            .take(before)
            .map(|c| if *c == '\t' { '\t' } else { ' ' })
            .collect();
        let width = self.width.min(shown.len().saturating_sub(before)).max(1);
        let gutter = self.line.to_string();
        let blank = " ".repeat(gutter.len());
        write!(
            f,
            "\n {gutter} | {line}\n {blank} | {indent}{}",
            "^".repeat(width)
        )?;
        if let Some(help) = &self.help {
            write!(f, "\n {blank} = help: {help}")?;
        }
        Ok(())
    }
}

fn place(text: &str, finding: Finding) -> PolicyError {
    let start = finding.start.min(text.len());
    let line_start = text[..start].rfind('\n').map_or(0, |feed| feed + 1);
    let line_end = text[start..]
        .find('\n')
        .map_or(text.len(), |feed| start + feed);
    let end = finding.end.clamp(start, line_end);
    PolicyError {
        line: text[..start].matches('\n').count() + 1,
        column: text[line_start..start].chars().count() + 1,
        offset: start,
        message: finding.message,
        help: finding.help,
        source_line: text[line_start..line_end].trim_end_matches('\r').to_owned(),
        width: text[start..end].chars().count(),
    }
}
