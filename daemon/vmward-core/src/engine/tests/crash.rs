//! What is left after a crash: replaying the journal gives the same engine, at
//! every prefix, in this boot and after the next.

use proptest::prelude::*;

use super::*;
use crate::{
    journal::{Replay, encode_line},
    lease::{KernelLease, Lease},
};

/// A daemon on a host: the engine, its journal as the disk has it, the clocks,
/// and what truly happened.
struct Host {
    engine: Engine,
    journal: Vec<u8>,
    boots: u32,
    now: Now,
    /// Instants of the calls that were allowed and not refunded, by a clock that
    /// never stops or steps.
    stops: Vec<(DecisionId, i64)>,
    elapsed_ns: i64,
}

impl Host {
    fn new() -> Self {
        let mut host = Self {
            engine: Engine::new(policy(SEED), "boot-0"),
            journal: Vec::new(),
            boots: 0,
            now: at(0),
            stops: Vec::new(),
            elapsed_ns: 0,
        };
        host.write(&[host.engine.boot_entry(host.now)]);
        host.set_clock(0);
        host
    }

    fn write(&mut self, entries: &[JournalEntry]) {
        for entry in entries {
            self.journal.extend(encode_line(entry).expect("JSON"));
        }
    }

    fn boot_id(&self) -> String {
        format!("boot-{}", self.boots)
    }

    fn wait(&mut self, ns: i64) {
        self.now.boot_ns += ns;
        self.now.wall_ns += ns;
        self.elapsed_ns += ns;
    }

    fn ask(&mut self, n: u8) {
        let answer = self.engine.authorize(stop(n), self.now);
        self.write(&answer.journal);
        if let Decision::Allow(permit) = &answer.decision {
            self.stops.push((permit.id(), self.elapsed_ns));
        }
    }

    fn close(&mut self, kernel: KernelLease, alive: bool) {
        for id in self.engine.due(self.now) {
            let closed = self.engine.close(id, kernel, alive, self.now);
            self.write(&closed.journal);
            if closed
                .journal
                .iter()
                .any(|entry| matches!(entry, JournalEntry::Release { .. }))
            {
                self.stops.retain(|(other, _)| *other != id);
            }
        }
    }

    fn replay(&self, journal: &[u8]) -> Engine {
        let replay = Replay::read(journal).expect("intact");
        Engine::restore(policy(SEED), &replay.finish(&self.boot_id(), self.now))
    }

    fn restart(&mut self) {
        self.engine = self.replay(&self.journal);
        self.write(&[self.engine.boot_entry(self.now)]);
    }

    /// The wall clock is set. The daemon looks at the clocks several times a
    /// second.
    fn set_clock(&mut self, ahead_ns: i64) {
        self.now.wall_ns += ahead_ns;
        let mark = self.engine.clock_mark(self.now);
        assert_eq!(mark.is_some(), ahead_ns != 0);
        self.write(&mark.into_iter().collect::<Vec<_>>());
    }

    /// A new boot: another boot id, boot time from 0, and a wall clock that may
    /// have been set back.
    fn reboot(&mut self, off_ns: i64, wall_back_ns: i64) {
        self.boots += 1;
        self.wait(off_ns + NS_PER_S);
        self.now = Now {
            boot_ns: NS_PER_S,
            wall_ns: self.now.wall_ns - wall_back_ns,
        };
        self.restart();
    }
}

const HOUR: i64 = 3600 * NS_PER_S;

#[derive(Clone, Debug)]
enum Step {
    Wait(i64),
    Ask(u8),
    Close(KernelLease, bool),
    Claim(usize),
    Release(usize),
    Report(usize, bool),
    Exit(u8),
    Restart,
    /// Seconds that the host is off, nanoseconds that its clock is set back.
    Reboot(i64, i64),
    /// Boot time goes on while a host sleeps.
    Suspend,
    SetClock(i64),
    Compact,
}

fn step() -> impl Strategy<Value = Step> {
    let kernel = prop_oneof![
        Just(KernelLease::Granted),
        Just(KernelLease::Executing),
        Just(KernelLease::Missing)
    ];
    prop_oneof![
        4 => (0..12_i64).prop_map(|seconds| Step::Wait(seconds * NS_PER_S)),
        12 => (0..16_u8).prop_map(Step::Ask),
        3 => (kernel, any::<bool>()).prop_map(|(kernel, alive)| Step::Close(kernel, alive)),
        1 => any::<usize>().prop_map(Step::Claim),
        1 => any::<usize>().prop_map(Step::Release),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(nth, begun)| Step::Report(nth, begun)),
        2 => (0..16_u8).prop_map(Step::Exit),
        1 => Just(Step::Restart),
        1 => (0..30_i64, 0..2_i64)
            .prop_map(|(off, hours)| Step::Reboot(off, hours * HOUR)),
        1 => (-1..2_i64).prop_map(|hours| Step::SetClock(hours * HOUR)),
        1 => Just(Step::Suspend),
        1 => Just(Step::Compact),
    ]
}

impl Host {
    fn take(&mut self, step: &Step) {
        let ids: Vec<DecisionId> = self.engine.leases().map(|lease| lease.id).collect();
        let nth = |n: usize| ids.get(n % ids.len().max(1)).copied();
        let by = caller("uid:0");
        match *step {
            Step::Wait(ns) => self.wait(ns),
            Step::Ask(n) => self.ask(n),
            Step::Close(kernel, alive) => self.close(kernel, alive),
            Step::Claim(n) => {
                let entries = nth(n).map(|id| self.engine.lease_claimed(id, self.now));
                self.write(&entries.unwrap_or_default());
            }
            Step::Release(n) => {
                let released = nth(n).and_then(|id| self.engine.release(id, &by, self.now).ok());
                self.write(
                    &released
                        .map(|released| released.journal)
                        .unwrap_or_default(),
                );
            }
            Step::Report(n, begun) => {
                let outcome = if begun {
                    Outcome::Failed
                } else {
                    Outcome::NotAttempted
                };
                let report = |id| self.engine.report(id, &by, outcome, None, self.now).ok();
                let entries = nth(n).and_then(report).map(|(entries, _)| entries);
                self.write(&entries.unwrap_or_default());
            }
            Step::Exit(n) => {
                let closed = self
                    .engine
                    .vm_exited(process(1000 + u32::from(n)), self.now);
                self.write(&closed.journal);
            }
            Step::Restart => self.restart(),
            Step::Reboot(off, wall_back_ns) => self.reboot(off * NS_PER_S, wall_back_ns),
            Step::Suspend => self.wait(HOUR),
            Step::SetClock(ahead_ns) => self.set_clock(ahead_ns),
            Step::Compact => {
                self.journal.clear();
                self.write(&self.engine.snapshot(self.now));
            }
        }
    }
}

/// All that decides anything, now and later. Not the number of the next decision:
/// the journal does not know denials, so the shell brings that from the audit.
fn state(engine: &Engine, now: Now) -> (Vec<Vec<LimitRow>>, Vec<Lease>, Vec<RecentDecision>) {
    let later = |seconds| Now {
        boot_ns: now.boot_ns + seconds * NS_PER_S,
        ..now
    };
    let limits = [0, 15, 45].map(|seconds| engine.limits(later(seconds)));
    (
        limits.into(),
        engine.leases().cloned().collect(),
        engine.recent.iter().cloned().collect(),
    )
}

fn left(engine: &Engine, now: Now) -> u64 {
    engine.limits(now).first().map_or(10, |row| row.remaining)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// At no moment, whatever was restarted, rebooted or compacted, were more
    /// than ten calls allowed within a minute of true time.
    #[test]
    fn ten_a_minute_over_restarts_reboots_and_clock_steps(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut host = Host::new();
        for step in &steps {
            host.take(step);
            for (_, start) in &host.stops {
                let window = start..&(start + 60 * NS_PER_S);
                let used = host.stops.iter().filter(|(_, at)| window.contains(&at)).count();
                prop_assert!(used <= 10, "{} in a minute", used);
            }
        }
    }

    /// A crash after any entry, or within one, leaves exactly what the entries
    /// before it say.
    #[test]
    fn every_prefix_of_the_journal_replays_to_the_engine_of_that_moment(
        steps in prop::collection::vec(step(), 1..40),
        torn in any::<prop::sample::Index>(),
    ) {
        let mut host = Host::new();
        for step in &steps {
            let before = host.journal.len();
            let earlier = host.engine.clone();
            host.take(step);
            let replayed = host.replay(&host.journal);
            prop_assert_eq!(state(&replayed, host.now), state(&host.engine, host.now));
            let compacted = matches!(step, Step::Compact | Step::Restart | Step::Reboot(..));
            if compacted || host.journal.len() <= before + 1 {
                continue;
            }
            let cut = before + 1 + torn.index(host.journal.len() - before - 1);
            let replayed = host.replay(&host.journal[..cut]);
            let most = left(&earlier, host.now).max(left(&host.engine, host.now));
            prop_assert!(left(&replayed, host.now) <= most);
            let whole_lines = host.journal[before..cut].iter().filter(|byte| **byte == b'\n');
            if whole_lines.count() == 0 && !matches!(step, Step::Wait(_)) {
                prop_assert_eq!(state(&replayed, host.now), state(&earlier, host.now));
            }
        }
    }
}

#[test]
fn a_lease_of_a_former_boot_is_lost_and_stays_charged() {
    let mut host = Host::new();
    host.ask(1);
    host.boots += 1;
    host.now = Now {
        boot_ns: NS_PER_S,
        wall_ns: host.now.wall_ns + 20 * NS_PER_S,
    };
    let replay = Replay::read(&host.journal).expect("intact");
    let replayed = replay.finish(&host.boot_id(), host.now);
    assert!(replayed.leases.is_empty());
    let [lost] = replayed.lost.as_slice() else {
        panic!("{:?}", replayed.lost)
    };
    assert_eq!(lost.state, LeaseState::Lost);
    let engine = Engine::restore(policy(SEED), &replayed);
    let row = &engine.limits(host.now)[0];
    assert_eq!((row.remaining, engine.leases().count()), (9, 0));
    let later = Now {
        boot_ns: 41 * NS_PER_S,
        ..host.now
    };
    assert!(
        engine.limits(later).is_empty(),
        "its age came over the reboot"
    );
}

#[test]
fn a_restart_between_the_journal_and_the_audit_gives_the_record_back() {
    let mut host = Host::new();
    host.ask(1);
    let replayed = Replay::read(&host.journal)
        .expect("intact")
        .finish("boot-0", host.now);
    let [decision] = replayed.decisions.as_slice() else {
        panic!("{:?}", replayed.decisions)
    };
    let AuditBody::Decision(record) = decision.audit.clone().recovered(Some(0)) else {
        panic!()
    };
    assert!(record.recovered);
    assert_eq!(record.decision_id, host.stops[0].0);
    let mut engine = Engine::restore(policy(SEED), &replayed);
    engine
        .report(
            decision.id,
            &caller("uid:0"),
            Outcome::Stopped,
            None,
            host.now,
        )
        .expect("known");
}

#[test]
fn a_refund_is_still_possible_after_a_restart_and_not_after_a_claim() {
    for claimed in [false, true] {
        let mut host = Host::new();
        host.ask(1);
        let id = host.stops[0].0;
        if claimed {
            host.take(&Step::Claim(0));
        }
        host.restart();
        host.wait(90 * NS_PER_S);
        let closed = host.engine.close(id, KernelLease::Granted, true, host.now);
        let refunded = matches!(closed.journal.as_slice(), [JournalEntry::Release { .. }]);
        assert_eq!(refunded, !claimed);
    }
}

#[test]
fn a_charge_that_can_never_be_refunded_is_final_at_once() {
    let mut host = Host::new();
    host.ask(1);
    host.take(&Step::Claim(0));
    let claimed = host.stops[0].0;
    let open = Target::Vm(VmTarget {
        protected: false,
        ..vm(2)
    });
    let unleased = host
        .engine
        .authorize(request("vm_stop", Some(Effect::Stop), open), host.now);
    host.write(&unleased.journal);
    for restarted in [false, true] {
        if restarted {
            host.restart();
        }
        for id in [claimed, allowed(&unleased).id()] {
            assert!(
                !host.engine.limiter.clone().release(id),
                "{id}, restarted {restarted}"
            );
        }
    }
}
