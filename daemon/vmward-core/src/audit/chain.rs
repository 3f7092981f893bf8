//! The hash chain over the audit log.
//!
//! A line is one JSON object whose last member is `hash`: the SHA-256 of the
//! same text without that member. `prev` repeats the hash of the line before
//! and `seq` counts, so that an edit, a removal, an insertion or a swap breaks
//! the chain at that line. What a chain alone cannot show is that its newest
//! lines were cut off: for that, keep the last hash somewhere else.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::AuditBody;
use crate::{
    clock::{self, Now},
    digest::sha256_hex,
};

/// `prev` of the very first line.
const NO_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// `,"hash":"` + 64 digits + `"}`.
const TAIL_BYTES: usize = HASH_MEMBER.len() + 64 + 2;
const HASH_MEMBER: &str = ",\"hash\":\"";

/// The end of a log: what the next line must continue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    next_seq: u64,
    prev_hash: String,
}

/// What is wrong with a line of the log.
#[derive(Debug, Error)]
pub enum ChainError {
    /// It is no audit line at all.
    #[error("not an audit record: it does not end in a \"hash\" member")]
    Shape,
    /// It ends like one, but is not JSON or lacks a member.
    #[error("not an audit record")]
    Json(#[source] serde_json::Error),
    /// Its text does not have the hash that it claims: it was changed.
    #[error("record {seq} was changed: its text hashes to {found}, it claims {claimed}")]
    Hash {
        /// The record's own number.
        seq: u64,
        /// The hash of its text.
        found: String,
        /// The hash that it claims.
        claimed: String,
    },
    /// It has not the number that follows: records were removed, added or moved.
    #[error("record {found} stands where record {expected} belongs")]
    Gap {
        /// The number that follows.
        expected: u64,
        /// The record's own number.
        found: u64,
    },
    /// It continues another record than the one before it.
    #[error("record {seq} does not continue the record before it: {expected} was expected in prev")]
    Prev {
        /// The record's own number.
        seq: u64,
        /// The hash of the record before it.
        expected: String,
    },
}

impl Chain {
    /// The chain of an empty log.
    pub fn new() -> Self {
        Self {
            next_seq: 1,
            prev_hash: NO_HASH.to_owned(),
        }
    }

    /// The chain after a log's last line, without its line feed.
    pub fn resume(last_line: &str) -> Result<Self, ChainError> {
        let (header, hash) = open(last_line)?;
        Ok(Self {
            next_seq: header.seq.saturating_add(1),
            prev_hash: hash,
        })
    }

    /// The number that the next line gets.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The hash of the last line: what an anchor outside the log should keep.
    pub fn head(&self) -> &str {
        &self.prev_hash
    }

    /// The next line, without a line feed. The chain moves on, so the line must
    /// be written; on failure put a clone made before back.
    pub fn append(&mut self, body: &AuditBody, boot_id: &str, at: Now) -> String {
        let mut text = Vec::new();
        self.append_to(&mut text, &body.text(), boot_id, at);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// As [`Chain::append`], behind what `text` holds already. `body` is what
    /// [`AuditBody::text`] made.
    pub fn append_to(&mut self, text: &mut Vec<u8>, body: &[u8], boot_id: &str, at: Now) {
        let start = text.len();
        let head = Head {
            seq: self.next_seq,
            time: clock::rfc3339(at.wall_ns),
            boot_id,
            boot_ns: at.boot_ns,
            prev: &self.prev_hash,
        };
        join(text, &head, body);
        let hash = sha256_hex(text.get(start..).unwrap_or_default());
        text.pop();
        text.extend_from_slice(HASH_MEMBER.as_bytes());
        text.extend_from_slice(hash.as_bytes());
        text.extend_from_slice(b"\"}");
        self.next_seq += 1;
        self.prev_hash = hash;
    }
}

/// What every line begins with.
#[derive(Serialize)]
struct Head<'a> {
    seq: u64,
    time: String,
    boot_id: &'a str,
    boot_ns: i64,
    prev: &'a str,
}

/// The members of two objects as one object, at the end of `text`.
fn join(text: &mut Vec<u8>, head: &Head<'_>, body: &[u8]) {
    // Strings and integers cannot fail to be written.
    serde_json::to_writer(&mut *text, head).unwrap_or_default();
    // The brace that ends the first gives way to what follows the brace that
    // begins the second.
    text.pop();
    text.push(b',');
    text.extend_from_slice(body.get(1..).unwrap_or_default());
}

impl Default for Chain {
    fn default() -> Self {
        Self::new()
    }
}

/// Checks a log line by line.
#[derive(Clone, Debug)]
pub struct Verifier {
    /// `None` until the first line of a log that begins in the middle.
    at: Option<Chain>,
    checked: u64,
}

impl Verifier {
    /// For a log from its very first line.
    pub fn new() -> Self {
        Self {
            at: Some(Chain::new()),
            checked: 0,
        }
    }

    /// For a log that continues another one.
    pub fn after(chain: Chain) -> Self {
        Self {
            at: Some(chain),
            checked: 0,
        }
    }

    /// For a log whose beginning is elsewhere: the first line is taken as given.
    pub fn anywhere() -> Self {
        Self {
            at: None,
            checked: 0,
        }
    }

    /// Checks the next line, without its line feed. After an error the verifier
    /// stands where it stood.
    pub fn check_line(&mut self, line: &str) -> Result<(), ChainError> {
        let (header, hash) = open(line)?;
        if let Some(chain) = &self.at {
            if header.seq != chain.next_seq {
                return Err(ChainError::Gap {
                    expected: chain.next_seq,
                    found: header.seq,
                });
            }
            if header.prev != chain.prev_hash {
                let expected = chain.prev_hash.clone();
                return Err(ChainError::Prev {
                    seq: header.seq,
                    expected,
                });
            }
        }
        self.at = Some(Chain {
            next_seq: header.seq.saturating_add(1),
            prev_hash: hash,
        });
        self.checked += 1;
        Ok(())
    }

    /// Lines found good so far.
    pub fn checked(&self) -> u64 {
        self.checked
    }

    /// The chain after the last good line, for comparison with an anchor.
    pub fn chain(&self) -> Option<&Chain> {
        self.at.as_ref()
    }
}

impl Default for Verifier {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Deserialize)]
struct Header {
    seq: u64,
    prev: String,
}

/// Splits a line from its hash, checks the hash, and reads the header.
fn open(line: &str) -> Result<(Header, String), ChainError> {
    let cut = line
        .len()
        .checked_sub(TAIL_BYTES)
        .ok_or(ChainError::Shape)?;
    let (text, tail) = line.split_at_checked(cut).ok_or(ChainError::Shape)?;
    let claimed = tail
        .strip_prefix(HASH_MEMBER)
        .and_then(|rest| rest.strip_suffix("\"}"))
        .ok_or(ChainError::Shape)?;
    let hashed = format!("{text}}}");
    let header: Header = serde_json::from_str(&hashed).map_err(ChainError::Json)?;
    let found = sha256_hex(hashed.as_bytes());
    if found != claimed {
        return Err(ChainError::Hash {
            seq: header.seq,
            found,
            claimed: claimed.to_owned(),
        });
    }
    Ok((header, found))
}

#[cfg(test)]
mod tests;
