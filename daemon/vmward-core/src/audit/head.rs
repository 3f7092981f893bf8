//! The head of the chain as it is kept outside the log. The chain alone cannot show
//! that its newest records, or all of them, were taken away.

use super::chain::Chain;

/// The file's name in the state directory.
pub const HEAD_FILE: &str = "audit-head";
/// Its length, which never changes, so that writing it anew needs no room.
pub const HEAD_BYTES: usize = 95;

/// The newest record that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptHead {
    /// Its number.
    pub seq: u64,
    /// Its hash.
    pub hash: String,
}

impl KeptHead {
    /// That of a chain's newest record.
    pub fn of(chain: &Chain) -> Self {
        Self {
            seq: chain.next_seq().saturating_sub(1),
            hash: chain.head().to_owned(),
        }
    }

    /// The file's text: a checksum, the number, the hash.
    pub fn text(&self) -> String {
        let text = format!("{:020} {:>64}\n", self.seq, self.hash);
        format!("{:08x} {text}", crc32fast::hash(text.as_bytes()))
    }

    /// What the file's text says; `None` where it is not whole.
    pub fn read(text: &str) -> Option<Self> {
        let (checksum, text) = text.split_once(' ')?;
        let claimed = u32::from_str_radix(checksum, 16).ok()?;
        let (seq, hash) = text.strip_suffix('\n')?.split_once(' ')?;
        (crc32fast::hash(text.as_bytes()) == claimed).then_some(())?;
        Some(Self {
            seq: seq.parse().ok()?,
            hash: hash.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_read_back_and_nothing_else() {
        let head = KeptHead {
            seq: 7,
            hash: "ab".repeat(32),
        };
        let text = head.text();
        assert_eq!(text.len(), HEAD_BYTES);
        assert_eq!(KeptHead::read(&text), Some(head));
        assert_eq!(KeptHead::read(""), None);
        assert_eq!(KeptHead::read(text.trim_end()), None);
        assert_eq!(KeptHead::read(&text.replace("07 ", "08 ")), None);
    }
}
