//! When `hours` open by a clock that is put forward before then.

use super::*;
use crate::clock::OffsetChange;

const POLICY: &str = r#"{"version": "1", "default": "deny", "tools": {"vm_stop": {"hours":
    [{"from": "09:00", "to": "17:30", "zone": "local"}]}}}"#;

#[test]
fn the_answer_says_when_they_begin_by_the_clock_of_that_time() {
    let mut engine = Engine::new(policy(POLICY), BOOT);
    // 0 s is Monday 01:32:42 UTC. In an hour it is 04:32:42 here, not 03:32:42.
    let request = Request {
        local: LocalTime {
            offset_s: 3600,
            next: Some(OffsetChange {
                at_ns: at(3600).wall_ns,
                offset_s: 7200,
            }),
        },
        ..stop(1)
    };
    let answer = engine.authorize(request.clone(), at(0));
    let denial = denied(&answer, ReasonCode::OutsideHours);
    assert_eq!(
        denial.message,
        "vm_stop is allowed only mon-sun 09:00-17:30 local; that begins at 2026-11-23T07:00:00.000Z"
    );
    let wait_s = 7 * 3600 - (3600 + 32 * 60 + 42);
    assert_eq!(denial.retry_after_ms, Some(wait_s * 1000));
    // Whoever waits that long comes neither too early nor too late.
    let wait_s = i64::try_from(wait_s).expect("seconds");
    denied(
        &engine.authorize(request.clone(), at(wait_s - 1)),
        ReasonCode::OutsideHours,
    );
    allowed(&engine.authorize(request.clone(), at(wait_s)));
}
