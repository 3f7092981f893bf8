//! What is written here is what serde writes.

use proptest::prelude::*;

use super::*;
use crate::{
    rpc::Response,
    v1::{ApprovalRef, Decision, Effect, Lease, ReasonCode, ShadowVerdict, VmRef},
};

/// Text with everything that JSON must escape, and much that it need not.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9 /:.-]{0,80}",
        "[\\x00-\\x7f]{0,80}",
        "\\PC{0,40}",
        any::<String>(),
    ]
}

fn id() -> impl Strategy<Value = Id> {
    prop_oneof![
        any::<i64>().prop_map(Id::Number),
        text().prop_map(Id::String)
    ]
}

fn limit() -> impl Strategy<Value = LimitState> {
    (text(), text(), any::<[u64; 4]>()).prop_map(|(counter, key, numbers)| LimitState {
        counter,
        key,
        window_s: numbers[0],
        max: numbers[1],
        remaining: numbers[2],
        next_free_in_ms: numbers[3],
    })
}

fn lease() -> impl Strategy<Value = Lease> {
    (text(), any::<(u64, u64, u32)>()).prop_map(|(name, (id, expires_in_ms, holder_pid))| Lease {
        id,
        vm: VmRef {
            uuid: name.clone(),
            name,
        },
        effect: Effect::HostReboot,
        expires_in_ms,
        holder_pid,
    })
}

fn shadow() -> impl Strategy<Value = ShadowVerdict> {
    (text(), text()).prop_map(|(message, rule)| ShadowVerdict {
        decision: Decision::Pending,
        reason_code: ReasonCode::ApprovalRequired,
        message,
        rule,
    })
}

fn result() -> impl Strategy<Value = AuthorizeResult> {
    let verdict = prop::sample::select(vec![
        (Decision::Allow, ReasonCode::Allowed),
        (Decision::Deny, ReasonCode::RateLimited),
        (Decision::Deny, ReasonCode::VmNotRunning),
    ]);
    let more = (
        prop::option::of(any::<u64>()),
        prop::option::of(lease()),
        prop::option::of(any::<(u64, u64)>()),
        prop::option::of(shadow()),
    );
    let texts = prop::array::uniform4(text());
    let limits = prop::collection::vec(limit(), 0..4);
    (verdict, any::<u64>(), texts, limits, more).prop_map(
        |((decision, reason_code), decision_id, texts, limits, more)| {
            let [message, rule, args_digest, policy_hash] = texts;
            let (retry_after_ms, lease, approval, shadow) = more;
            AuthorizeResult {
                decision,
                decision_id,
                reason_code,
                message,
                rule,
                limits,
                retry_after_ms,
                lease,
                approval: approval.map(|(id, expires_in_ms)| ApprovalRef { id, expires_in_ms }),
                shadow,
                args_digest,
                policy_hash,
            }
        },
    )
}

proptest! {
    #[test]
    fn it_is_what_serde_writes(id in id(), result in result()) {
        let line = write_answer(&id, &result).unwrap();
        let by_serde = Response::ok_line(&id, &result).unwrap();
        prop_assert_eq!(String::from_utf8(line).unwrap(), String::from_utf8(by_serde).unwrap());
    }
}
