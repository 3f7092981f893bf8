//! Who was told what, what was charged, what is on record.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vmward_core::journal::{JournalEntry, decode_line};
use vmward_tests::audit::AuditLog;

/// An answer, by the caller's clock.
pub(super) struct Told {
    pub(super) id: u64,
    /// Which of the tools.
    pub(super) tool: usize,
    pub(super) allowed: bool,
    pub(super) sent: Duration,
    pub(super) received: Duration,
}

/// Everything that is known of all rounds.
pub(super) struct Accounts {
    journal: PathBuf,
    /// How far the journal was read, and which file it was.
    read: (u64, usize),
    /// Boot-time nanoseconds of each charged decision, by counter.
    charged: BTreeMap<String, BTreeMap<u64, i64>>,
    told: Vec<Told>,
    reached: Vec<usize>,
}

impl Accounts {
    pub(super) fn new(journal: &Path) -> Self {
        Self {
            journal: journal.to_owned(),
            read: (0, 0),
            charged: BTreeMap::new(),
            told: Vec::new(),
            reached: Vec::new(),
        }
    }

    pub(super) fn told(&mut self, told: Vec<Told>) {
        self.told.extend(told);
    }

    /// Reads what the daemon that was just killed left behind. Where a snapshot
    /// took the journal's place, it has the calls that were in it.
    pub(super) fn read_journal(&mut self) {
        let inode = fs::metadata(&self.journal).expect("it was written").ino();
        let bytes = fs::read(&self.journal).expect("it is there");
        let (known, from) = self.read;
        let from = if known == inode { from } else { 0 };
        let mut end = from;
        for line in bytes[from..].split_inclusive(|byte| *byte == b'\n') {
            match decode_line(line) {
                Ok(entry) => self.charge(entry),
                // Cut off by the kill, and never answered.
                Err(error) if !line.ends_with(b"\n") => drop(error),
                Err(error) => panic!("the journal is damaged: {error}"),
            }
            if line.ends_with(b"\n") {
                end += line.len();
            }
        }
        self.read = (inode, end);
    }

    fn charge(&mut self, entry: JournalEntry) {
        match entry {
            JournalEntry::Allow(entry) => {
                for charge in &entry.charges {
                    assert_eq!(charge.cost, 1);
                    let counter = self.charged.entry(charge.key.counter.clone());
                    let at_ns = entry.at.boot_ns;
                    let earlier = counter.or_default().insert(entry.id.0, at_ns);
                    assert!(earlier.is_none(), "{} was used twice", entry.id);
                }
            }
            JournalEntry::Counter(entry) => {
                let counter = self.charged.entry(entry.key.counter).or_default();
                for stamp in entry.stamps {
                    counter.insert(stamp.id.0, stamp.at.boot_ns);
                }
            }
            _ => {}
        }
    }

    /// How many calls the journal charged to a counter.
    pub(super) fn charged(&self, counter: &str) -> u64 {
        self.charged
            .get(counter)
            .map_or(0, |calls| calls.len() as u64)
    }

    /// Every answer is on record once, and every allow was charged.
    pub(super) fn compare(&self, audit: &AuditLog) {
        let mut recorded = BTreeMap::new();
        for record in audit.select(|record| record["kind"] == "decision") {
            let id = record["decision_id"].as_u64().expect("a number");
            let earlier = recorded.insert(id, record["decision"] == "allow");
            assert_eq!(earlier, None, "decision {id} is on record twice");
        }
        let charged: BTreeSet<u64> = self
            .charged
            .values()
            .flat_map(|calls| calls.keys().copied())
            .collect();
        let mut ids = BTreeSet::new();
        for Told { id, allowed, .. } in &self.told {
            assert!(ids.insert(id), "decision {id} was given out twice");
            assert_eq!(
                recorded.get(id),
                Some(allowed),
                "decision {id} was answered and its record is not there"
            );
            assert_eq!(charged.contains(id), *allowed, "decision {id}");
        }
        for id in charged {
            assert_eq!(
                recorded.get(&id),
                Some(&true),
                "charged {id} is off the record"
            );
        }
    }

    /// Counted over every window that begins with a call: by the journal's
    /// instants, and by the clocks of the callers alone. And the maximum was
    /// reached, where it can be: otherwise this would show nothing.
    pub(super) fn no_window_held_more(
        &mut self,
        tool: usize,
        name: &str,
        window_ns: i64,
        max: u64,
    ) {
        let mut instants: Vec<i64> = self.charged[name].values().copied().collect();
        instants.sort_unstable();
        let held = instants.iter().enumerate().map(|(first, at)| {
            let end = instants.partition_point(|other| *other < at + window_ns);
            end - first
        });
        let most = held.max().expect("calls were allowed");
        assert!(most as u64 <= max, "{name}: {most} of {max} in a window");
        assert!(
            max >= 1_000_000 || most as u64 == max,
            "{name}: only {most}"
        );
        self.reached.push(most);

        // A call was charged at some instant between its question and its
        // answer, so those that lie wholly within a window were all in it.
        let window = Duration::from_nanos(window_ns.unsigned_abs());
        let mut calls: Vec<&Told> = self
            .told
            .iter()
            .filter(|told| told.tool == tool && told.allowed)
            .collect();
        calls.sort_by_key(|told| told.sent);
        for (first, told) in calls.iter().enumerate() {
            let end = told.sent + window;
            let within = calls[first..].iter().take_while(|other| other.sent < end);
            let within = within.filter(|other| other.received < end).count();
            assert!(
                within as u64 <= max,
                "{name}: callers saw {within} of {max}"
            );
            if within == calls.len() - first {
                // No later window can hold more.
                break;
            }
        }
    }

    pub(super) fn summary(&self, kills: u64, took: Duration) {
        let allowed = self.told.iter().filter(|told| told.allowed).count();
        let charged: usize = self.charged.values().map(BTreeMap::len).sum();
        println!(
            "{kills} kills in {took:.0?}: {} answers, {allowed} allowed, {charged} charged; most \
             in a window {:?}",
            self.told.len(),
            self.reached
        );
    }
}
