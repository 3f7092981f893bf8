//! Which whole lines of a damaged journal go on as they are.
//!
//! Where lines were lost it is not known what they said, and the boot may have been
//! another one from there on.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{JournalEntry, LineError};
use super::{
    Situation,
    carried::Carried,
    facts::LogFacts,
    is_near,
    report::{Report, kind},
    scan::{Found, Piece, legible},
};
use crate::{audit::ApprovalEvent, clock::Now, ids::DecisionId};

/// Where a line stands, by its number.
enum Place {
    Right,
    Wrong,
    /// There for the second time.
    Known,
}

pub(super) struct Carrier<'a, 'b> {
    facts: &'a LogFacts<'b>,
    report: &'a mut Report,
    /// The boot id and what the wall clock is ahead of boot time, now.
    here: (&'a str, i64),
    carried: Carried,
    /// The number of the last line that has one.
    number: Option<u64>,
    /// Checksums of the lines by their numbers.
    seen: BTreeMap<u64, u32>,
    /// Something that is no entry stands before the next one.
    bad: bool,
    /// The boot that the entries are told in, with its clocks.
    boot: Option<(String, i64)>,
    /// Was the boot told behind the last lost line?
    is_sure: bool,
    /// Where that boot is told, if it is not the journal that told it.
    found_at: Option<usize>,
    left: BTreeSet<String>,
    last: Now,
    /// Entries that no snapshot has were seen.
    is_past_snapshot: bool,
    allows: BTreeMap<DecisionId, usize>,
    stages: BTreeMap<DecisionId, u8>,
}

impl<'a, 'b> Carrier<'a, 'b> {
    pub(super) fn new(
        facts: &'a LogFacts<'b>,
        report: &'a mut Report,
        here: Situation<'a>,
    ) -> Self {
        let Situation { boot_id, now, .. } = here;
        Self {
            facts,
            report,
            here: (boot_id, now.wall_ns.saturating_sub(now.boot_ns)),
            carried: Carried::default(),
            number: None,
            seen: BTreeMap::new(),
            bad: false,
            boot: None,
            is_sure: false,
            found_at: None,
            left: BTreeSet::new(),
            last: Now::default(),
            is_past_snapshot: false,
            allows: BTreeMap::new(),
            stages: BTreeMap::new(),
        }
    }

    /// Goes through the file.
    pub(super) fn carry(mut self, pieces: Vec<Piece<'_>>) -> Carried {
        for piece in pieces {
            let (line, offset) = (piece.line, piece.offset);
            match piece.found {
                Found::Entry(entry, number) => {
                    match self.place(number, piece.bytes, line, offset) {
                        Place::Known => self.lost(true),
                        Place::Right => self.entry(*entry, line, offset),
                        Place::Wrong => {
                            self.lost(true);
                            self.entry(*entry, line, offset);
                            // Nobody knows what followed it.
                            self.lost(true);
                        }
                    }
                }
                Found::Bad(wrong) => {
                    if matches!(wrong, LineError::Json(_)) {
                        self.carried.newer.push(line);
                    }
                    let seems = self.seems(piece.bytes);
                    self.report
                        .damaged(line, offset, &format!("{wrong}{seems}"));
                    self.bad = true;
                }
                Found::Torn => {
                    let what = "the last lines were torn by a crash and never answered";
                    self.report.damaged(line, offset, what);
                    self.lost(false);
                }
            }
        }
        if self.bad {
            self.lost(false);
        }
        self.carried
    }

    /// What a line that is no entry seems to have been. One that charged, and of which
    /// the log does not say what, may have been anything.
    fn seems(&mut self, bytes: &[u8]) -> String {
        let read = legible(bytes);
        let is_known = match &read {
            None => false,
            Some((kind, id)) if ["allow", "out_of_band"].contains(&kind.as_str()) => {
                let id = id.filter(|id| self.facts.ids.contains(id));
                self.carried.read.extend(id);
                id.is_some()
            }
            Some(_) => true,
        };
        self.carried.tail_is_unknown |= !is_known;
        match read {
            Some((kind, Some(id))) => format!(" (it seems to be the {kind:?} of decision {id})"),
            Some((kind, None)) => format!(" (it seems to be of the kind {kind:?})"),
            None => String::new(),
        }
    }

    /// Looks at the number of a line. Lines that are missing before it are lost.
    fn place(&mut self, number: Option<u64>, bytes: &[u8], line: usize, offset: usize) -> Place {
        let bad = std::mem::take(&mut self.bad);
        let Some(number) = number else {
            if bad {
                self.lost(false);
            }
            return Place::Right;
        };
        let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let checksum = crc32fast::hash(text);
        if self.seen.insert(number, checksum) == Some(checksum) {
            self.report.left_out(line, offset, "it is there already");
            return Place::Known;
        }
        // Lines of a former version, which have no numbers, may come before it.
        let is_first = self.number.is_none() && !self.carried.entries.is_empty();
        let expected = self.number.map_or(1, |last| last.saturating_add(1));
        self.number = self.number.max(Some(number));
        if is_first {
            if bad {
                self.lost(false);
            }
        } else if number > expected {
            if !bad {
                let what = format!("lines are missing before it: its number is {number}");
                self.report.damaged(line, offset, &what);
            }
            self.report.missing += number - expected;
            self.lost(!bad || number - expected > 1);
        } else if number < expected {
            let what = format!("it is out of its place: its number is {number}");
            self.report.damaged(line, offset, &what);
            return Place::Wrong;
        }
        Place::Right
    }

    /// Lines are lost here; is it also not known what they said?
    fn lost(&mut self, unknown: bool) {
        self.carried.tail_is_unknown |= unknown;
        if !self.carried.has_lost {
            self.carried.has_lost = true;
            let greatest = self.carried.ids.last().copied();
            self.carried.whole_to = greatest.filter(|_| self.is_past_snapshot);
        }
        self.is_sure = false;
    }

    fn entry(&mut self, entry: JournalEntry, line: usize, offset: usize) {
        if let JournalEntry::Boot { boot_id, at } = entry {
            return self.boot(boot_id, at, line, offset);
        }
        self.note_ids(&entry);
        if let Some(why) = self.out_of_order(&entry) {
            self.report.left_out(line, offset, &why);
            return;
        }
        if !self.is_sure && !self.finds_boot(&entry) {
            self.report.left_out(
                line,
                offset,
                "the boot that it is of is lost: what it charged is kept and dated by the audit \
                 log, else as of now; what it opened is closed",
            );
            return self.undated(entry);
        }
        self.keep(entry);
    }

    fn boot(&mut self, boot_id: String, at: Now, line: usize, offset: usize) {
        let is_same = self.boot.as_ref().is_some_and(|(id, _)| *id == boot_id);
        if !is_same && self.left.contains(&boot_id) {
            self.report
                .left_out(line, offset, "that boot was over already");
            return self.lost(true);
        }
        self.enter(boot_id, at);
        self.report.carried("boot");
    }

    fn enter(&mut self, boot_id: String, at: Now) {
        let ahead_ns = at.wall_ns.saturating_sub(at.boot_ns);
        if let Some((former, _)) = self.boot.replace((boot_id.clone(), ahead_ns))
            && former != boot_id
        {
            self.left.insert(former);
        }
        self.is_sure = true;
        self.found_at = None;
        self.last = at;
        self.carried
            .entries
            .push(JournalEntry::Boot { boot_id, at });
    }

    /// Is the boot known that an entry behind lost lines is of? Where nothing was
    /// charged before it, it may also be one that the log knows.
    fn finds_boot(&mut self, entry: &JournalEntry) -> bool {
        let at = match entry {
            JournalEntry::Counter(counter) => counter.stamps.first().map(|stamp| stamp.at),
            JournalEntry::Snapshot { .. } => return true,
            other => other.at(),
        };
        let Some(at) = at else { return false };
        let ahead_ns = at.wall_ns.saturating_sub(at.boot_ns);
        if let Some((_, known)) = &self.boot {
            return is_near(*known, ahead_ns);
        }
        let (here, here_ns) = self.here;
        let logged = self.facts.boots.iter();
        let boots = logged.map(|(id, ahead_ns)| (id.as_str(), *ahead_ns));
        let mut near: Vec<&str> = boots
            .chain([(here, here_ns)])
            .filter(|(_, known)| is_near(*known, ahead_ns))
            .map(|(id, _)| id)
            .collect();
        near.sort_unstable();
        near.dedup();
        let &[boot_id] = near.as_slice() else {
            return false;
        };
        self.enter(boot_id.to_owned(), at);
        // A second lost boot line could be behind this one.
        self.is_sure = false;
        self.found_at = self.carried.entries.len().checked_sub(1);
        true
    }

    fn note_ids(&mut self, entry: &JournalEntry) {
        let ids = &mut self.carried.ids;
        match entry {
            JournalEntry::Allow(allow) => {
                ids.extend([allow.id.0]);
                if self.facts.allows.contains_key(&allow.id) {
                    // The log is in the order of the journal.
                    self.carried.tail_is_unknown = false;
                }
            }
            JournalEntry::OutOfBand { id, .. } => ids.extend([id.0]),
            JournalEntry::Approval(approval) => {
                ids.extend([approval.id.0]);
                self.carried.requests.insert(approval.id);
            }
            JournalEntry::Counter(counter) => {
                ids.extend(counter.stamps.iter().map(|stamp| stamp.id.0));
            }
            JournalEntry::Open(lease) => ids.extend([lease.id.0]),
            _ => {}
        }
        self.is_past_snapshot |= !matches!(
            entry,
            JournalEntry::Snapshot { .. }
                | JournalEntry::Counter(_)
                | JournalEntry::Open(_)
                | JournalEntry::Approval(_)
                | JournalEntry::Disarm(_)
        );
    }

    /// Why an entry does not go with those before it.
    fn out_of_order(&mut self, entry: &JournalEntry) -> Option<String> {
        match entry {
            JournalEntry::Allow(allow) => {
                if let Some(approval) = allow.approval {
                    self.stages.insert(approval, ApprovalEvent::Used.stage());
                }
                let known = self.allows.get(&allow.id);
                let known = known.and_then(|at| self.carried.entries.get(*at))?;
                if known != entry {
                    self.carried.undated.push((allow.id, allow.charges.clone()));
                }
                Some(format!(
                    "decision {} is there already; what more it charged is kept",
                    allow.id
                ))
            }
            JournalEntry::Approval(approval) => {
                let own = ApprovalEvent::from(approval.state).stage();
                let known = self.stages.get(&approval.id).copied();
                if known.is_some_and(|known| known > own) {
                    let id = approval.id;
                    return Some(format!("request {id} was further on already"));
                }
                self.stages.insert(approval.id, own);
                None
            }
            _ => None,
        }
    }

    /// An entry of which the journal does not tell the time.
    fn undated(&mut self, entry: JournalEntry) {
        match entry {
            JournalEntry::Allow(allow) => {
                if !self.facts.ids.contains(&allow.id.0) {
                    let record = allow.audit.recovered(Some(allow.at.wall_ns));
                    self.carried.unlogged.push(record);
                }
                self.carried.undated.push((allow.id, allow.charges));
            }
            JournalEntry::OutOfBand { id, charges, .. } => {
                self.carried.undated.push((id, charges));
            }
            JournalEntry::Approval(approval) => self.carried.undated_approvals.push(*approval),
            JournalEntry::Counter(counter) => self.carried.undated_counter(counter),
            // An end is an end at whatever time.
            JournalEntry::Release { id, state, .. } => {
                let at = self.last;
                self.keep(JournalEntry::Release { id, state, at });
            }
            JournalEntry::Settle { id, state, .. } => {
                let at = self.last;
                self.keep(JournalEntry::Settle { id, state, at });
            }
            // What it says of a lease or a disarm does not matter: lines before it
            // are lost, so those are over.
            _ => {}
        }
    }

    fn keep(&mut self, entry: JournalEntry) {
        match entry {
            JournalEntry::Snapshot { next_id, recent } => {
                // What it clears was charged by lines that do not belong before it.
                self.carried.next_id = self.carried.next_id.max(next_id);
                self.carried.recent.extend(recent);
                self.report.carried("snapshot");
                return;
            }
            // A snapshot's stamps are older than the boot entry before them.
            JournalEntry::Counter(ref counter) => {
                let newest = counter.stamps.iter().map(|stamp| stamp.at);
                let newest = newest.max_by_key(|at| at.boot_ns);
                let boot = self
                    .found_at
                    .and_then(|at| self.carried.entries.get_mut(at));
                if let (Some(JournalEntry::Boot { at, .. }), Some(newest)) = (boot, newest)
                    && newest.boot_ns > at.boot_ns
                {
                    *at = newest;
                }
            }
            JournalEntry::Allow(ref allow) => {
                self.allows.insert(allow.id, self.carried.entries.len());
            }
            _ => {}
        }
        self.last = entry.at().unwrap_or(self.last);
        self.report.carried(kind(&entry));
        self.carried.entries.push(entry);
    }
}
