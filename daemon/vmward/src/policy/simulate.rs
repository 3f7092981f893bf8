//! `vmward policy simulate`: what another policy would have said.
//!
//! Each decision of the log is put before an engine with the new policy, at the
//! time at which it was made. What the log does not hold cannot be replayed:
//! labels of VMs, and arguments that were too long to be kept; calls whose
//! arguments are missing are judged without them and counted. Of leases only
//! the refunds are replayed, so a call that was only refused because a lease was
//! live, or because the VM was unknown or off, is left out, and so are
//! denied calls that share a record. What people said to requests for approval,
//! they say again, at the time at which they said it; what holds for requests is
//! what `vmward.toml` says now.

mod report;

use std::{collections::BTreeMap, ops::ControlFlow, path::Path, process::ExitCode};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use vmward_core::{
    approval::Person,
    audit::{ApprovalEvent, ApprovalRecord, AuditBody, DecisionRecord, LeaseRecord, Verdict},
    clock::{self, Now},
    engine::{Authorized, Decision, Engine, ReasonCode, Request, Via},
    ids::DecisionId,
    policy::Policy,
};

use super::case::{Call, FullVm, Vm, Who, instant};
use crate::{
    audit::{chain::Continuity, files},
    text::word,
};

/// A line of the log, as far as it matters here.
#[derive(Deserialize)]
struct Line {
    time: String,
    #[serde(flatten)]
    body: AuditBody,
}

/// Decisions that would change in the same way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Change {
    tool: String,
    effect: Option<String>,
    grant: String,
    was: String,
    would_be: String,
    rule: String,
}

/// How often, and the first of them.
#[derive(Debug, Serialize)]
struct Found {
    calls: u64,
    first_decision: u64,
    first_time: String,
    message: String,
}

#[derive(Debug, Default)]
struct Outcome {
    replayed: u64,
    changed: u64,
    left_out: u64,
    without_arguments: u64,
    without_labels: bool,
    /// The log's last line is not whole, and was left out.
    incomplete: bool,
    /// Why the log is not what the daemon wrote: the first place, and what is
    /// wrong there.
    damaged: Option<String>,
    changes: BTreeMap<Change, Found>,
}

/// The engine, and what it calls that which the log has numbers for.
struct Replay {
    engine: Engine,
    /// What stands here for decisions of the log whose quota may go back.
    leased: BTreeMap<DecisionId, DecisionId>,
    /// What stands here for requests for approval of the log.
    asked: BTreeMap<DecisionId, DecisionId>,
}

/// `engine`: with the policy to try, and nothing charged.
pub(super) fn simulate(
    engine: Engine,
    log: &Path,
    since: Option<&str>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let since_ns = match since {
        Some(text) => clock::parse_rfc3339(text).with_context(|| {
            format!("{text:?} is no instant; one looks like 2026-11-23T09:30:00Z")
        })?,
        None => i64::MIN,
    };
    let mut replay = Replay {
        engine,
        leased: BTreeMap::new(),
        asked: BTreeMap::new(),
    };
    let (mut before, mut outcome) = (Outcome::default(), Outcome::default());
    let cannot_read = |_: &Path| format!("Failed to read {}", log.display());
    let (mut chain, mut damaged) = (Continuity::default(), None);
    let read = files::each_line(log, cannot_read, |path, number, line| {
        if damaged.is_none()
            && let Err(why) = chain.check(path, line)
        {
            damaged = Some(format!("{}:{number}: {why}", path.display()));
        }
        let place = || format!("{}:{number} is no audit record", path.display());
        let line: Line = serde_json::from_slice(line).with_context(place)?;
        // One that a crash kept from the log is there with a later time than its own.
        let time = match &line.body {
            AuditBody::Decision(record) => record.decided.as_ref().unwrap_or(&line.time),
            _ => &line.time,
        };
        let at_ns = clock::parse_rfc3339(time).with_context(place)?;
        // What was before has filled counters and asked people: it is replayed
        // like the rest, and not told.
        let outcome = if at_ns < since_ns {
            &mut before
        } else {
            &mut outcome
        };
        match &line.body {
            AuditBody::Decision(record) => replay.decision(record, at_ns, time, outcome),
            AuditBody::Denials(record) => outcome.left_out += record.count,
            AuditBody::Lease(record) => replay.refund(record),
            AuditBody::Approval(record) => replay.decided(record, at_ns),
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    })?;
    outcome.incomplete = read.incomplete;
    let end = || chain.end().map(|(file, why)| format!("{file}:1: {why}"));
    outcome.damaged = damaged.or_else(end);
    outcome.without_labels = asks_for_labels(replay.engine.policy());
    report::report(&outcome, json)
}

impl Replay {
    fn decision(&mut self, record: &DecisionRecord, at_ns: i64, time: &str, outcome: &mut Outcome) {
        let of_the_moment = matches!(
            record.reason_code,
            ReasonCode::LeaseBusy
                | ReasonCode::VmUnknown
                | ReasonCode::VmNotRunning
                | ReasonCode::Unavailable
        );
        let now = instant(at_ns);
        let Ok(request) = call(record).request(&self.engine, now) else {
            outcome.left_out += 1;
            return;
        };
        if of_the_moment {
            outcome.left_out += 1;
            return;
        }
        outcome.replayed += 1;
        if record.arguments.is_none() && record.via == Via::Tool {
            outcome.without_arguments += 1;
        }
        let answer = self.answer(record, &request, now);
        let was = verdict(record.decision, record.reason_code);
        let (would_be, rule, message) = would_be(&answer);
        if was == would_be {
            return;
        }
        outcome.changed += 1;
        let change = Change {
            tool: record.tool.clone(),
            effect: record.effect.map(|effect| effect.name().to_owned()),
            grant: record.caller.grant.clone(),
            was,
            would_be,
            rule,
        };
        let found = outcome.changes.entry(change).or_insert_with(|| Found {
            calls: 0,
            first_decision: record.decision_id.0,
            first_time: time.to_owned(),
            message,
        });
        found.calls += 1;
    }

    fn answer(&mut self, record: &DecisionRecord, request: &Request, now: Now) -> Authorized {
        // What it returns is for a journal and a log, and there are none.
        drop(self.engine.expire_approvals(now));
        let answer = self.engine.authorize(request.clone(), now);
        if let (Decision::Pending(pending), Some(asked)) = (&answer.decision, record.approval) {
            self.asked.insert(asked, pending.approval);
        }
        let answer = self.as_people_decided(record, request, answer, now);
        if let (Decision::Allow(permit), true) = (&answer.decision, record.lease.is_some()) {
            self.leased.insert(record.decision_id, permit.id());
        }
        answer
    }

    /// A person decided, whether or not the call ever came again.
    fn decided(&mut self, record: &ApprovalRecord, at_ns: i64) {
        let yes = match record.event {
            ApprovalEvent::Approved => true,
            ApprovalEvent::Denied => false,
            ApprovalEvent::Opened | ApprovalEvent::Used | ApprovalEvent::Expired => return,
        };
        if let Some(asked) = self.asked.get(&record.approval) {
            let (note, now) = (record.note.clone(), instant(at_ns));
            // Where its time is over here, it is as if nobody had said anything.
            drop(
                self.engine
                    .decide_approval(*asked, somebody(), yes, note, now),
            );
        }
    }

    /// Where a person decided about the call then, the same holds now, also where
    /// the request for approval was opened at another time.
    fn as_people_decided(
        &mut self,
        record: &DecisionRecord,
        request: &Request,
        answer: Authorized,
        now: Now,
    ) -> Authorized {
        let yes = match (record.decision, record.reason_code) {
            (Verdict::Allow, _) if record.approval.is_some() => true,
            (Verdict::Deny, ReasonCode::ApprovalDenied) => false,
            _ => return answer,
        };
        let Decision::Pending(pending) = &answer.decision else {
            return answer;
        };
        let by = somebody();
        match self
            .engine
            .decide_approval(pending.approval, by, yes, None, now)
        {
            Ok(_) => self.engine.authorize(request.clone(), now),
            Err(_) => answer,
        }
    }

    /// A lease ended unused, and its quota went back.
    fn refund(&mut self, record: &LeaseRecord) {
        let id = self.leased.remove(&record.lease);
        if let Some(id) = id.filter(|_| record.refunded) {
            self.engine.undo(id);
        }
    }
}

/// Never the one who asks.
fn somebody() -> Person {
    Person {
        uid: u32::MAX - 1,
        loginuid: None,
    }
}

/// Does the policy ask about what the log does not have?
fn asks_for_labels(policy: &Policy) -> bool {
    let mut selectors = policy.protected.iter().map(|entry| &entry.vms);
    let mut conditions = policy
        .rules()
        .flat_map(|rule| rule.require.iter().chain(&rule.deny_if));
    let of_labels = |text: &str| text.starts_with("vm.labels.") || text.starts_with("/vm/labels/");
    selectors.any(|selector| !selector.labels.is_empty())
        || conditions.any(|condition| of_labels(condition.path.text()))
}

fn call(record: &DecisionRecord) -> Call {
    let arguments = record
        .arguments
        .as_deref()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    Call {
        tool: (record.via == Via::Tool).then(|| record.tool.clone()),
        arguments,
        server: record.server.clone(),
        // What the effect map said then, it must say again.
        effect: record
            .effect
            .filter(|_| record.via == Via::Effect || record.claimed || record.arguments.is_none()),
        vm: record.vm.as_ref().map(|vm| {
            Vm::Full(FullVm {
                name: vm.name.clone(),
                uuid: vm.uuid,
                labels: BTreeMap::new(),
                running: true,
            })
        }),
        who: Who {
            grant: Some(record.caller.grant.clone()),
            uid: record.caller.uid,
            unit: record.caller.unit.clone(),
            exe: record.caller.exe.clone(),
            agent: record.caller.agent.clone(),
            pid: Some(record.caller.process.pid),
        },
        reason: record.reason.clone(),
    }
}

/// Decision and reason in two words.
fn verdict(decision: Verdict, reason: ReasonCode) -> String {
    match decision {
        Verdict::Allow => "allow".to_owned(),
        Verdict::Deny => format!("deny ({})", word(&reason)),
        Verdict::Pending => "pending".to_owned(),
    }
}

fn would_be(answer: &Authorized) -> (String, String, String) {
    match &answer.decision {
        Decision::Allow(permit) => (
            verdict(Verdict::Allow, ReasonCode::Allowed),
            permit.rule().to_owned(),
            permit.message().to_owned(),
        ),
        Decision::Deny(denial) => (
            verdict(Verdict::Deny, denial.reason),
            denial.rule.clone(),
            denial.message.clone(),
        ),
        Decision::Pending(pending) => (
            verdict(Verdict::Pending, ReasonCode::ApprovalRequired),
            pending.rule.clone(),
            pending.message.clone(),
        ),
    }
}
