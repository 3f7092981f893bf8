//! Names that callers make up, and what they do to those who look.

use vmward_core::limit::SHARE_COUNTERS_MAX;
use vmward_wire::client::ANSWER_BYTES_MAX;

use super::*;

#[test]
fn whatever_names_callers_make_up_the_status_is_an_answer_that_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let policy = r#"{"version": "1", "default": "allow", "all_tools": {"limits": [
        {"counter": "each", "window": "day", "max": 5, "scope": "tool"}]}}"#;
    let mut shell = shell_with(dir.path(), policy);
    // As long in UTF-8 as a name can be.
    let tool = |uid: u32, n: usize| format!("{uid}-{n:04}-{}", "\u{1d11e}".repeat(245));
    let accounts = [1000, 1001];
    for uid in accounts {
        for n in 0..SHARE_COUNTERS_MAX {
            let answer = ask(&mut shell, uid, &tool(uid, n)).unwrap();
            assert_eq!(answer.decision, v1::Decision::Allow, "{answer:?}");
        }
    }
    // The last to come are the first to go, unless they are fuller.
    let fullest = tool(1001, SHARE_COUNTERS_MAX - 1);
    ask(&mut shell, 1001, &fullest).unwrap();
    let status = shell.status(None, convert::now());
    let all = accounts.len() * SHARE_COUNTERS_MAX;
    let left_out = status.limits_left_out.unwrap();
    assert_eq!(status.limits.len() as u64 + left_out, all as u64);
    assert!(left_out > 0);
    let told = |limit: &v1::LimitState| limit.key.ends_with(&fullest) && limit.remaining == 3;
    assert!(status.limits.iter().any(told), "the fullest is told");
    let bytes = serde_json::to_vec(&status).unwrap().len();
    assert!(bytes < ANSWER_BYTES_MAX, "{bytes}");
}

#[test]
fn a_name_with_a_control_character_is_refused_by_its_field() {
    let dir = tempfile::tempdir().unwrap();
    let mut shell = shell(dir.path());
    for field in ["tool", "server", "vm", "agent"] {
        for name in ["a\u{1}", "\n", "a\u{7f}b", "\u{85}"] {
            let (message, mut answer) = call_by(1000, "vm_stop");
            let Message::Authorize(mut call) = message else {
                panic!("{message:?}")
            };
            let mut params = serde_json::to_value(&call.params).unwrap();
            params[field] = name.into();
            call.params = serde_json::from_value(params).unwrap();
            shell.step(vec![Message::Authorize(call)]);
            let refused = answer.try_recv().unwrap().unwrap_err();
            assert_eq!(refused.code, ErrorCode::InvalidParams.number());
            let what = format!("`{field}` holds the control character U+");
            assert!(refused.message.starts_with(&what), "{}", refused.message);
        }
    }
}
