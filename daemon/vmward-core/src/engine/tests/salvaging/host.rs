//! A daemon's engine with its journal and its audit log, and what happens to it.

use proptest::prelude::*;

use super::super::{approvals::person, disarming::operator, *};
use crate::{
    audit::{OutOfBandCharge, VmRecord, VmRef, chain::Chain},
    disarm::{Disarm, DisarmedVm},
    journal::{
        Replay, ReplayedState, encode_batch,
        salvage::{LogFacts, Report, Situation, salvage},
    },
    lease::KernelLease,
};

const POLICY: &str = r#"{"version": "1", "default": "deny", "tools": {
    "vm_stop": {"limits": [
        {"counter": "c", "window": "minute", "max": 10, "scope": "grant"},
        {"counter": "v", "window": "hour", "max": 3, "scope": "vm"}]},
    "vm_reset": {"action": "require_approval", "approval_timeout": 600,
        "limits": [{"counter": "c", "window": "minute", "max": 10, "scope": "grant"}]}}}"#;

/// A daemon's engine, with journal and audit log as they are on disk.
pub(super) struct Host {
    pub(super) engine: Engine,
    pub(super) journal: Vec<u8>,
    lines: u64,
    pub(super) log: Vec<String>,
    pub(super) chain: Chain,
    boots: u32,
    pub(super) now: Now,
}

impl Host {
    pub(super) fn new() -> Self {
        let mut host = Self {
            engine: Engine::new(policy(POLICY), "boot-0"),
            journal: Vec::new(),
            lines: 0,
            log: Vec::new(),
            chain: Chain::new(),
            boots: 0,
            now: at(100),
        };
        host.record(&AuditBody::daemon("genesis", None));
        host.begin();
        host
    }

    fn begin(&mut self) {
        let boot = self.engine.boot_entry(self.now);
        self.write(&[boot]);
        self.record(&AuditBody::daemon("started", None));
    }

    fn write(&mut self, entries: &[JournalEntry]) {
        let lines = encode_batch(entries, self.lines + 1).expect("JSON");
        self.lines += entries.len() as u64;
        self.journal.extend(lines);
    }

    pub(super) fn record(&mut self, body: &AuditBody) {
        let line = self.chain.append(body, &self.boot_id(), self.now);
        self.log.push(line);
    }

    fn boot_id(&self) -> String {
        format!("boot-{}", self.boots)
    }

    fn wait(&mut self, ns: i64) {
        self.now.boot_ns += ns;
        self.now.wall_ns += ns;
    }

    pub(super) fn ask(&mut self, request: Request) {
        let answer = self.engine.authorize(request, self.now);
        self.write(&answer.journal);
        self.record(&answer.audit);
        if let Some(approval) = &answer.approval {
            self.record(approval);
        }
    }

    fn closed(&mut self, closed: &Closed) {
        self.write(&closed.journal);
        closed.audit.iter().for_each(|body| self.record(body));
    }

    fn decide(&mut self, nth: usize, yes: bool) {
        let ids: Vec<_> = self.engine.approvals().map(|one| one.id).collect();
        let Some(id) = ids.get(nth % ids.len().max(1)) else {
            return;
        };
        let by = person(2000);
        if let Ok((entries, audit)) = self.engine.decide_approval(*id, by, yes, None, self.now) {
            self.write(&entries);
            self.record(&audit);
        }
    }

    fn disarm(&mut self, n: u8) {
        let vm = vm(n);
        let disarm = Disarm {
            vm: Some(DisarmedVm {
                uuid: vm.uuid,
                name: vm.name,
                process: vm.process.expect("it runs"),
            }),
            by: operator(),
            reason: "ticket".to_owned(),
            since: self.now,
            until_ns: None,
        };
        let (entries, audit, _) = self.engine.disarm(disarm);
        self.write(&entries);
        self.record(&audit);
    }

    fn arm(&mut self, n: u8) {
        let of = Some(process(1000 + u32::from(n)));
        let rearmed = self.engine.arm(of, &operator(), None, self.now);
        self.write(&rearmed.journal);
        rearmed.audit.iter().for_each(|body| self.record(body));
    }

    fn stopped_beside(&mut self, n: u8) {
        let grant = "uid:0".to_owned();
        let (entries, _) =
            self.engine
                .charge_out_of_band(Effect::Stop, &vm(n), 1000, grant, self.now);
        self.write(&entries);
        let record = VmRecord {
            event: "ended".to_owned(),
            vm: VmRef {
                uuid: Some(vm(n).uuid),
                name: vm(n).name,
            },
            pid: 1000,
            cause: None,
            signal: None,
            exit_code: None,
            lease: None,
            charged: entries.iter().find_map(OutOfBandCharge::of),
            actor: None,
        };
        self.record(&AuditBody::Vm(Box::new(record)));
    }

    fn replayed(&self, journal: &[u8]) -> ReplayedState {
        let replay = Replay::read(journal).expect("intact");
        replay.finish(&self.boot_id(), self.now)
    }

    fn restart(&mut self) {
        let next_id = DecisionId(self.engine.next_id - 1);
        self.engine = Engine::restore(policy(POLICY), &self.replayed(&self.journal));
        self.engine.skip_ids(next_id);
        self.begin();
    }

    fn compact(&mut self) {
        self.journal.clear();
        self.lines = 0;
        self.write(&self.engine.snapshot(self.now));
    }

    pub(super) fn repaired(&self, journal: &[u8]) -> (Engine, ReplayedState, Report) {
        let policy_in_force = policy(POLICY);
        let mut facts = LogFacts::new(&policy_in_force, None);
        for line in &self.log {
            facts.take_line(line, "the log");
        }
        facts.end();
        let boot_id = self.boot_id();
        let here = Situation {
            boot_id: &boot_id,
            now: self.now,
            denied_memory_s: 900,
        };
        let salvaged = salvage(journal, &facts, here).expect("a journal");
        let state = self.replayed(&salvaged.lines);
        let engine = Engine::restore(policy(POLICY), &state);
        (engine, state, salvaged.report)
    }
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Wait(i64),
    Stop(u8),
    Reset(u8),
    Decide(usize, bool),
    Close(KernelLease),
    Claim(usize),
    Report(usize),
    Exit(u8),
    Beside(u8),
    Disarm(u8),
    Arm(u8),
    Restart,
    Reboot(i64),
    Compact,
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let kernel = prop_oneof![Just(KernelLease::Granted), Just(KernelLease::Missing)];
    prop_oneof![
        4 => (0..20_i64).prop_map(Step::Wait),
        10 => (0..6_u8).prop_map(Step::Stop),
        4 => (0..4_u8).prop_map(Step::Reset),
        4 => (any::<usize>(), prop::bool::weighted(0.7)).prop_map(|(n, yes)| Step::Decide(n, yes)),
        3 => kernel.prop_map(Step::Close),
        1 => any::<usize>().prop_map(Step::Claim),
        1 => any::<usize>().prop_map(Step::Report),
        1 => (0..6_u8).prop_map(Step::Exit),
        1 => (0..6_u8).prop_map(Step::Beside),
        1 => (0..3_u8).prop_map(Step::Disarm),
        1 => (0..3_u8).prop_map(Step::Arm),
        1 => Just(Step::Restart),
        1 => (0..30_i64).prop_map(Step::Reboot),
        1 => Just(Step::Compact),
    ]
}

impl Host {
    pub(super) fn take(&mut self, step: &Step) {
        let ids: Vec<DecisionId> = self.engine.leases().map(|lease| lease.id).collect();
        let nth = |n: usize| ids.get(n % ids.len().max(1)).copied();
        match *step {
            Step::Wait(seconds) => self.wait(seconds * NS_PER_S),
            Step::Stop(n) => self.ask(stop(n)),
            Step::Reset(n) => {
                let target = Target::Vm(vm(n));
                self.ask(request("vm_reset", Some(Effect::Reset), target));
            }
            Step::Decide(n, yes) => self.decide(n, yes),
            Step::Close(kernel) => {
                for id in self.engine.due(self.now) {
                    let closed = self.engine.close(id, kernel, true, self.now);
                    self.closed(&closed);
                }
            }
            Step::Claim(n) => {
                let entries = nth(n).map(|id| self.engine.lease_claimed(id, self.now));
                self.write(&entries.unwrap_or_default());
            }
            Step::Report(n) => {
                let by = caller("uid:0");
                let report = |id| {
                    self.engine
                        .report(id, &by, Outcome::Failed, None, self.now)
                        .ok()
                };
                if let Some((entries, audit)) = nth(n).and_then(report) {
                    self.write(&entries);
                    self.record(&audit);
                }
            }
            Step::Exit(n) => {
                let process = process(1000 + u32::from(n));
                let closed = self.engine.vm_exited(process, self.now);
                self.closed(&closed);
            }
            Step::Beside(n) => self.stopped_beside(n),
            Step::Disarm(n) => self.disarm(n),
            Step::Arm(n) => self.arm(n),
            Step::Restart => self.restart(),
            Step::Reboot(off_s) => {
                self.boots += 1;
                self.wait((off_s + 1) * NS_PER_S);
                self.now.boot_ns = NS_PER_S;
                self.restart();
            }
            Step::Compact => self.compact(),
        }
    }
}
