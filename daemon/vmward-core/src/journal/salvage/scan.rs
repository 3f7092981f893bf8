//! What of a damaged journal is whole.

use serde::de::IgnoredAny;

use super::super::{CHECKSUM_BYTES, JournalEntry, LineError, batch::number_of, decode_line, tail};

/// A part of the file, in its order.
pub(super) struct Piece<'a> {
    /// The line that it is on, from 1.
    pub(super) line: usize,
    /// Where it begins, from 0.
    pub(super) offset: usize,
    pub(super) bytes: &'a [u8],
    pub(super) found: Found,
}

pub(super) enum Found {
    /// A whole entry, with its number where it has one.
    Entry(Box<JournalEntry>, Option<u64>),
    /// Something else, and why it is no entry.
    Bad(LineError),
    /// A last batch that a crash cut short, and which was never answered.
    Torn,
}

/// Takes a journal apart. Where lines run into each other, or into rubbish, those
/// whose checksum is right are found all the same.
pub(super) fn scan(journal: &[u8]) -> Vec<Piece<'_>> {
    let mut pieces: Vec<Piece<'_>> = Vec::new();
    let mut offset = 0;
    let mut number = 0;
    for (index, bytes) in journal.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let line = index + 1;
        let whole = decode_line(bytes);
        match whole {
            Ok(entry) => {
                let found = number_of(bytes);
                number = found.unwrap_or(number + 1);
                let found = Found::Entry(Box::new(entry), found);
                pieces.push(Piece {
                    line,
                    offset,
                    bytes,
                    found,
                });
            }
            Err(wrong) => {
                let next = usize::try_from(number.saturating_add(1)).unwrap_or(line);
                match tail::end(journal, offset, next, wrong) {
                    Ok(torn) => {
                        pieces.extend(torn.map(|_| last(journal, line, offset)));
                        return pieces;
                    }
                    Err(wrong) => embedded(bytes, line, offset, wrong, &mut pieces),
                }
            }
        }
        offset += bytes.len();
    }
    pieces
}

/// What stands behind the last whole line. A file without any is no journal.
fn last(journal: &[u8], line: usize, offset: usize) -> Piece<'_> {
    let found = if offset == 0 {
        Found::Bad(LineError::Shape)
    } else {
        Found::Torn
    };
    Piece {
        line,
        offset,
        bytes: journal.get(offset..).unwrap_or_default(),
        found,
    }
}

/// The whole entries within a line that is none.
fn embedded<'a>(
    bytes: &'a [u8],
    line: usize,
    offset: usize,
    wrong: LineError,
    pieces: &mut Vec<Piece<'a>>,
) {
    let mut wrong = Some(wrong);
    let mut bad = |from: usize, to: usize, pieces: &mut Vec<Piece<'a>>| {
        let bytes = bytes.get(from..to).unwrap_or_default();
        if !bytes.is_empty() && bytes != b"\n" {
            pieces.push(Piece {
                line,
                offset: offset + from,
                bytes,
                found: Found::Bad(wrong.take().unwrap_or(LineError::Shape)),
            });
        }
    };
    let (mut at, mut from) = (0, 0);
    while let Some(start) = next_head(bytes, at) {
        let rest = bytes.get(start..).unwrap_or_default();
        let Some((entry, number, len)) = whole(rest) else {
            at = start + 1;
            continue;
        };
        bad(from, start, pieces);
        pieces.push(Piece {
            line,
            offset: offset + start,
            bytes: rest.get(..len).unwrap_or_default(),
            found: Found::Entry(Box::new(entry), number),
        });
        (at, from) = (start + len, start + len);
    }
    bad(from, bytes.len(), pieces);
}

/// Where something that looks like a checksum before an object begins next.
fn next_head(bytes: &[u8], from: usize) -> Option<usize> {
    let windows = bytes.get(from..)?.windows(CHECKSUM_BYTES + 1);
    let is_head = |window: &[u8]| match window.split_at_checked(CHECKSUM_BYTES - 1) {
        Some((digits, rest)) => rest == b" {" && digits.iter().all(u8::is_ascii_hexdigit),
        None => false,
    };
    windows
        .enumerate()
        .find(|(_, window)| is_head(window))
        .map(|(at, _)| from + at)
}

/// The entry at the beginning of `bytes`, its number, and how long it is.
fn whole(bytes: &[u8]) -> Option<(JournalEntry, Option<u64>, usize)> {
    let json = bytes.get(CHECKSUM_BYTES..)?;
    let mut values = serde_json::Deserializer::from_slice(json).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    let len = CHECKSUM_BYTES + values.byte_offset();
    let mut line = bytes.get(..len)?.to_vec();
    line.push(b'\n');
    let entry = decode_line(&line).ok()?;
    Some((entry, number_of(&line), len))
}

/// What the text of a damaged line seems to be: its kind and its decision's number,
/// where they can still be read.
pub(super) fn legible(bytes: &[u8]) -> Option<(String, Option<u64>)> {
    let text = String::from_utf8_lossy(bytes);
    let (_, rest) = text.split_once("\"t\":\"")?;
    let (kind, rest) = rest.split_once('"')?;
    let is_word = kind
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let digits = rest.strip_prefix(",\"id\":").map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit());
        rest.get(..end.unwrap_or(0)).unwrap_or_default()
    });
    let id = digits.and_then(|digits| digits.parse().ok());
    (is_word && !kind.is_empty()).then(|| (kind.to_owned(), id))
}
