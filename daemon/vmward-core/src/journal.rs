//! The journal: what makes a decision survive a crash.
//!
//! One line an entry: eight hexadecimal digits of CRC-32, a space, JSON, a line
//! feed. Behind the last line there may be zeros, which are room for more. The shell
//! makes an entry durable before it answers, so what a crash left of the last batch
//! of lines was never answered and is dropped (`tail.rs`); any other bad line means
//! that the file was damaged afterwards, and nothing is guessed.

mod batch;
mod error;
mod replay;
pub mod salvage;
mod tail;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    approval::Approval,
    audit::AuditBody,
    clock::Now,
    digest::hex,
    disarm::Disarm,
    engine::RecentDecision,
    ids::{DecisionId, Process},
    lease::{Lease, LeaseState},
    limit::{Charge, CounterKey},
};
pub use batch::encode_batch;
pub use error::{REMEDY, ReplayError};
pub use replay::{Replay, ReplayedDecision, ReplayedState, ReplayedStep, RestoredStamp, TornTail};

/// Eight digits and a space.
const CHECKSUM_BYTES: usize = 9;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum JournalEntry {
    /// The daemon started, or saw the wall clock set; what follows is told in
    /// this boot's time.
    Boot {
        /// The kernel's boot id.
        boot_id: String,
        /// When.
        at: Now,
    },
    /// A call was allowed.
    Allow(Box<AllowEntry>),
    /// A lease ended and its quota went back.
    Release {
        /// Which.
        id: DecisionId,
        /// How it ended.
        state: LeaseState,
        /// When.
        at: Now,
    },
    /// A lease ended and stays charged.
    Settle {
        /// Which.
        id: DecisionId,
        /// How it ended.
        state: LeaseState,
        /// When.
        at: Now,
    },
    /// A lease changed its state and goes on.
    Lease {
        /// Which.
        id: DecisionId,
        /// Its state from now on.
        state: LeaseState,
        /// When.
        at: Now,
    },
    /// A caller reported on an allowed call.
    Report {
        /// Which.
        id: DecisionId,
        /// The call was attempted: no refund.
        begun: bool,
        /// When.
        at: Now,
    },
    /// A request for approval as it stands from now on; one that was used or has
    /// expired is forgotten.
    Approval(Box<Approval>),
    /// A person took protection away.
    Disarm(Box<Disarm>),
    /// Protection came back.
    Armed {
        /// Of this VM's process; of the host where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        process: Option<Process>,
        /// When.
        at: Now,
    },
    /// A VM was stopped without a decision: what that counts. Never given back.
    OutOfBand {
        /// Names the charge, like a decision.
        id: DecisionId,
        /// When.
        at: Now,
        /// What was charged.
        charges: Vec<Charge>,
    },
    /// The state starts afresh from here; `Counter` and `Open` entries follow.
    Snapshot {
        /// The number of the next decision.
        next_id: u64,
        /// Allowed calls that may still be reported on.
        recent: Vec<RecentDecision>,
    },
    /// One counter of a snapshot.
    Counter(CounterEntry),
    /// One unsettled lease of a snapshot.
    Open(Box<Lease>),
}

impl JournalEntry {
    /// When it was written. The entries of a snapshot are as old as the boot
    /// entry before them.
    pub(crate) fn at(&self) -> Option<Now> {
        match self {
            Self::Allow(entry) => Some(entry.at),
            Self::Boot { at, .. }
            | Self::Release { at, .. }
            | Self::Settle { at, .. }
            | Self::Lease { at, .. }
            | Self::Report { at, .. }
            | Self::Armed { at, .. }
            | Self::OutOfBand { at, .. } => Some(*at),
            // When it was opened: this was written then or later.
            Self::Approval(approval) => Some(approval.opened),
            Self::Disarm(disarm) => Some(disarm.since),
            Self::Snapshot { .. } | Self::Counter(_) | Self::Open(_) => None,
        }
    }
}

/// A call was allowed: everything that it takes to know it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowEntry {
    /// Names the decision.
    pub id: DecisionId,
    /// When.
    pub at: Now,
    /// What was charged.
    pub charges: Vec<Charge>,
    /// The lease, as it was granted.
    pub lease: Option<Lease>,
    /// The request for approval that it used up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<DecisionId>,
    /// The audit record, in case that a crash keeps it from the log. What it charged
    /// is above.
    pub audit: AuditBody,
}

/// One counter of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterEntry {
    /// Which.
    #[serde(flatten)]
    pub key: CounterKey,
    /// The account that made the key up, where the key does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maker: Option<String>,
    /// For how many seconds these calls matter. Where some matter longer than
    /// others, the counter has several entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_s: Option<u32>,
    /// Its calls, oldest first.
    pub stamps: Vec<CounterStamp>,
}

/// One call on a counter of a snapshot. `[id, at]` in the journal, or
/// `[id, at, cost]` where it cost more than 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StampLine", into = "StampLine")]
pub struct CounterStamp {
    /// The decision that admitted it.
    pub id: DecisionId,
    /// When.
    pub at: Now,
    /// How much it counts, at least 1.
    pub cost: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum StampLine {
    One(DecisionId, Now),
    Costly(DecisionId, Now, u32),
}

impl From<CounterStamp> for StampLine {
    fn from(CounterStamp { id, at, cost }: CounterStamp) -> Self {
        match cost {
            1 => Self::One(id, at),
            cost => Self::Costly(id, at, cost),
        }
    }
}

impl From<StampLine> for CounterStamp {
    fn from(line: StampLine) -> Self {
        let (id, at, cost) = match line {
            StampLine::One(id, at) => (id, at, 1),
            StampLine::Costly(id, at, cost) => (id, at, cost),
        };
        Self { id, at, cost }
    }
}

/// Why a line is no entry.
#[derive(Debug, Error)]
pub enum LineError {
    /// It does not end in a line feed.
    #[error("the line is cut off")]
    CutOff,
    /// It is whole, and another byte stands in its line feed's place.
    #[error("the line ends in another byte than a line feed")]
    End,
    /// It has zeros in it where no crash leaves any.
    #[error("the line has zeros in it that no crash has left there")]
    Hole,
    /// It has no checksum in front.
    #[error("the line has no checksum")]
    Shape,
    /// Its checksum is not that of its text.
    #[error("the line's checksum is wrong")]
    Checksum,
    /// Its text is intact but means nothing to this version.
    #[error("the line is intact but this version does not understand it")]
    Json(#[source] serde_json::Error),
}

/// The line for an entry, with its line feed.
pub fn encode_line(entry: &JournalEntry) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = unsealed();
    serde_json::to_writer(&mut line, entry)?;
    Ok(sealed(line))
}

/// The beginning of a line: the checksum's place is held until the text is there.
fn unsealed() -> Vec<u8> {
    vec![b' '; CHECKSUM_BYTES]
}

/// The line of an [`unsealed`] one that has its text: with checksum and line feed.
fn sealed(mut line: Vec<u8>) -> Vec<u8> {
    let (head, json) = line.split_at_mut(CHECKSUM_BYTES);
    let checksum = hex(&crc32fast::hash(json).to_be_bytes());
    for (place, digit) in head.iter_mut().zip(checksum.bytes()) {
        *place = digit;
    }
    line.push(b'\n');
    line
}

/// The entry of a line, which includes its line feed.
pub fn decode_line(line: &[u8]) -> Result<JournalEntry, LineError> {
    let text = line.strip_suffix(b"\n").ok_or(LineError::CutOff)?;
    let (checksum, json) = text
        .split_at_checked(CHECKSUM_BYTES)
        .ok_or(LineError::Shape)?;
    let claimed = checksum
        .strip_suffix(b" ")
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .ok_or(LineError::Shape)?;
    if crc32fast::hash(json) != claimed {
        return Err(LineError::Checksum);
    }
    serde_json::from_slice(json).map_err(LineError::Json)
}

/// The newest decision of a journal's lines as far as they are whole: for one that
/// is given up, so that its numbers are not used again.
pub fn newest_decision(journal: &[u8]) -> Option<DecisionId> {
    let lines = journal.split_inclusive(|byte| *byte == b'\n');
    lines
        .filter_map(|line| match decode_line(line).ok()? {
            JournalEntry::Allow(entry) => Some(entry.id),
            JournalEntry::OutOfBand { id, .. } => Some(id),
            JournalEntry::Approval(approval) => Some(approval.id),
            JournalEntry::Snapshot { next_id, .. } => next_id.checked_sub(1).map(DecisionId),
            _ => None,
        })
        .max()
}
