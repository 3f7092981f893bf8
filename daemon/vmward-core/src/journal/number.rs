//! Numbers of lines: a line that is missing in the middle leaves no other trace.
//!
//! A line's number is its place in the file, from 1, so a compacted journal begins
//! anew. It is the first member of the line's object; older versions, which have
//! none, pass over it, and lines without one count as they stand.

use super::{JournalEntry, encode_line};

const MEMBER: &[u8] = b"{\"n\":";
/// Eight digits and a space.
const CHECKSUM: usize = 9;

/// The line for an entry, as [`encode_line`] makes it, with its number.
pub fn encode_numbered(entry: &JournalEntry, number: u64) -> Result<Vec<u8>, serde_json::Error> {
    let plain = encode_line(entry)?;
    // The object's own members, its end, and the line feed.
    let rest = plain.get(CHECKSUM + 1..).unwrap_or_default();
    let mut json = MEMBER.to_vec();
    json.extend_from_slice(number.to_string().as_bytes());
    json.push(b',');
    json.extend_from_slice(rest);
    let text = json.strip_suffix(b"\n").unwrap_or(&json);
    let mut line = format!("{:08x} ", crc32fast::hash(text)).into_bytes();
    line.extend_from_slice(&json);
    Ok(line)
}

/// The number of an intact line that has one.
pub(super) fn number_of(line: &[u8]) -> Option<u64> {
    let rest = line.get(CHECKSUM..)?.strip_prefix(MEMBER)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    str::from_utf8(rest.get(..digits)?).ok()?.parse().ok()
}
