//! Text for people: tables, and names that cannot play tricks on a terminal.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use serde::Serialize;
use serde_json::Value;

/// The word that stands for `value` on the wire, such as `force_stop`.
pub(crate) fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(error) => format!("<{error}>"),
    }
}

/// VM names, commands and reasons come from outside: whatever could move the
/// cursor or reorder a line is shown as an escape.
pub(crate) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        let reorders = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2028}' | '\u{2029}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || reorders {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Lines up `rows` under `head`; nothing at all when there are no rows.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    // Once: a status can have ten thousand rows.
    let mut widths = head.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    let mut line = |cells: &[&str]| {
        let mut row = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            let _infallible = write!(row, "{cell:width$}  ");
        }
        text.push_str(row.trim_end());
        text.push('\n');
    };
    line(&head);
    for row in rows {
        line(&row.each_ref().map(String::as_str));
    }
    text
}

/// Writes to standard output. A reader that left (`| head`) is no error; the
/// caller learns of it, so that it can stop.
pub(crate) fn print(text: &str) -> io::Result<Reader> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(Reader::Reading),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(error),
    }
}

/// Whether somebody still reads standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    Reading,
    Gone,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up_and_has_no_trailing_blanks() {
        let rows = [
            ["web-1".to_owned(), "yes".to_owned()],
            ["w".to_owned(), String::new()],
        ];
        assert_eq!(table(["VM", "SAFE"], &rows), "VM     SAFE\nweb-1  yes\nw\n");
        assert_eq!(table(["VM", "SAFE"], &[]), "");
    }

    /// A status can have as many limits: looking at all rows for each cell took it
    /// half a minute.
    #[test]
    fn a_long_table_is_lined_up_as_a_short_one() {
        let rows: Vec<_> = (0..20_000)
            .map(|n| [n.to_string(), "x".to_owned()])
            .collect();
        let text = table(["N", "X"], &rows);
        assert!(text.starts_with("N      X\n0      x\n"));
        assert!(text.ends_with("\n19999  x\n"));
    }

    #[test]
    fn a_name_cannot_move_the_cursor_or_turn_the_line_around() {
        assert_eq!(
            plain("web\u{1b}[2K\n\u{202e}ü"),
            "web\\u{1b}[2K\\n\\u{202e}ü"
        );
    }
}
