//! A journal that goes on after damage, with nothing free that was charged.
//!
//! ```text
//!   damaged journal ─▶ scan ─▶ carry: whole lines, in their order ─┐
//!   audit log ──────▶ facts: allows, refunds, approvals ───────────┴▶ mend ─▶ journal
//! ```
//!
//! What nothing proves is read the stricter way: an allow stays charged, a request for
//! approval is denied, protection is on, a lease is over and stays charged. What even
//! that cannot make good is a doubt ([`Report::lost`]): a charge may be lost.

mod carried;
mod carry;
mod doubts;
mod facts;
mod mend;
mod report;
mod scan;
mod strict;
#[cfg(test)]
mod tests;

pub use facts::LogFacts;
pub use report::Report;

use thiserror::Error;

use self::{carry::Carrier, mend::Mender};
use super::{JournalEntry, ReplayError};
use crate::{
    audit::AuditBody,
    clock::{NS_PER_S, Now},
};

/// When and where a journal is repaired.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// This boot.
    pub boot_id: &'a str,
    /// Now.
    pub now: Now,
    /// For how many seconds a no answers the same call again.
    pub denied_memory_s: u32,
}

/// A journal that can be gone on with.
#[derive(Clone, Debug)]
pub struct Salvaged {
    /// Its lines.
    pub lines: Vec<u8>,
    /// Records for the audit log: decisions that it lacks and these lines do not hold,
    /// and what was closed.
    pub records: Vec<AuditBody>,
    /// What came of it.
    pub report: Report,
}

/// Why no journal could be made: a fault of this program.
#[derive(Debug, Error)]
pub enum SalvageError {
    /// An entry cannot be written.
    #[error("Failed to write a journal entry as JSON")]
    Encode(#[from] serde_json::Error),
    /// What was written cannot be read.
    #[error("the lines that were carried over make no journal")]
    Replay(#[from] ReplayError),
}

/// Makes a journal out of the whole lines of a damaged one and of what the audit log
/// says. `facts` has read the log to its end.
///
/// # Errors
/// See [`SalvageError`].
pub fn salvage(
    journal: &[u8],
    facts: &LogFacts<'_>,
    here: Situation<'_>,
) -> Result<Salvaged, SalvageError> {
    let mut report = Report::default();
    let mut carried = Carrier::new(facts, &mut report, here).carry(scan::scan(journal));
    let newest = carried.ids.last().copied();
    let behind = facts.allows.keys().filter(|id| Some(id.0) > newest);
    let is_cut = behind.map(|id| id.0).any(|id| !carried.read.contains(&id));
    if is_cut || !carried.has_lost {
        // Nothing else shows that the end is missing.
        carried.end_is_lost();
    }
    let mut records = std::mem::take(&mut carried.unlogged);
    let mut mender = Mender::new(carried, facts, &mut report, here)?;
    mender.close();
    mender.charge();
    records.append(&mut mender.records);
    let (entries, doubts) = mender.finish();
    report.lost = doubts;
    let lines = encode(&entries)?;
    Ok(Salvaged {
        lines,
        records,
        report,
    })
}

/// Each line by itself: none of them was torn by a crash.
fn encode(entries: &[JournalEntry]) -> Result<Vec<u8>, serde_json::Error> {
    let mut lines = Vec::new();
    for (entry, number) in entries.iter().zip(1..) {
        lines.extend(super::encode_batch([entry], number)?);
    }
    Ok(lines)
}

/// Are these the same boot, by what the wall clock was ahead of boot time? A clock
/// that moves by more than a second is noted, and no host comes up again within one.
fn is_near(one_ns: i64, other_ns: i64) -> bool {
    one_ns.abs_diff(other_ns) < NS_PER_S.unsigned_abs()
}
