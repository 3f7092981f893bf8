//! What is written here is what serde writes.

use proptest::prelude::*;
use vmward_core::audit::{LeaseNote, Verdict, VmRef};
use vmward_core::effect::Effect;
use vmward_core::engine::{ReasonCode, Shadow, Via};
use vmward_core::ids::{DecisionId, VmUuid};
use vmward_core::limit::{Charge, CounterKey};

use super::*;

/// Text with everything that JSON must escape, and much that it need not.
fn string() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9 /:.-]{0,80}",
        "[\\x00-\\x7f]{0,80}",
        any::<String>(),
    ]
}

fn maybe() -> impl Strategy<Value = Option<String>> {
    prop::option::of(string())
}

fn process() -> impl Strategy<Value = Process> {
    any::<(u32, u64)>().prop_map(|(pid, start_ticks)| Process { pid, start_ticks })
}

fn who() -> impl Strategy<Value = CallerRecord> {
    let texts = (string(), string(), maybe(), maybe(), maybe());
    (process(), any::<u32>(), texts).prop_map(|(process, uid, texts)| {
        let (grant, comm, exe, agent, unit) = texts;
        CallerRecord {
            grant,
            process,
            uid,
            comm,
            exe,
            agent,
            unit,
        }
    })
}

fn vm() -> impl Strategy<Value = Option<VmRef>> {
    let uuid = prop::option::of(any::<[u8; 16]>().prop_map(VmUuid::from_bytes));
    prop::option::of((uuid, string()).prop_map(|(uuid, name)| VmRef { uuid, name }))
}

fn lease() -> impl Strategy<Value = Option<LeaseNote>> {
    let note = (process(), any::<i64>()).prop_map(|(holder, deadline_ns)| LeaseNote {
        holder,
        deadline_ns,
    });
    prop::option::of(note)
}

fn shadow() -> impl Strategy<Value = Option<Shadow>> {
    let shadow = (string(), string()).prop_map(|(message, rule)| Shadow {
        reason_code: ReasonCode::RateLimited,
        message,
        rule,
    });
    prop::option::of(shadow)
}

fn charges() -> impl Strategy<Value = Option<Vec<Charge>>> {
    let charge = (string(), string(), 1..3_u32, maybe(), any::<Option<u32>>());
    let charge = charge.prop_map(|(counter, key, cost, maker, window_s)| Charge {
        key: CounterKey { counter, key },
        cost,
        maker,
        window_s,
    });
    prop::option::of(prop::collection::vec(charge, 0..3))
}

fn record() -> impl Strategy<Value = DecisionRecord> {
    let verdict = prop::sample::select(vec![
        (Verdict::Allow, ReasonCode::Allowed, Via::Tool, None),
        (
            Verdict::Deny,
            ReasonCode::DefaultDeny,
            Via::Effect,
            Some(Effect::ForceStop),
        ),
        (
            Verdict::Pending,
            ReasonCode::ApprovalRequired,
            Via::Tool,
            Some(Effect::Stop),
        ),
    ]);
    let texts = prop::array::uniform5(string());
    let maybes = prop::array::uniform4(maybe());
    let flags = any::<[bool; 3]>();
    let ids = (any::<u64>(), prop::option::of(any::<u64>()));
    let parts = (who(), vm(), lease(), shadow(), charges());
    (verdict, texts, maybes, flags, ids, parts).prop_map(
        |(verdict, texts, maybes, flags, ids, parts)| {
            let (decision, reason_code, via, effect) = verdict;
            let [tool, rule, message, policy_hash, args_digest] = texts;
            let [server, arguments, reason, decided] = maybes;
            let [claimed, recovered, journalled] = flags;
            let (caller, vm, lease, shadow, charges) = parts;
            DecisionRecord {
                decision,
                decision_id: DecisionId(ids.0),
                reason_code,
                tool,
                via,
                server,
                arguments,
                effect,
                claimed,
                vm,
                caller,
                rule,
                message,
                reason,
                lease,
                approval: ids.1.map(DecisionId),
                shadow,
                policy_hash,
                args_digest,
                recovered,
                journalled,
                charges,
                decided,
            }
        },
    )
}

proptest! {
    #[test]
    fn it_is_what_serde_writes(record in record()) {
        let body = AuditBody::Decision(Box::new(record));
        let written = String::from_utf8(text(&body)).unwrap();
        prop_assert_eq!(written, String::from_utf8(body.text()).unwrap());
    }
}
