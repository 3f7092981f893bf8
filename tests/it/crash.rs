//! The daemon is killed 500 times under 32 callers at once, at any instant and
//! at every crash point. In the end three accounts are compared: what the
//! callers were told, what the journal charged, and what the audit log has.

mod accounts;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use serde_json::Map;
use vmward_tests::CRASH_STEPS;
use vmward_wire::v1::{AuthorizeParams, Decision, ReasonCode};

use crate::host::Host;
use accounts::{Accounts, Told};

const KILLS: u64 = 500;
const CALLERS: usize = 32;
/// A round lasts up to so many microseconds.
const ROUND_US_MAX: u64 = 30_000;
/// A crash point is reached by the first allow; more than this and it was not.
const CRASH_LIMIT: Duration = Duration::from_secs(10);

/// A tool with a limit of its own. The first two come to their maximum, over
/// many kills and again and again; the last never does.
struct Tool {
    name: &'static str,
    window: &'static str,
    window_ns: i64,
    max: u64,
}

const TOOLS: [Tool; 3] = [
    Tool {
        name: "vm_stop",
        window: "minute",
        window_ns: 60_000_000_000,
        max: 20,
    },
    Tool {
        name: "vm_reboot",
        window: "minute",
        window_ns: 60_000_000_000,
        max: 300,
    },
    Tool {
        name: "vm_pause",
        window: "day",
        window_ns: 86_400_000_000_000,
        max: 1_000_000,
    },
];

fn policy() -> String {
    let rules = TOOLS.map(|tool| {
        let Tool {
            name, window, max, ..
        } = tool;
        format!(
            r#""{name}": {{"limits": [{{"counter": "{name}", "window": "{window}", "max": {max}, "scope": "grant"}}]}}"#
        )
    });
    let rules = rules.join(", ");
    format!(r#"{{"version": "1", "default": "deny", "tools": {{{rules}}}}}"#)
}

/// Calls one tool until the daemon is gone.
fn call(host: &Host, tool: usize, tell: &Sender<Told>, start: Instant) {
    let Some(mut client) = host.client() else {
        return;
    };
    let params = AuthorizeParams {
        tool: Some(TOOLS[tool].name.to_owned()),
        arguments: Map::from_iter([("identifier".to_owned(), "web-1".into())]),
        ..AuthorizeParams::default()
    };
    loop {
        let sent = start.elapsed();
        let Ok(answer) = client.authorize(&params) else {
            return;
        };
        assert!(
            matches!(
                answer.reason_code,
                ReasonCode::Allowed | ReasonCode::RateLimited
            ),
            "{}",
            answer.message
        );
        let told = Told {
            id: answer.decision_id,
            tool,
            allowed: answer.decision == Decision::Allow,
            sent,
            received: start.elapsed(),
        };
        if tell.send(told).is_err() {
            return;
        }
    }
}

/// One start, one kill. At a crash point the daemon ends itself, as SIGKILL
/// would; otherwise it is killed at an instant that `random` chooses.
fn round(host: &mut Host, random: u64, start: Instant) -> Vec<Told> {
    let steps = CRASH_STEPS.len() as u64;
    let step = usize::try_from(random % (2 * steps)).expect("small");
    let step = CRASH_STEPS.get(step).copied();
    let env: Vec<_> = step.iter().map(|at| ("VMWARD_CRASH_AT", *at)).collect();
    host.start_again(&env);
    let mut child = host.take_child();
    let (tell, told) = channel();
    let mut answers = Vec::new();
    let host = &*host;
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let tell = tell.clone();
            scope.spawn(move || call(host, caller % TOOLS.len(), &tell, start));
        }
        drop(tell);
        let lasts = Duration::from_micros(random / 97 % ROUND_US_MAX);
        let limit = step.map_or(lasts, |_| CRASH_LIMIT);
        let all_gone = take(&told, limit, &mut answers);
        assert!(step.is_none() || all_gone, "{step:?} was not reached");
        if step.is_none() {
            child.kill().expect("our own child can be killed");
        }
        child.wait().expect("it is our child");
        answers.extend(told.iter());
    });
    answers
}

/// Takes answers for so long. True when every caller found the daemon gone.
fn take(told: &Receiver<Told>, lasts: Duration, answers: &mut Vec<Told>) -> bool {
    let end = Instant::now() + lasts;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match told.recv_timeout(left) {
            Ok(answer) => answers.push(answer),
            Err(error) => return error == std::sync::mpsc::RecvTimeoutError::Disconnected,
        }
    }
}

/// Numbers that look random and are the same in every run: what differs is the
/// scheduler.
fn next(state: &mut u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *state >> 20
}

#[test]
fn five_hundred_kills_under_32_callers_exceed_no_limit_and_lose_no_decision() {
    let mut host = Host::start_without_libvirt_under(&policy());
    host.kill_9().expect("our own child can be killed");
    let start = Instant::now();
    let mut accounts = Accounts::new(&host.path().join("state/journal.jsonl"));
    let mut random = 1;
    for _ in 0..KILLS {
        let told = round(&mut host, next(&mut random), start);
        accounts.told(told);
        accounts.read_journal();
    }
    host.start_again(&[]);

    let audit = host.audit();
    audit.verify();
    accounts.compare(&audit);
    for (tool, limit) in TOOLS.iter().enumerate() {
        accounts.no_window_held_more(tool, limit.name, limit.window_ns, limit.max);
    }
    // What the daemon itself believes after the last start.
    let limits = &host.vmward_json(&["status"])["limits"];
    let unlimited = TOOLS.last().expect("three tools");
    let row = limits.as_array().into_iter().flatten();
    let left = row
        .filter(|row| row["counter"] == unlimited.name)
        .find_map(|row| row["remaining"].as_u64());
    let charged = accounts.charged(unlimited.name);
    assert_eq!(left, Some(unlimited.max - charged), "{limits:#}");
    accounts.summary(KILLS, start.elapsed());
}
