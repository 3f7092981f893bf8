//! Numbers of lines: a line that is missing in the middle leaves no other trace.
//!
//! A line's number is its place in the file, from 1, so a compacted journal begins
//! anew. It is the first member of the line's object; older versions, which have
//! none, pass over it, and lines without one count as they stand.

use super::{CHECKSUM_BYTES, JournalEntry, sealed, unsealed};

const MEMBER: &[u8] = b"{\"n\":";

/// The line for an entry, as [`encode_line`] makes it, with its number.
///
/// [`encode_line`]: super::encode_line
pub fn encode_numbered(entry: &JournalEntry, number: u64) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = unsealed();
    line.extend_from_slice(MEMBER);
    line.extend_from_slice(number.to_string().as_bytes());
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
    let rest = line.get(CHECKSUM_BYTES..)?.strip_prefix(MEMBER)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    str::from_utf8(rest.get(..digits)?).ok()?.parse().ok()
}
