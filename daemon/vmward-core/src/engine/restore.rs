//! To and from the journal.

use std::collections::{BTreeMap, BTreeSet};

use super::{Engine, recent::RecentDecision};
use crate::{
    clock::Now,
    ids::DecisionId,
    journal::{CounterEntry, CounterStamp, JournalEntry, ReplayedState, RestoredStamp},
    lease::LeaseState,
    limit::{Counter, CounterKey, StampEntry, maker_beside, window_s},
    policy::Policy,
};

/// A wall clock that moved this far against boot time was set.
const CLOCK_STEP_NS: u64 = 1_000_000_000;

impl Engine {
    /// As it was when the journal was last written.
    pub fn restore(policy: Policy, replayed: &ReplayedState) -> Self {
        let mut engine = Self::new(policy, &replayed.boot_id);
        engine.next_id = replayed.next_id;
        engine.wall_ahead_ns = Some(wall_ahead_ns(replayed.now));
        // A lease in use is charged for good.
        let refundable: BTreeSet<DecisionId> = replayed
            .leases
            .iter()
            .filter(|lease| lease.state != LeaseState::Executing)
            .map(|lease| lease.id)
            .collect();
        for RestoredStamp { charge, stamp } in &replayed.stamps {
            let reserved = refundable.contains(&stamp.id);
            let now_ns = replayed.now.boot_ns;
            engine.limiter.restore(charge, *stamp, reserved, now_ns);
        }
        engine.leases = replayed
            .leases
            .iter()
            .map(|lease| (lease.id, lease.clone()))
            .collect();
        for approval in &replayed.approvals {
            engine.approvals.restore(approval.clone());
        }
        for disarm in &replayed.disarms {
            engine.disarms.put(disarm.clone());
        }
        for decision in &replayed.recent {
            engine.recent.insert(decision.clone());
        }
        engine
    }

    /// The first entry to append after each start of the daemon: what follows it
    /// is told in this boot's time.
    pub fn boot_entry(&self, now: Now) -> JournalEntry {
        JournalEntry::Boot {
            boot_id: self.boot_id.clone(),
            at: now,
        }
    }

    /// An entry to append when the wall clock was set since the last one: ages
    /// over a reboot are told by it, and must not count the step. Ask as often
    /// as the clocks are looked at.
    pub fn clock_mark(&mut self, now: Now) -> Option<JournalEntry> {
        let ahead_ns = wall_ahead_ns(now);
        let known_ns = *self.wall_ahead_ns.get_or_insert(ahead_ns);
        if known_ns.abs_diff(ahead_ns) <= CLOCK_STEP_NS {
            return None;
        }
        self.wall_ahead_ns = Some(ahead_ns);
        Some(self.boot_entry(now))
    }

    /// A whole new journal that replays to the same state, for compaction. The
    /// audit log must be durable up to here before it replaces the old journal,
    /// because it no longer holds the audit records of past decisions.
    pub fn snapshot(&self, now: Now) -> Vec<JournalEntry> {
        let recent: Vec<RecentDecision> = self.recent.iter().cloned().collect();
        let mut entries = vec![
            self.boot_entry(now),
            JournalEntry::Snapshot {
                next_id: self.next_id,
                recent,
            },
        ];
        for one in self.limiter.counters() {
            entries.extend(counter_entries(one, now).map(JournalEntry::Counter));
        }
        let open = self.approvals.iter().filter(|approval| approval.is_open());
        entries.extend(open.map(|approval| JournalEntry::Approval(Box::new(approval.clone()))));
        let disarms = self.disarms.iter().cloned();
        entries.extend(disarms.map(|disarm| JournalEntry::Disarm(Box::new(disarm))));
        let leases = self.leases.values().cloned();
        entries.extend(leases.map(|lease| JournalEntry::Open(Box::new(lease))));
        entries
    }
}

/// One counter's calls, by how long they matter.
fn counter_entries(
    counter: Counter<'_, impl Iterator<Item = (StampEntry, i64)>>,
    now: Now,
) -> impl Iterator<Item = CounterEntry> {
    let Counter {
        counter,
        key,
        maker,
        stamps,
    } = counter;
    let mut by_window: BTreeMap<i64, Vec<CounterStamp>> = BTreeMap::new();
    for (StampEntry { id, at_ns, cost }, keep_ns) in stamps {
        let age_ns = now.boot_ns.saturating_sub(at_ns);
        let at = Now {
            boot_ns: at_ns,
            wall_ns: now.wall_ns.saturating_sub(age_ns),
        };
        let same = by_window.entry(keep_ns).or_default();
        same.push(CounterStamp { id, at, cost });
    }
    by_window
        .into_iter()
        .map(move |(keep_ns, stamps)| CounterEntry {
            key: CounterKey {
                counter: counter.to_owned(),
                key: key.to_owned(),
            },
            maker: maker_beside(key, maker),
            window_s: window_s(keep_ns),
            stamps,
        })
}

fn wall_ahead_ns(now: Now) -> i64 {
    now.wall_ns.saturating_sub(now.boot_ns)
}
