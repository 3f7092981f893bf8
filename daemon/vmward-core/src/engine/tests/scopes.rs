//! Whose counter a call is charged to, how much, and what rules in shadow mode
//! say.

use serde_json::{Value, json};

use super::*;
use crate::{
    journal::{Replay, encode_line},
    limit::{Charge, CounterKey},
};

/// Makes another call of a call.
type Change = fn(&mut Request);

fn engine_of(vm_stop: &Value) -> Engine {
    let text = json!({"version": "1", "default": "deny", "tools": {"vm_stop": vm_stop}});
    Engine::new(policy(&text.to_string()), BOOT)
}

fn one_an_hour(scope: &str) -> Value {
    json!({"limits": [{"counter": "c", "window": "hour", "max": 1, "scope": scope}]})
}

fn counting(n: u8, count: Value) -> Request {
    let arguments = Map::from_iter([("count".to_owned(), count)]);
    Request {
        arguments: Arguments::new(arguments),
        ..stop(n)
    }
}

#[track_caller]
fn charges(answer: &Authorized) -> Vec<Charge> {
    allowed(answer);
    match answer.journal.as_slice() {
        [JournalEntry::Allow(entry)] => entry.charges.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_scope_has_counters_of_its_own() {
    let changes: [(&str, Change); 6] = [
        ("grant", |request| request.caller.grant = "uid:7".to_owned()),
        ("session", |request| request.caller.process = process(501)),
        ("agent", |request| request.caller.agent = None),
        ("uid", |request| request.caller.uid = 7),
        ("vm", |request| request.target = Target::Vm(vm(3))),
        ("tool", |_| {}),
    ];
    for (scope, change) in changes {
        let mut engine = engine_of(&one_an_hour(scope));
        allowed(&engine.authorize(stop(1), at(0)));
        engine.vm_exited(process(1001), at(0));
        let mut same = stop(1);
        if scope != "vm" {
            same.target = Target::Vm(vm(2));
        }
        let answer = engine.authorize(same.clone(), at(1));
        let denial = denied(&answer, ReasonCode::RateLimited);
        if scope == "tool" {
            // Another tool for the same thing meets it, and must be told why.
            let shared = "for all calls of vm_stop and of what does the same; 1 were used";
            assert!(denial.message.contains(shared), "{}", denial.message);
            continue;
        }
        change(&mut same);
        allowed(&engine.authorize(same.clone(), at(1)));
        assert_eq!(engine.limits(at(1)).len(), 2, "{scope}: a row for each key");
    }
}

#[test]
fn a_viewer_is_shown_its_own_counters_and_how_many_others_there_are() {
    // Own ones, or shared ones that name nobody; what others did to a VM is theirs.
    for (scope, own) in [
        ("grant", true),
        ("session", true),
        ("agent", true),
        ("uid", true),
        ("vm", false),
        ("tool", true),
        ("host", true),
    ] {
        let mut engine = engine_of(&one_an_hour(scope));
        let request = stop(1);
        let Caller { grant, uid, .. } = request.caller.clone();
        allowed(&engine.authorize(request, at(0)));
        let seen = |viewer: Option<&Viewer>| {
            let mut keys = Vec::new();
            let hidden = engine.each_limit(at(1), viewer, |row| keys.push(row.key));
            (keys.len(), hidden)
        };
        assert_eq!(seen(None), (1, 0), "{scope}: all of them");
        let own = if own { (1, 0) } else { (0, 1) };
        assert_eq!(seen(Some(&Viewer { grant, uid })), own, "{scope}");
        let stranger = Viewer {
            grant: "uid:7".to_owned(),
            uid: 7,
        };
        let shared = matches!(scope, "tool" | "host");
        let others = if shared { (1, 0) } else { (0, 1) };
        assert_eq!(seen(Some(&stranger)), others, "{scope}: a stranger");
    }
}

#[test]
fn a_name_that_somebody_else_made_up_is_not_shown() {
    let mut engine = engine_of(&one_an_hour("vm"));
    let mut request = stop(1);
    request.target = Target::Unchecked("secret-project".to_owned());
    let grant = request.caller.grant.clone();
    allowed(&engine.authorize(request, at(0)));
    let hidden = |grant: &str| {
        let viewer = Viewer {
            grant: grant.to_owned(),
            uid: 7,
        };
        engine.each_limit(at(1), Some(&viewer), |_| {})
    };
    assert_eq!((hidden(&grant), hidden("ci")), (0, 1));
}

#[test]
fn a_limit_of_the_host_counts_every_caller() {
    let mut engine = engine_of(&one_an_hour("host"));
    let answer = engine.authorize(stop(1), at(0));
    assert_eq!(charges(&answer)[0].key.key, "host:");
    let mut other = stop(2);
    other.caller = caller("uid:7");
    denied(
        &engine.authorize(other.clone(), at(0)),
        ReasonCode::RateLimited,
    );
}

#[test]
fn a_call_counts_what_its_arguments_say() {
    let mut engine = engine_of(
        &json!({"limits": [{"counter": "c", "window": "hour", "max": 10,
        "scope": "grant", "increment_from": "args.count"}]}),
    );
    let answer = engine.authorize(counting(1, json!(7)), at(0));
    assert_eq!(charges(&answer)[0].cost, 7);
    let answer = engine.authorize(counting(2, json!(4)), at(60));
    let denial = denied(&answer, ReasonCode::RateLimited);
    assert_eq!(
        denial.message,
        "vm_stop is limited to 10 an hour for uid:0; 7 were used, this call counts 4 and fits in \
         3540 s"
    );
    let answer = engine.authorize(counting(2, json!(11)), at(60));
    let denial = denied(&answer, ReasonCode::RateLimited);
    assert_eq!(
        (denial.retry_after_ms, &*denial.message),
        (
            None,
            "vm_stop is limited to 10 an hour for uid:0; this call alone counts 11: ask for less"
        )
    );
    for bad in [
        json!(0),
        json!(-1),
        json!(1.5),
        json!("3"),
        json!(1_000_001),
    ] {
        let answer = engine.authorize(counting(2, bad), at(60));
        let denial = denied(&answer, ReasonCode::BadArguments);
        assert_eq!(denial.rule, "/tools/vm_stop/limits/0");
    }
    denied(&engine.authorize(stop(2), at(60)), ReasonCode::BadArguments);
    allowed(&engine.authorize(counting(2, json!(3)), at(60)));
}

#[test]
fn a_counter_that_two_rules_share_is_charged_once_by_the_stricter() {
    let limit =
        |max| json!({"limits": [{"counter": "c", "window": "hour", "max": max, "scope": "grant"}]});
    let text = json!({"version": "1", "default": "deny", "tools": {"vm_stop": limit(3)},
        "effects": {"force_stop": limit(2)}, "all_tools": limit(9)});
    let mut engine = Engine::new(policy(&text.to_string()), BOOT);
    assert_eq!(charges(&engine.authorize(stop(1), at(0))).len(), 1);
    allowed(&engine.authorize(stop(2), at(0)));
    let answer = engine.authorize(stop(3), at(0));
    assert_eq!(
        denied(&answer, ReasonCode::RateLimited).rule,
        "/effects/force_stop/limits/0"
    );
}

#[test]
fn a_rule_in_shadow_mode_changes_nothing_and_says_what_it_would_have_done() {
    let text = json!({"version": "1", "default": "deny", "tools": {"vm_stop": {}},
    "effects": {"force_stop": {"mode": "shadow",
        "limits": [{"counter": "s", "window": "hour", "max": 1, "scope": "grant"}]}},
    "protected": [{"name": "web-3", "mode": "shadow"}]});
    let mut engine = Engine::new(policy(&text.to_string()), BOOT);
    let first = engine.authorize(stop(1), at(0));
    assert_eq!(first.shadow, None);
    let key = CounterKey {
        counter: "s".to_owned(),
        key: "grant:uid:0".to_owned(),
    };
    let charge = Charge {
        key,
        cost: 1,
        maker: None,
        window_s: Some(3600),
    };
    assert_eq!(charges(&first), [charge]);
    assert!(allowed(&first).limits().is_empty(), "nothing binds");

    let second = engine.authorize(stop(2), at(1));
    assert_eq!(charges(&second), [], "no room, no charge");
    let shadow = second.shadow.clone().expect("it would have been denied");
    assert_eq!(
        (shadow.reason_code, &*shadow.rule),
        (ReasonCode::RateLimited, "/effects/force_stop/limits/0")
    );
    let AuditBody::Decision(record) = &second.audit else {
        panic!("{:?}", second.audit)
    };
    assert_eq!(record.shadow.as_ref(), Some(&shadow));

    let third = engine.authorize(stop(3), at(2));
    allowed(&third);
    assert_eq!(
        third.shadow.expect("protected").reason_code,
        ReasonCode::VmProtected
    );
}

#[test]
fn a_limit_in_shadow_mode_that_cannot_be_counted_leaves_the_others_to_be_charged() {
    let limit =
        |counter: &str| json!({"counter": counter, "window": "hour", "max": 9, "scope": "grant"});
    let mut by_count = limit("bad");
    by_count["increment_from"] = json!("args.count");
    let text = json!({"version": "1", "default": "deny", "tools": {"vm_stop": {}},
        "effects": {"force_stop": {"mode": "shadow", "limits": [limit("one"), by_count, limit("two")]}},
        "all_tools": {"mode": "shadow", "limits": [limit("three")]}});
    let mut engine = Engine::new(policy(&text.to_string()), BOOT);
    let answer = engine.authorize(counting(1, json!("many")), at(0));
    let charges = charges(&answer);
    let counters: Vec<&str> = charges.iter().map(|one| &*one.key.counter).collect();
    assert_eq!(counters, ["one", "two", "three"]);
    let shadow = answer.shadow.expect("it would have been denied");
    assert_eq!(
        (shadow.reason_code, &*shadow.rule),
        (ReasonCode::BadArguments, "/effects/force_stop/limits/1")
    );
}

#[test]
fn a_rule_in_shadow_mode_does_not_lift_the_default() {
    let mut engine = engine_of(&json!({"mode": "shadow"}));
    let answer = engine.authorize(stop(1), at(0));
    denied(&answer, ReasonCode::DefaultDeny);
    let shadow = answer.shadow.expect("it would have passed");
    assert_eq!(
        (shadow.reason_code, &*shadow.rule),
        (ReasonCode::Allowed, "/tools/vm_stop")
    );
}

#[test]
fn a_stop_out_of_band_is_charged_for_good_even_where_no_room_is_left() {
    let text = json!({"version": "1", "default": "deny", "tools":
        {"vm_stop": {"limits": [
            {"counter": "g", "window": "hour", "max": 1, "scope": "uid"},
            {"counter": "s", "window": "hour", "max": 1, "scope": "session"}]}},
        "effects": {"force_stop": {"action": "deny", "mode": "shadow"}}});
    let mut engine = Engine::new(policy(&text.to_string()), BOOT);
    let (journal, rows) = engine.charge_out_of_band(
        Effect::ForceStop,
        &vm(1),
        1000,
        "uid:1000".to_owned(),
        at(0),
    );
    let [JournalEntry::OutOfBand { id, charges, .. }] = journal.as_slice() else {
        panic!("{journal:?}")
    };
    assert_eq!(charges.len(), 1, "nobody knows the session");
    assert_eq!((&*rows[0].key, rows[0].remaining), ("uid:1000", 0));
    denied(&engine.authorize(stop(1), at(1)), ReasonCode::RateLimited);
    engine.charge_out_of_band(
        Effect::ForceStop,
        &vm(2),
        1000,
        "uid:1000".to_owned(),
        at(60),
    );
    denied(
        &engine.authorize(stop(1), at(3601)),
        ReasonCode::RateLimited,
    );
    assert!(!engine.limiter.clone().release(*id), "never given back");
    let (journal, rows) =
        engine.charge_out_of_band(Effect::Save, &vm(1), 1000, "uid:1000".to_owned(), at(60));
    assert!(journal.is_empty() && rows.is_empty(), "no limit applies");
}

#[test]
fn a_stop_out_of_band_is_still_counted_after_a_crash() {
    let mut engine = engine_of(&one_an_hour("vm"));
    let mut journal = vec![engine.boot_entry(at(0))];
    let (entries, _) =
        engine.charge_out_of_band(Effect::Stop, &vm(1), 0, "uid:0".to_owned(), at(5));
    journal.extend(entries);
    let lines: Vec<u8> = journal
        .iter()
        .flat_map(|entry| encode_line(entry).expect("JSON"))
        .collect();
    let replay = Replay::read(&lines).expect("intact");
    let mut engine = Engine::restore(engine.policy().clone(), &replay.finish(BOOT, at(6)));
    denied(&engine.authorize(stop(1), at(6)), ReasonCode::RateLimited);
    let next = allowed(&engine.authorize(stop(2), at(6))).id();
    assert_eq!(next, DecisionId(3), "its number is not used again");
}

#[test]
fn a_stop_out_of_band_takes_from_the_grant_that_its_user_has() {
    let mut engine = engine_of(&one_an_hour("grant"));
    let by = "agents".to_owned();
    let (_, rows) = engine.charge_out_of_band(Effect::Stop, &vm(1), 1000, by.clone(), at(0));
    assert_eq!((&*rows[0].key, rows[0].remaining), ("grant:agents", 0));
    let mut call = stop(2);
    call.caller.grant = by;
    denied(
        &engine.authorize(call.clone(), at(1)),
        ReasonCode::RateLimited,
    );
    "other".clone_into(&mut call.caller.grant);
    allowed(&engine.authorize(call.clone(), at(1)));
}
