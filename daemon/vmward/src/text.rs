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
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        widest.max(head.get(column).map_or(0, |title| title.len()))
    };
    let mut text = String::new();
    let mut line = |cells: &[&str]| {
        let mut row = String::new();
        for (column, cell) in cells.iter().enumerate() {
            let width = width(column);
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

    #[test]
    fn a_name_cannot_move_the_cursor_or_turn_the_line_around() {
        assert_eq!(
            plain("web\u{1b}[2K\n\u{202e}ü"),
            "web\\u{1b}[2K\\n\\u{202e}ü"
        );
    }
}
