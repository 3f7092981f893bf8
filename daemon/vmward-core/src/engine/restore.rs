//! To and from the journal.

use std::collections::BTreeSet;

use super::{Engine, recent::RecentDecision};
use crate::{
    clock::Now,
    ids::DecisionId,
    journal::{CounterEntry, CounterStamp, JournalEntry, ReplayedState, RestoredStamp},
    lease::LeaseState,
    limit::{CounterKey, maker_beside},
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
        for RestoredStamp { key, maker, stamp } in &replayed.stamps {
            let reserved = refundable.contains(&stamp.id);
            let now_ns = replayed.now.boot_ns;
            let maker = maker.as_deref();
            engine.limiter.restore(key, maker, *stamp, reserved, now_ns);
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
            let stamps = one
                .stamps
                .map(|stamp| {
                    let age_ns = now.boot_ns.saturating_sub(stamp.at_ns);
                    let at = Now {
                        boot_ns: stamp.at_ns,
                        wall_ns: now.wall_ns.saturating_sub(age_ns),
                    };
                    CounterStamp {
                        id: stamp.id,
                        at,
                        cost: stamp.cost,
                    }
                })
                .collect();
            entries.push(JournalEntry::Counter(CounterEntry {
                maker: maker_beside(one.key, one.maker),
                key: CounterKey {
                    counter: one.counter.to_owned(),
                    key: one.key.to_owned(),
                },
                stamps,
            }));
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

fn wall_ahead_ns(now: Now) -> i64 {
    now.wall_ns.saturating_sub(now.boot_ns)
}
