//! Requests for approval against a model: random calls, decisions, deadlines and
//! crashes, each crash followed by a replay of the journal.

use proptest::prelude::*;

use super::{approvals::person, *};
use crate::{
    approval::{Approval, ApprovalState},
    journal::{Replay, encode_line},
};

const ASKS: &str = r#"{"version":"1","default":"deny","tools":{"vm_stop":
    {"action":"require_approval","approval_timeout":60}}}"#;

#[derive(Clone, Debug)]
enum Step {
    Wait(i64),
    Ask {
        grant: u8,
        uid: u32,
        vm: u8,
        written: bool,
    },
    Decide {
        nth: usize,
        by: u32,
        yes: bool,
    },
    Expire,
    Exit(u8),
    Crash,
    Reboot {
        wall_ns: i64,
    },
    Compact,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..40_i64).prop_map(|seconds| Step::Wait(seconds * NS_PER_S)),
        12 => (0..2_u8, 1..4_u32, 0..8_u8, prop::bool::weighted(0.9))
            .prop_map(|(grant, uid, vm, written)| Step::Ask { grant, uid, vm, written }),
        6 => (any::<usize>(), 0..4_u32, prop::bool::weighted(0.8))
            .prop_map(|(nth, by, yes)| Step::Decide { nth, by, yes }),
        1 => Just(Step::Expire),
        4 => (0..8_u8).prop_map(Step::Exit),
        1 => Just(Step::Crash),
        1 => (-30..30_i64).prop_map(|seconds| Step::Reboot { wall_ns: seconds * NS_PER_S }),
        1 => Just(Step::Compact),
    ]
}

/// What must hold of a request, whatever the engine thinks.
#[derive(Clone, Debug)]
struct Modelled {
    id: DecisionId,
    grant: u8,
    vm: u8,
    boots: u32,
    deadline_ns: i64,
    askers: Vec<u32>,
    by: Option<u32>,
    yes: bool,
    used: bool,
}

struct Host {
    engine: Engine,
    journal: Vec<u8>,
    now: Now,
    boots: u32,
    model: Vec<Modelled>,
}

impl Host {
    fn new() -> Self {
        let engine = Engine::new(policy(ASKS), "boot-0");
        let mut host = Self {
            engine,
            journal: Vec::new(),
            now: at(100),
            boots: 0,
            model: Vec::new(),
        };
        host.write(&[host.engine.boot_entry(host.now)]);
        host
    }

    fn write(&mut self, entries: &[JournalEntry]) {
        for entry in entries {
            self.journal.extend(encode_line(entry).expect("JSON"));
        }
    }

    fn replayed(&self) -> Engine {
        let replay = Replay::read(&self.journal).expect("intact");
        let boot = format!("boot-{}", self.boots);
        let mut engine = Engine::restore(policy(ASKS), &replay.finish(&boot, self.now));
        // The shell brings it from the audit, which knows denials too.
        engine.skip_ids(DecisionId(self.engine.next_id));
        engine
    }

    fn restart(&mut self) {
        self.engine = self.replayed();
        self.write(&[self.engine.boot_entry(self.now)]);
    }

    /// The VM's process is another one after each boot.
    fn request(&self, grant: u8, uid: u32, n: u8) -> Request {
        let process = process(1000 + self.boots * 100 + u32::from(n));
        let target = Target::Vm(VmTarget {
            process: Some(process),
            ..vm(n)
        });
        Request {
            caller: Caller {
                uid,
                ..caller(&format!("uid:{grant}"))
            },
            target,
            ..stop(n)
        }
    }

    fn ask(&mut self, grant: u8, uid: u32, n: u8, written: bool) -> Result<(), TestCaseError> {
        let request = self.request(grant, uid, n);
        let answer = self.engine.authorize(request.clone(), self.now);
        let (boots, now_ns) = (self.boots, self.now.boot_ns);
        let id = match &answer.decision {
            Decision::Allow(permit) => {
                let usable = |one: &&mut Modelled| {
                    one.yes
                        && !one.used
                        && (one.grant, one.vm, one.boots) == (grant, n, boots)
                        && one.deadline_ns > now_ns
                        && one.by != Some(uid)
                };
                let given = self.model.iter_mut().find(usable);
                prop_assert!(given.is_some(), "allowed without a yes of its own");
                if let Some(given) = given.filter(|_| written) {
                    given.used = true;
                }
                permit.id()
            }
            Decision::Pending(pending) => {
                if written && pending.id == pending.approval {
                    self.model.push(Modelled {
                        id: pending.id,
                        grant,
                        vm: n,
                        boots,
                        deadline_ns: now_ns + 60 * NS_PER_S,
                        askers: vec![uid],
                        by: None,
                        yes: false,
                        used: false,
                    });
                } else if written {
                    let joined = self
                        .model
                        .iter_mut()
                        .filter(|one| one.id == pending.approval);
                    joined.for_each(|one| one.askers.push(uid));
                }
                pending.id
            }
            Decision::Deny(denial) => denial.id,
        };
        if written {
            self.write(&answer.journal);
        } else if !answer.journal.is_empty() {
            self.engine.undo(id);
        }
        Ok(())
    }

    fn decide(&mut self, nth: usize, by: u32, yes: bool) -> Result<(), TestCaseError> {
        let ids: Vec<DecisionId> = self.engine.approvals().map(|one| one.id).collect();
        let Some(id) = ids.get(nth % ids.len().max(1)).copied() else {
            return Ok(());
        };
        let decided = self
            .engine
            .decide_approval(id, person(by), yes, None, self.now);
        let Ok((journal, _)) = decided else {
            return Ok(());
        };
        self.write(&journal);
        for one in self.model.iter_mut().filter(|one| one.id == id) {
            prop_assert!(
                !yes || !one.askers.contains(&by),
                "approved by one who asks"
            );
            (one.yes, one.by) = (yes, Some(by));
        }
        Ok(())
    }

    fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Wait(ns) => {
                self.now.boot_ns += ns;
                self.now.wall_ns += ns;
            }
            Step::Ask {
                grant,
                uid,
                vm,
                written,
            } => self.ask(grant, uid, vm, written)?,
            Step::Decide { nth, by, yes } => self.decide(nth, by, yes)?,
            Step::Expire => {
                let (journal, audit) = self.engine.expire_approvals(self.now);
                prop_assert_eq!(journal.len(), audit.len());
                self.write(&journal);
            }
            Step::Exit(n) => {
                let process = process(1000 + self.boots * 100 + u32::from(n));
                let closed = self.engine.vm_exited(process, self.now);
                self.write(&closed.journal);
            }
            Step::Crash => self.restart(),
            Step::Reboot { wall_ns } => {
                self.boots += 1;
                self.now = Now {
                    boot_ns: NS_PER_S,
                    wall_ns: self.now.wall_ns + wall_ns,
                };
                self.restart();
            }
            Step::Compact => {
                self.journal.clear();
                self.write(&self.engine.snapshot(self.now));
            }
        }
        Ok(())
    }
}

/// What a crash may not change: those that can still come to something.
fn open(engine: &Engine, now: Now) -> Vec<Approval> {
    let open = engine
        .approvals()
        .filter(|one| one.is_open() && one.deadline_ns > now.boot_ns);
    open.cloned().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Each yes lets one call of its own through, before its deadline; no grant
    /// has more waiting than its cap; a crash changes nothing.
    #[test]
    fn a_yes_is_single_use_bound_and_short_over_crashes(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut host = Host::new();
        for step in &steps {
            host.take(step)?;
            let replayed = host.replayed();
            prop_assert_eq!(open(&replayed, host.now), open(&host.engine, host.now));
            for grant in ["uid:0", "uid:1"] {
                let waiting = open(&host.engine, host.now)
                    .into_iter()
                    .filter(|one| one.state == ApprovalState::Pending && one.binding.grant == grant);
                prop_assert!(waiting.count() <= 5);
            }
        }
    }
}
