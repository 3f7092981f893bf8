//! One audit record as one line: time, verdict, VM, what, who, which decision.

use serde_json::Value;
use vmward_core::audit::{
    Actor, ApprovalEvent, ApprovalRecord, AuditBody, DecisionRecord, KernelRecord, KernelVerdict,
    LeaseRecord, OutcomeRecord, ProtectionEvent, ProtectionRecord, Signal, Verdict, VmRecord,
};

use crate::text::{plain, word};

/// Marks a record whose time is that of a recovery.
const AGAIN: &str = " [written again after a crash]";

/// Renders a line of the log. A record of a kind that this version does not
/// know is shown as it stands.
pub(crate) fn line(line: &str) -> String {
    let Ok(record) = serde_json::from_str::<Value>(line) else {
        return format!("NOT A RECORD  {}", plain(line));
    };
    let time = plain(
        record
            .get("time")
            .and_then(Value::as_str)
            .unwrap_or("no time"),
    );
    let (verdict, rest) = serde_json::from_value(record.clone()).map_or_else(
        |_unknown| {
            let kind = record
                .get("kind")
                .and_then(Value::as_str)
                .unwrap_or("no kind");
            (kind.to_uppercase(), line.to_owned())
        },
        |body| describe(&body),
    );
    // All text from outside passes here once.
    format!("{time}  {:<12}  {}", plain(&verdict), plain(&rest))
}

fn describe(body: &AuditBody) -> (String, String) {
    match body {
        AuditBody::Genesis(genesis) => (
            "LOG".to_owned(),
            format!(
                "begins, format {}, vmwardd {}",
                genesis.format, genesis.daemon
            ),
        ),
        AuditBody::Daemon(daemon) => {
            let detail = daemon.detail.as_ref().map(|detail| format!(": {detail}"));
            (
                "DAEMON".to_owned(),
                format!("{}{}", daemon.event, detail.unwrap_or_default()),
            )
        }
        AuditBody::Decision(decision) => decide(decision),
        AuditBody::Denials(denials) => {
            let (verdict, last) = decide(&denials.last);
            (
                verdict,
                format!("{last}  {} calls, the last of them", denials.count),
            )
        }
        AuditBody::Approval(record) => ("APPROVAL".to_owned(), approval(record)),
        AuditBody::Outcome(outcome) => ("OUTCOME".to_owned(), end(outcome)),
        AuditBody::Lease(lease) => ("LEASE".to_owned(), lease_state(lease)),
        AuditBody::Vm(vm) => ("VM".to_owned(), vm_event(vm)),
        AuditBody::Protection(record) => protection(record),
        AuditBody::Kernel(kernel) => judged(kernel),
        AuditBody::Loss(loss) => {
            let text = format!("{} kernel events, {} to {}", loss.count, loss.from, loss.to);
            ("LOST".to_owned(), text)
        }
    }
}

fn decide(record: &DecisionRecord) -> (String, String) {
    let verdict = match record.decision {
        Verdict::Allow => "ALLOWED",
        Verdict::Deny => "DENIED",
        Verdict::Pending => "PENDING",
    };
    let vm = record.vm.as_ref().map_or("-", |vm| &vm.name);
    let effect = record
        .effect
        .map(|effect| format!(" ({})", word(&effect)))
        .unwrap_or_default();
    let caller = &record.caller;
    let mut parts = vec![format!(
        "{vm}  {}{effect}  {}[{}] uid {}",
        record.tool, caller.comm, caller.process.pid, caller.uid
    )];
    if let Some(agent) = &caller.agent {
        parts.push(format!(" for agent {agent:?}"));
    }
    if let Some(reason) = &record.reason {
        parts.push(format!(" because {reason:?}"));
    }
    parts.push(format!(
        "  decision {}: {}",
        record.decision_id, record.message
    ));
    if record.recovered {
        parts.push(AGAIN.to_owned());
    }
    (verdict.to_owned(), parts.concat())
}

fn vector(record: &KernelRecord) -> String {
    match &record.word {
        Some(word) => format!("{} {word}", record.vector),
        None => record.vector.clone(),
    }
}

fn judged(record: &KernelRecord) -> (String, String) {
    let verdict = match record.verdict {
        KernelVerdict::Refused | KernelVerdict::RefusedHostLimit => "REFUSED",
        KernelVerdict::WouldRefuse => "WOULD-REFUSE",
        KernelVerdict::AllowedLease
        | KernelVerdict::AllowedFinishing
        | KernelVerdict::AllowedHostRule => "LET-THROUGH",
        KernelVerdict::Witnessed => "WITNESSED",
    };
    let what = record
        .signal
        .as_ref()
        .map_or_else(|| vector(record), signal);
    let mut parts = vec![format!(
        "{}  {what}  {}",
        record.vm.name,
        who(&record.actor)
    )];
    if let Some(requester) = &record.requester {
        let sure = if requester.sure { "" } else { " (likely)" };
        parts.push(format!("  for {}{sure}", who(&requester.process)));
    }
    if let Some(lease) = record.lease {
        let whose = if record.rode {
            ", not known to be the requester's"
        } else {
            ""
        };
        parts.push(format!("  lease {lease}{whose}"));
    }
    if record.verdict == KernelVerdict::AllowedFinishing {
        parts.push("  the guest had ended already".to_owned());
    }
    if let Some(rule) = &record.host_rule {
        parts.push(match record.verdict {
            KernelVerdict::RefusedHostLimit => format!("  host rule {rule} is used up"),
            _ => format!("  host rule {rule}"),
        });
    }
    if let Some(count) = record.count {
        parts.push(format!("  {count} times"));
    }
    (verdict.to_owned(), parts.concat())
}

fn vm_event(record: &VmRecord) -> String {
    let mut parts = vec![format!(
        "{}  {}  process {}",
        record.vm.name, record.event, record.pid
    )];
    if let Some(cause) = &record.cause {
        parts.push(format!("  cause {cause}"));
    }
    if let Some(by) = &record.signal {
        parts.push(format!("  by {}", signal(by)));
    }
    if let Some(code) = record.exit_code {
        parts.push(format!("  exit status {code}"));
    }
    if let Some(actor) = &record.actor {
        parts.push(format!("  {}", who(actor)));
    }
    if let Some(lease) = record.lease {
        parts.push(format!("  lease {lease}"));
    }
    parts.concat()
}

fn approval(record: &ApprovalRecord) -> String {
    let vm = record
        .vm
        .as_ref()
        .map(|vm| format!("{}  ", vm.name))
        .unwrap_or_default();
    let by = record
        .decided_by
        .as_ref()
        .map(|person| {
            let verb = match record.event {
                ApprovalEvent::Approved | ApprovalEvent::Denied => " by",
                _ => ", decided by",
            };
            format!("{verb} uid {}", person.loginuid.unwrap_or(person.uid))
        })
        .unwrap_or_default();
    let note = record
        .note
        .as_ref()
        .map(|note| format!(": {note}"))
        .unwrap_or_default();
    let again = if record.recovered { AGAIN } else { "" };
    format!(
        "{vm}{} for {}  request {} {}{by}{note}{again}",
        record.tool,
        record.grant,
        record.approval,
        word(&record.event)
    )
}

/// The verdict column says at a glance whether protection is away.
fn protection(record: &ProtectionRecord) -> (String, String) {
    let (verdict, what) = match record.event {
        ProtectionEvent::Disarmed => ("DISARMED", ""),
        ProtectionEvent::StillDisarmed => ("DISARMED", "  still, after a restart of vmwardd"),
        ProtectionEvent::Armed => ("ARMED", ""),
        ProtectionEvent::Expired => ("ARMED", "  at the deadline"),
        ProtectionEvent::Ended => ("ARMED", "  its process ended"),
        ProtectionEvent::Rebooted => ("ARMED", "  the host was started again"),
    };
    let vm = record
        .vm
        .as_ref()
        .map_or("the whole host", |vm| vm.name.as_str());
    let mut parts = vec![format!("{vm}{what}")];
    if let Some(by) = &record.by {
        let uid = by.person.uid;
        parts.push(format!("  {}[{}] uid {uid}", by.comm, by.pid));
        if let Some(login) = by.person.loginuid {
            parts.push(format!(" (logged in as uid {login})"));
        }
    }
    if let Some(until) = &record.until {
        parts.push(format!("  until {until}"));
    }
    if let Some(reason) = &record.reason {
        parts.push(format!("  because {reason:?}"));
    }
    (verdict.to_owned(), parts.concat())
}

fn lease_state(record: &LeaseRecord) -> String {
    let quota = if record.refunded {
        ", quota given back"
    } else {
        ""
    };
    format!(
        "{}  {}{quota}  lease {}",
        record.vm.name,
        word(&record.state),
        record.lease
    )
}

fn end(record: &OutcomeRecord) -> String {
    let detail = record
        .detail
        .as_ref()
        .map(|detail| format!(": {detail}"))
        .unwrap_or_default();
    format!(
        "decision {}: reported {}{detail}",
        record.decision_id,
        word(&record.outcome)
    )
}

fn signal(signal: &Signal) -> String {
    match signal.name.as_str() {
        "" => format!("signal {}", signal.number),
        name => name.to_owned(),
    }
}

/// The process, the person behind it, and how it came to be.
fn who(actor: &Actor) -> String {
    let mut parts = vec![format!("{}[{}] uid {}", actor.comm, actor.tgid, actor.uid)];
    if let Some(login) = actor.loginuid {
        parts.push(format!(" (logged in as uid {login})"));
    }
    if let Some(unit) = &actor.unit {
        parts.push(format!(" in {unit}"));
    }
    for ancestor in &actor.ancestors {
        parts.push(format!(" < {}[{}]", ancestor.comm, ancestor.pid));
    }
    parts.concat()
}

#[cfg(test)]
mod tests;
