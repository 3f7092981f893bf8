//! Records of decisions that are answered before the audit log has them.
//!
//! A decision that leaves nothing in the journal has no other trace until its
//! line is in the log, and writing that line takes longer than deciding. So its
//! record is put here first: a file in memory that the kernel keeps when the
//! process dies, whatever way it dies. The next start writes into the log what
//! it finds. There are two of them (see [`SpoolPair`]), and both are empty
//! whenever the log has everything.
//!
//! ```text
//!   8 bytes            MAGIC
//!   then, a record     length u32, CRC-32 u32, the record as JSON
//!   then               0 u32
//! ```
//!
//! A record counts from the moment its length stands there, which is the last
//! that is written of it. Numbers are in the machine's own byte order.

mod pair;

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{Ordering, compiler_fence};

use memmap2::MmapMut;
use vmward_core::audit::AuditBody;
use vmward_core::ids::DecisionId;

pub use self::pair::SpoolPair;
use crate::secure_file::open_own;

/// The first file's name in the state directory.
pub const SPOOL_FILE: &str = "audit-spool";
/// The other's.
pub const SPOOL_FILE_2: &str = "audit-spool-2";
/// Room for a hundred records and more; a full spool is written out at once.
const SPOOL_BYTES: usize = 128 * 1024;
const MAGIC: &[u8; 8] = b"vmwspl1\n";
/// Length and checksum of a record.
const HEAD_BYTES: usize = 8;
/// The length that ends the list.
const END_BYTES: usize = 4;

/// See the module's text.
pub struct Spool {
    map: MmapMut,
    /// Where the next record goes.
    end: usize,
}

/// What a former daemon left in the spool.
#[derive(Debug, Default)]
pub struct Left {
    /// Records that the log may lack, in their order.
    pub records: Vec<AuditBody>,
    /// What could not be read, as a sentence.
    pub damage: Option<String>,
}

impl Left {
    /// The decisions that its records announce.
    pub fn ids(&self) -> impl Iterator<Item = DecisionId> {
        self.records.iter().filter_map(AuditBody::decision_id)
    }
}

impl Spool {
    /// Opens or makes the spool `name` in `dir`, for root only. What is in it stays
    /// there until [`Spool::clear`].
    ///
    /// # Errors
    /// The system's errors.
    pub fn open(dir: &Path, name: &str) -> io::Result<(Spool, Left)> {
        let file = open_own(&dir.join(name))?;
        reserve(&file)?;
        let mut spool = Spool {
            map: map(&file)?,
            end: MAGIC.len(),
        };
        let left = spool.read();
        Ok((spool, left))
    }

    /// Keeps a record, as [`AuditBody::text`] made it; false when there is no room
    /// for it.
    pub fn put(&mut self, record: &[u8]) -> bool {
        let (start, body) = (self.end, self.end + HEAD_BYTES);
        let end = body.saturating_add(record.len());
        if end.saturating_add(END_BYTES) > self.map.len() {
            return false;
        }
        self.set(body, record);
        self.set_number(end, 0);
        self.set_number(start + 4, crc32fast::hash(record));
        // The process may die between any two of these stores, and what it has
        // stored by then is kept.
        compiler_fence(Ordering::Release);
        self.set_number(start, u32::try_from(record.len()).unwrap_or(0));
        compiler_fence(Ordering::Release);
        self.end = end;
        true
    }

    /// Is there no record in it?
    pub fn is_empty(&self) -> bool {
        self.end == MAGIC.len()
    }

    /// The log has everything.
    pub fn clear(&mut self) {
        if self.end > MAGIC.len() {
            self.set_number(MAGIC.len(), 0);
            self.end = MAGIC.len();
        }
    }

    fn read(&mut self) -> Left {
        let mut left = Left::default();
        if self.map.get(..MAGIC.len()) != Some(MAGIC.as_slice()) {
            // New, or of another version, whose records nobody here can read.
            if self.map.iter().any(|byte| *byte != 0) {
                left.damage = Some("it is not a spool of this version".to_owned());
            }
            self.set_number(MAGIC.len(), 0);
            self.set(0, MAGIC);
            return left;
        }
        while let Some(record) = self.next() {
            match record {
                Ok(record) => left.records.push(record),
                Err(why) => {
                    left.damage = Some(format!("byte {}: {why}", self.end));
                    return left;
                }
            }
        }
        left
    }

    /// The record at the end of what was read; none where the list ends.
    fn next(&mut self) -> Option<Result<AuditBody, String>> {
        let len = self.number(self.end)? as usize;
        if len == 0 {
            return None;
        }
        let body = self.end + HEAD_BYTES;
        let Some(text) = self.map.get(body..body.saturating_add(len)) else {
            return Some(Err("a record is longer than the spool".to_owned()));
        };
        if self.number(self.end + 4) != Some(crc32fast::hash(text)) {
            return Some(Err("a record has another checksum".to_owned()));
        }
        let record = serde_json::from_slice(text).map_err(|error| error.to_string());
        if record.is_ok() {
            self.end = body + len;
        }
        Some(record)
    }

    fn number(&self, at: usize) -> Option<u32> {
        let bytes = self.map.get(at..at.checked_add(4)?)?;
        bytes.try_into().ok().map(u32::from_ne_bytes)
    }

    fn set_number(&mut self, at: usize, number: u32) {
        self.set(at, &number.to_ne_bytes());
    }

    fn set(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.map.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
}

/// Gives the file its size and its blocks: a store into a hole of a full disk
/// would end the process.
fn reserve(file: &File) -> io::Result<()> {
    let len = i64::try_from(SPOOL_BYTES).unwrap_or(i64::MAX);
    nix::fcntl::posix_fallocate(file, 0, len)?;
    file.set_len(SPOOL_BYTES as u64)
}

#[expect(unsafe_code, reason = "a file in memory")]
fn map(file: &File) -> io::Result<MmapMut> {
    // SAFETY: nobody but this daemon, which holds the lock of its state
    // directory, maps or writes the file; root who shortens it meanwhile ends the
    // daemon, as root could anyway, and the walls stay.
    unsafe { MmapMut::map_mut(file) }
}

#[cfg(test)]
mod tests;
