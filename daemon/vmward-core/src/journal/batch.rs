//! Batches of lines, and the numbers in them.
//!
//! A line's number is its place in the file, from 1, so a compacted journal begins
//! anew: a line that is missing in the middle leaves no other trace. Lines that are
//! made durable together also name the first of them, except that one itself: what
//! a crash left of them can be told from damage to lines that were answered.
//!
//! Both come first in a line's object; older versions, which have neither, pass
//! over them, and lines without them count as they stand.

use std::borrow::Borrow;

use super::{CHECKSUM_BYTES, JournalEntry, sealed, unsealed};

const NUMBER: &[u8] = b"{\"n\":";
const FIRST: &[u8] = b",\"b\":";

/// The lines of entries that are made durable together, of which the first has the
/// number `first`.
pub fn encode_batch<E: Borrow<JournalEntry>>(
    entries: impl IntoIterator<Item = E>,
    first: u64,
) -> Result<Vec<u8>, serde_json::Error> {
    let mut lines = Vec::new();
    for (entry, number) in entries.into_iter().zip(first..) {
        let line = encode(entry.borrow(), number, first)?;
        if lines.is_empty() {
            // Most batches have one.
            lines = line;
        } else {
            lines.extend_from_slice(&line);
        }
    }
    Ok(lines)
}

fn encode(entry: &JournalEntry, number: u64, first: u64) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = unsealed();
    line.extend_from_slice(NUMBER);
    line.extend_from_slice(number.to_string().as_bytes());
    if first != number {
        line.extend_from_slice(FIRST);
        line.extend_from_slice(first.to_string().as_bytes());
    }
    let brace = line.len();
    serde_json::to_writer(&mut line, entry)?;
    // The entry's own members follow in the same object.
    if let Some(brace) = line.get_mut(brace) {
        *brace = b',';
    }
    Ok(sealed(line))
}

/// The number of an intact line that has one.
pub(super) fn number_of(line: &[u8]) -> Option<u64> {
    Some(numbers(line)?.0)
}

/// The number of the first line that was made durable with this one, which is
/// intact.
pub(super) fn first_of(line: &[u8]) -> Option<u64> {
    let (number, rest) = numbers(line)?;
    let first = rest.strip_prefix(FIRST).and_then(leading);
    Some(first.map_or(number, |(first, _rest)| first))
}

/// A line's own number, and what follows it.
fn numbers(line: &[u8]) -> Option<(u64, &[u8])> {
    leading(line.get(CHECKSUM_BYTES..)?.strip_prefix(NUMBER)?)
}

fn leading(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at_checked(digits)?;
    Some((str::from_utf8(number).ok()?.parse().ok()?, rest))
}
