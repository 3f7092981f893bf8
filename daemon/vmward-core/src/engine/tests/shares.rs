//! What one account can take of the limiter, as callers and restarts see it.

use serde_json::json;

use super::*;
use crate::{
    journal::{Replay, encode_line},
    limit::SHARE_COUNTERS_MAX,
};

/// Limits by the caller's own words beside one that is not.
const POLICY: &str = r#"{"version": "1", "default": "deny", "tools": {
    "note": {"limits": [{"counter": "n", "window": "day", "max": 5, "scope": "agent"}]},
    "look": {"limits": [{"counter": "l", "window": "day", "max": 5, "scope": "vm"}]},
    "vm_stop": {"limits": [{"counter": "s", "window": "minute", "max": 2, "scope": "grant"}]}
}}"#;

/// The nth call under a name that nobody used before.
fn made_up(tool: &str, n: usize) -> Request {
    let target = match tool {
        "look" => Target::Unchecked(format!("w{n}")),
        _ => Target::None,
    };
    let mut request = request(tool, None, target);
    request.caller = caller("uid:1001");
    request.caller.agent = Some(format!("a{n}"));
    request
}

/// Everything that an engine wrote down while one account used up its share.
fn flooded(tool: &str) -> (Engine, Vec<JournalEntry>) {
    let mut engine = Engine::new(policy(POLICY), BOOT);
    let mut journal = vec![engine.boot_entry(at(0))];
    for n in 0..SHARE_COUNTERS_MAX {
        let answer = engine.authorize(made_up(tool, n), at(0));
        allowed(&answer);
        journal.extend(answer.journal);
    }
    (engine, journal)
}

#[track_caller]
fn denies_one_account_alone(engine: &mut Engine, tool: &str) {
    let refused = engine.authorize(made_up(tool, 9_999), at(10));
    let denial = denied(&refused, ReasonCode::Unavailable);
    assert_eq!(denial.rule, format!("/tools/{tool}/limits/0"));
    assert_eq!(denial.retry_after_ms, Some(86_390_000));
    assert!(denial.message.contains("its share"), "{}", denial.message);
    assert_eq!(engine.limiter_load(at(10)).short, ["uid:1001"]);
    // The same under a name that it had before, and somebody else under any name.
    allowed(&engine.authorize(made_up(tool, 0), at(10)));
    let mut other = made_up(tool, 9_999);
    other.caller = caller("uid:1002");
    allowed(&engine.authorize(other.clone(), at(10)));
    allowed(&engine.authorize(stop(1), at(10)));
}

fn restarted(journal: &[JournalEntry]) -> Engine {
    let lines = journal.iter().flat_map(|entry| encode_line(entry).unwrap());
    let replay = Replay::read(&lines.collect::<Vec<u8>>()).expect("intact");
    Engine::restore(policy(POLICY), &replay.finish(BOOT, at(5)))
}

#[test]
fn whoever_makes_up_names_without_end_is_denied_alone() {
    for tool in ["note", "look"] {
        let (mut engine, journal) = flooded(tool);
        denies_one_account_alone(&mut engine.clone(), tool);
        denies_one_account_alone(&mut restarted(&journal), tool);
        // And after the journal was compacted.
        let compacted = engine.snapshot(at(1));
        denies_one_account_alone(&mut restarted(&compacted), tool);
        engine.set_policy(policy(POLICY));
        denies_one_account_alone(&mut engine, tool);
    }
}

#[test]
fn a_vm_that_is_there_is_no_name_that_somebody_made_up() {
    let mut engine = Engine::new(policy(POLICY), BOOT);
    let answer = engine.authorize(request("look", None, Target::Vm(vm(1))), at(0));
    let [JournalEntry::Allow(entry)] = answer.journal.as_slice() else {
        panic!("{:?}", answer.journal)
    };
    assert_eq!(entry.charges[0].maker, None);
    let answer = engine.authorize(made_up("look", 1), at(0));
    let line = json!(answer.journal);
    assert_eq!(line[0]["charges"][0]["maker"], "uid:1001", "{line}");
}
