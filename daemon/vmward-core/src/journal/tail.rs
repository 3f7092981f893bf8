//! What a crash leaves at the end of a journal, and what only damage does.
//!
//! The file is longer than its lines: it has zeros beforehand where lines will be.
//! A batch of lines is written there at once, and answered when it is durable. Of
//! the last batch a crash may leave nothing, a beginning, or, where the disk took
//! later sectors before earlier ones, any sectors, with zeros in the place of the
//! others. Lines never have zeros in them.

use super::{LineError, TornTail, batch::first_of, decode_line};

/// The smallest part of a file that a disk writes as a whole.
const SECTOR_BYTES: usize = 512;

/// What stands behind the lines of a journal: space or a batch that a crash cut
/// short, and which was never answered; or a line that is `wrong`.
///
/// # Errors
/// What is wrong with the line.
pub(super) fn end(
    journal: &[u8],
    offset: usize,
    line: usize,
    wrong: LineError,
) -> Result<Option<TornTail>, LineError> {
    let rest = journal.get(offset..).unwrap_or_default();
    let bytes = rest.len() - rest.iter().rev().take_while(|byte| **byte == 0).count();
    if bytes == 0 {
        return Ok(None);
    }
    let first = rest.split_inclusive(|byte| *byte == b'\n').next();
    let first = first.unwrap_or_default();
    let is_torn = if first.contains(&0) {
        has_holes_of_sectors(rest, offset) && is_one_batch(rest, line)
    } else {
        matches!(wrong, LineError::CutOff) && !lost_its_end(first)
    };
    if is_torn {
        return Ok(Some(TornTail {
            line,
            offset,
            bytes,
        }));
    }
    Err(match wrong {
        _ if first.contains(&0) => LineError::Hole,
        // Only what comes last lacks its line feed.
        LineError::CutOff => LineError::End,
        other => other,
    })
}

/// Are all zeros of `rest`, which begins at `offset`, such that a disk would leave
/// them there?
fn has_holes_of_sectors(rest: &[u8], offset: usize) -> bool {
    let mut at = offset;
    let end = offset + rest.len();
    rest.chunk_by(|one, other| (*one == 0) == (*other == 0))
        .all(|run| {
            let (from, to) = (at, at + run.len());
            at = to;
            let begins = from == offset || from.is_multiple_of(SECTOR_BYTES);
            let is_hole = begins && to.is_multiple_of(SECTOR_BYTES);
            run.first() != Some(&0) || is_hole || to == end
        })
}

/// Was nothing of `rest`, whose first line has this number, made durable before all
/// of it would have been?
fn is_one_batch(rest: &[u8], line: usize) -> bool {
    let line = u64::try_from(line).unwrap_or(u64::MAX);
    rest.split_inclusive(|byte| *byte == b'\n').all(|text| {
        let is_of_batch = || {
            let first = decode_line(text).ok().and_then(|_entry| first_of(text));
            first.is_some_and(|first| first <= line)
        };
        text.contains(&0) || is_of_batch()
    })
}

/// Is this a whole line, and another byte stands in its line feed's place?
fn lost_its_end(bytes: &[u8]) -> bool {
    let Some((last, text)) = bytes.split_last() else {
        return false;
    };
    *last != 0 && decode_line(&[text, b"\n"].concat()).is_ok()
}
