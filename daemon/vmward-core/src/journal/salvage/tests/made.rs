//! Entries, records and journals as a daemon makes them.

use super::super::*;
use crate::{
    approval::{Approval, ApprovalState, Binding, Person},
    audit::{AuditBody, CallerRecord, DecisionRecord, Genesis, Verdict, chain::Chain},
    clock::NS_PER_S,
    effect::Effect,
    engine::{ReasonCode, Via},
    ids::{DecisionId, Process, VmUuid},
    journal::{AllowEntry, Replay, ReplayedState, encode_batch},
    lease::{Lease, LeaseState},
    limit::{Charge, CounterKey},
    policy::Policy,
};

const POLICY: &str = r#"{"version": "1", "default": "deny", "tools": {
    "vm_stop": {"limits": [
        {"counter": "stops", "window": "hour", "max": 5, "scope": "grant"},
        {"counter": "units", "window": "hour", "max": 40, "scope": "agent",
         "increment_from": "args.count"}]}}}"#;
const BOOT: &str = "boot";
pub(super) const GRANT: &str = "grant:uid:0";
pub(super) const PROCESS: Process = Process {
    pid: 7,
    start_ticks: 70,
};

pub(super) fn at(seconds: i64) -> Now {
    Now {
        boot_ns: seconds * NS_PER_S,
        wall_ns: (1_795_397_562 + seconds) * NS_PER_S,
    }
}

pub(super) fn boot() -> JournalEntry {
    JournalEntry::Boot {
        boot_id: BOOT.to_owned(),
        at: at(1),
    }
}

pub(super) fn charge(counter: &str) -> Charge {
    Charge {
        key: CounterKey {
            counter: counter.to_owned(),
            key: GRANT.to_owned(),
        },
        cost: 1,
        maker: None,
        window_s: Some(3600),
    }
}

pub(super) fn record(id: u64, charges: Option<Vec<Charge>>) -> DecisionRecord {
    DecisionRecord {
        decision: Verdict::Allow,
        decision_id: DecisionId(id),
        reason_code: ReasonCode::Allowed,
        tool: "vm_stop".to_owned(),
        via: Via::Tool,
        server: None,
        arguments: None,
        effect: Some(Effect::Stop),
        claimed: false,
        vm: None,
        caller: CallerRecord {
            grant: "uid:0".to_owned(),
            process: PROCESS,
            uid: 0,
            comm: "agent".to_owned(),
            exe: None,
            agent: Some("helper".to_owned()),
            unit: None,
        },
        rule: "/tools/vm_stop".to_owned(),
        message: String::new(),
        reason: None,
        lease: None,
        approval: None,
        shadow: None,
        policy_hash: String::new(),
        args_digest: String::new(),
        recovered: false,
        journalled: true,
        charges,
        decided: None,
    }
}

pub(super) fn logged(id: u64) -> AuditBody {
    AuditBody::Decision(Box::new(record(id, Some(vec![charge("stops")]))))
}

pub(super) fn lease(id: u64) -> Lease {
    Lease {
        id: DecisionId(id),
        vm: VmUuid::from_bytes([1; 16]),
        vm_name: "web-1".to_owned(),
        process: PROCESS,
        effect: Effect::Stop,
        holder: PROCESS,
        deadline_ns: at(600).boot_ns,
        state: LeaseState::Granted,
        grant: "uid:0".to_owned(),
        begun: false,
    }
}

pub(super) fn allow(id: u64) -> JournalEntry {
    JournalEntry::Allow(Box::new(AllowEntry {
        id: DecisionId(id),
        at: at(10),
        charges: vec![charge("stops")],
        lease: None,
        approval: None,
        audit: logged(id),
    }))
}

pub(super) fn leased(id: u64) -> JournalEntry {
    JournalEntry::Allow(Box::new(AllowEntry {
        id: DecisionId(id),
        at: at(10),
        charges: vec![charge("stops")],
        lease: Some(lease(id)),
        approval: None,
        audit: logged(id),
    }))
}

pub(super) fn approval(id: u64, state: ApprovalState) -> Approval {
    Approval {
        id: DecisionId(id),
        binding: Binding {
            grant: "uid:0".to_owned(),
            agent: None,
            tool: "vm_stop".to_owned(),
            server: None,
            effect: Some(Effect::Stop),
            vm: None,
            unknown_vm: None,
            process: Some(PROCESS),
            args_digest: String::new(),
            policy_hash: String::new(),
        },
        state,
        requester: person(1000),
        also_asked: Vec::new(),
        vm_name: None,
        arguments: String::new(),
        reason: None,
        agent: None,
        rule: String::new(),
        opened: at(10),
        deadline_ns: at(300).boot_ns,
        decided_by: None,
        note: None,
    }
}

pub(super) fn person(uid: u32) -> Person {
    Person {
        uid,
        loginuid: None,
    }
}

/// The lines of entries, each of which was made durable by itself.
pub(super) fn lines(entries: &[JournalEntry]) -> Vec<Vec<u8>> {
    let numbered = entries.iter().zip(1..);
    let lines = numbered.map(|(entry, n)| encode_batch([entry], n).expect("JSON"));
    lines.collect()
}

/// A log of these records, which were written at second 10 by a daemon that was stopped
/// in order.
pub(super) fn log(bodies: &[AuditBody]) -> Vec<String> {
    let genesis = AuditBody::Genesis(Genesis {
        format: 1,
        daemon: "1".to_owned(),
    });
    let started = AuditBody::daemon("started", None);
    let stopping = AuditBody::daemon("stopping", None);
    let mut chain = Chain::new();
    let all = [genesis, started].into_iter().chain(bodies.iter().cloned());
    let all = all.chain([stopping]);
    all.map(|body| chain.append(&body, BOOT, at(10))).collect()
}

pub(super) fn repaired(journal: &[u8], log: &[String]) -> (ReplayedState, Report) {
    let policy = Policy::parse(POLICY, "policy.json").expect("a policy");
    let mut facts = LogFacts::new(&policy, None);
    for line in log {
        facts.take_line(line, "the log");
    }
    facts.end();
    let here = Situation {
        boot_id: BOOT,
        now: at(60),
        denied_memory_s: 900,
    };
    let salvaged = salvage(journal, &facts, here).expect("a journal");
    let replay = Replay::read(&salvaged.lines).expect("whole");
    (replay.finish(BOOT, at(60)), salvaged.report)
}

pub(super) fn charged(state: &ReplayedState) -> Vec<(u64, &str, u32)> {
    let stamps = state.stamps.iter();
    let stamps = stamps.map(|one| {
        let key = &one.charge.key;
        (one.stamp.id.0, key.counter.as_str(), one.stamp.cost)
    });
    stamps.collect()
}
