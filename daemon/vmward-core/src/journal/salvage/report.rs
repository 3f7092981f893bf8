//! What is told of a repair.

use std::collections::BTreeMap;

use super::super::JournalEntry;

/// What was found, carried over, charged again, closed and lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Each line that is damaged, out of place or missing, with its number from 1,
    /// the byte at which it begins, from 0, and why.
    pub damage: Vec<(usize, usize, String)>,
    /// Whole lines that do not go on as they are, told likewise.
    pub left_out: Vec<(usize, usize, String)>,
    /// How many lines are missing, by the numbers of those that are there.
    pub missing: u64,
    /// How many lines of each kind go on.
    pub carried: BTreeMap<&'static str, u64>,
    /// What the audit log has of decisions and the journal had not, one sentence each.
    pub charged: Vec<String>,
    /// What is closed because nothing proves that it is still open, one sentence each.
    pub closed: Vec<String>,
    /// What people said of calls that cannot be known again, one sentence each.
    pub forgotten: Vec<String>,
    /// Why a charge may be lost, one sentence each.
    pub lost: Vec<String>,
}

impl Report {
    pub(super) fn damaged(&mut self, line: usize, offset: usize, what: &str) {
        self.damage.push((line, offset, what.to_owned()));
    }

    pub(super) fn left_out(&mut self, line: usize, offset: usize, why: &str) {
        self.left_out.push((line, offset, why.to_owned()));
    }

    pub(super) fn carried(&mut self, kind: &'static str) {
        let count = self.carried.entry(kind).or_default();
        *count = count.saturating_add(1);
    }

    /// In one sentence, for the audit log.
    pub fn summary(&self) -> String {
        let count = |many: &[String], what: &str| format!("{} {what}", many.len());
        let mut text = format!(
            "{} damaged places, {} lines missing; {}; {}; {}; {}",
            self.damage.len(),
            self.missing,
            self.kinds(),
            count(&self.charged, "charged again from the audit log"),
            count(&self.closed, "closed"),
            count(&self.forgotten, "forgotten"),
        );
        let damage = self.damage.iter();
        let damage = damage.map(|(line, at, what)| format!("line {line} (at byte {at}): {what}"));
        let rest = [&self.charged, &self.closed, &self.forgotten];
        let rest = rest.into_iter().flatten().cloned();
        for one in damage.chain(rest) {
            if text.len() > SUMMARY_BYTES_MAX {
                text.push_str("; ...");
                break;
            }
            text.push_str("; ");
            text.push_str(&one);
        }
        for why in &self.lost {
            text.push_str("; a charge may be lost: ");
            text.push_str(why);
        }
        text
    }

    /// All of it, a line each.
    pub fn lines(&self) -> Vec<String> {
        let at = |what: &str, (line, offset, why): &(usize, usize, String)| {
            format!("{what}: line {line} (at byte {offset}): {why}")
        };
        let mut lines: Vec<String> = Vec::new();
        lines.extend(self.damage.iter().map(|one| at("damaged", one)));
        lines.extend(self.left_out.iter().map(|one| at("not as it is", one)));
        if self.missing > 0 {
            lines.push(format!(
                "missing: {} lines, by the numbers of the others",
                self.missing
            ));
        }
        lines.push(self.kinds());
        for (what, all) in [
            ("charged again", &self.charged),
            ("closed", &self.closed),
            ("forgotten", &self.forgotten),
            ("a charge may be lost", &self.lost),
        ] {
            lines.extend(all.iter().map(|one| format!("{what}: {one}")));
        }
        lines
    }

    fn kinds(&self) -> String {
        if self.carried.is_empty() {
            return "carried over: nothing".to_owned();
        }
        let kinds = self.carried.iter();
        let kinds: Vec<String> = kinds
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        format!("carried over: {}", kinds.join(", "))
    }
}

/// About where the list of all this in the audit log ends, so that it is a record that
/// readers take.
const SUMMARY_BYTES_MAX: usize = 4096;

/// The kind of an entry, as its line has it.
pub(super) fn kind(entry: &JournalEntry) -> &'static str {
    match entry {
        JournalEntry::Boot { .. } => "boot",
        JournalEntry::Allow(_) => "allow",
        JournalEntry::Release { .. } => "release",
        JournalEntry::Settle { .. } => "settle",
        JournalEntry::Lease { .. } => "lease",
        JournalEntry::Report { .. } => "report",
        JournalEntry::Approval(_) => "approval",
        JournalEntry::Disarm(_) => "disarm",
        JournalEntry::Armed { .. } => "armed",
        JournalEntry::OutOfBand { .. } => "out_of_band",
        JournalEntry::Snapshot { .. } => "snapshot",
        JournalEntry::Counter(_) => "counter",
        JournalEntry::Open(_) => "open",
    }
}
