//! What is right and worth a second look.

use super::*;

mod effects;
mod idle;
mod names;
mod protected;
mod unreached;

/// The lints of a policy, as place and message. `rest`: members after `default`.
#[track_caller]
fn lints(default: &str, rest: &str) -> Vec<String> {
    let text = format!(r#"{{"version":"1","default":"{default}",{rest}}}"#);
    let policy = accepted(&text);
    let of = |lint: &Lint| {
        let carets = lint.show("p").to_string().matches('^').count();
        let start = lint.0.offset;
        format!("{}: {}", &text[start..start + carets], lint.0.message)
    };
    policy.lints.iter().map(of).collect()
}

fn limit(counter: &str, window: &str, max: u32, scope: &str) -> String {
    format!(r#"{{"counter":"{counter}","window":"{window}","max":{max},"scope":"{scope}"}}"#)
}

#[test]
fn the_seed_has_none() {
    assert!(accepted(SEED).lints.is_empty());
    assert_eq!(accepted(SEED).lints_text("p"), "");
}

#[test]
fn they_are_shown_like_mistakes() {
    let policy = accepted("{\n  \"version\": \"1\",\n  \"default\": \"allow\"\n}");
    assert_eq!(
        policy.lints_text("policy.json"),
        r#"policy.json:3:14: warning: every tool that no rule names is allowed
 3 |   "default": "allow"
   |              ^^^^^^^
   = help: write "default": "deny" and name the tools that agents need"#
    );
}

#[test]
fn a_rule_that_is_recorded_only_is_named() {
    assert_eq!(
        lints("deny", r#""tools":{"vm_list":{"mode":"shadow"}}"#),
        [r#""shadow": /tools/vm_list is recorded only and stops no call"#]
    );
    assert_eq!(
        lints(
            "deny",
            r#""host_rules":{"a":{"uid":1,"effects":"stop","mode":"shadow"}}"#
        ),
        [r#""shadow": /host_rules/a is recorded only and stops no call"#]
    );
}

#[test]
fn a_tool_that_stops_vms_needs_a_limit_somewhere() {
    let unlimited = [r#""vm_pause": "vm_pause" can pause VMs and no limit applies to it"#];
    assert_eq!(lints("deny", r#""tools":{"vm_pause":{}}"#), unlimited);
    let shadow = r#""tools":{"vm_pause":{}},"effects":{"pause":{"mode":"shadow","rate_limit":{"max":1,"window":1}}}"#;
    assert!(lints("deny", shadow).contains(&unlimited[0].to_owned()));
    for enough in [
        r#""tools":{"vm_pause":{"rate_limit":{"max":1,"window":1}}}"#,
        r#""tools":{"vm_pause":{}},"effects":{"pause":{"rate_limit":{"max":1,"window":1}}}"#,
        r#""tools":{"vm_pause":{}},"all_tools":{"rate_limit":{"max":1,"window":1}}"#,
        r#""tools":{"vm_pause":{"action":"require_approval"}}"#,
        r#""tools":{"vm_pause":{"action":"deny"}}"#,
        // A name for the same thing shares its limits.
        r#""tools":{"suspend_vm":{},"vm_pause":{"rate_limit":{"max":1,"window":1}}}"#,
    ] {
        assert_eq!(lints("deny", enough), [""; 0], "{enough}");
    }
    let never = lints(
        "deny",
        r#""tools":{"vm_pause":{}},"effects":{"pause":{"action":"deny"}}"#,
    );
    assert!(!never.contains(&unlimited[0].to_owned()), "{never:?}");
    let recorded = r#""tools":{"vm_pause":{"mode":"shadow","rate_limit":{"max":1,"window":1}}}"#;
    assert!(lints("allow", recorded).contains(&unlimited[0].to_owned()));
    assert_eq!(lints("deny", recorded).len(), 1, "it is recorded only");
    let mapped = r#""effect_map":[{"tool":"turn_off","effect":"stop"}]"#;
    assert_eq!(lints("deny", mapped), [""; 0]);
    assert_eq!(
        lints("allow", mapped)[1..],
        [
            r#"{"tool":"turn_off","effect":"stop"}: "turn_off" can stop VMs and no limit applies to it"#
        ]
    );
    let hidden =
        format!(r#""hide":["turn_off"],"effects":{{"stop":{{"action":"deny"}}}},{mapped}"#);
    assert_eq!(lints("allow", &hidden).len(), 1);
}

#[test]
fn what_is_another_name_for_vm_stop_has_its_limits() {
    let tools = |vm_stop: &str| format!(r#""tools":{{"vm_stop":{vm_stop},"stop_domain":{{}}}}"#);
    let limited = tools(r#"{"rate_limit":{"max":1,"window":1}}"#);
    assert_eq!(lints("deny", &limited), [""; 0]);
    let other =
        r#""stop_domain": "stop_domain" can stop or force_stop VMs and no limit applies to it"#;
    // Only the limits are shared, not what else the rule says.
    let decided = tools(r#"{"action":"deny"}"#);
    assert_eq!(lints("deny", &decided), [other]);
    let shadow = tools(r#"{"mode":"shadow","rate_limit":{"max":1,"window":1}}"#);
    assert!(lints("deny", &shadow).contains(&other.to_owned()));
}

#[test]
fn a_tool_that_could_stop_vms_unseen_is_named() {
    let tool = r#""tools":{"shutdown_rack":{}}"#;
    let denied = lints("deny", tool);
    assert_eq!(denied.len(), 1, "{denied:?}");
    let start = "\"shutdown_rack\": \"shutdown_rack\" is denied although this rule names it: ";
    assert!(denied[0].starts_with(start), "{denied:?}");
    let allowed = lints("allow", tool);
    let start = "\"shutdown_rack\": \"shutdown_rack\" is allowed and could stop a VM unseen: ";
    assert!(allowed[1].starts_with(start), "{allowed:?}");
    for decided in [
        r#""tools":{"shutdown_rack":{"action":"deny"}}"#,
        r#""tools":{"shutdown_rack":{}},"effect_map":[{"tool":"shutdown_rack","effect":"none"}]"#,
        r#""tools":{"list_racks":{}}"#,
    ] {
        assert_eq!(lints("deny", decided), [""; 0], "{decided}");
    }
}

#[test]
fn a_limit_that_a_restart_escapes_is_named_where_no_other_applies() {
    let with = |limits: &[String]| {
        format!(
            r#""effects":{{"stop":{{"limits":[{}]}}}}"#,
            limits.join(",")
        )
    };
    let session = limit("s", "minute", 1, "session");
    let agent = limit("a", "hour", 5, "agent");
    assert_eq!(
        lints("deny", &with(&[session.clone(), agent.clone()])),
        [
            r#""session": a new process is a new session and counts anew"#,
            r#""agent": an agent that gives itself another name counts anew"#,
        ]
    );
    let hard = limit("g", "day", 50, "grant");
    assert_eq!(lints("deny", &with(&[session, agent, hard])), [""; 0]);
    let tool = r#""tools":{"vm_pause":{"rate_limit":{"max":1,"window":1,"scope":"session"}}}"#;
    assert_eq!(
        lints("deny", tool),
        [r#""session": a new process is a new session and counts anew"#]
    );
}

#[test]
fn one_counter_with_two_scopes_is_two_counters() {
    let rest = format!(
        r#""tools":{{"a":{{"limits":[{}]}},"b":{{"limits":[{}]}}}}"#,
        limit("c", "day", 1, "grant"),
        limit("c", "day", 1, "host")
    );
    assert_eq!(
        lints("deny", &rest),
        [
            "\"host\": the counter \"c\" counts each host here and each grant in \
             /tools/a/limits/0: these are two counters"
        ]
    );
}

#[test]
fn a_limit_that_never_binds_is_named() {
    let with =
        |limits: &[String]| format!(r#""tools":{{"t":{{"limits":[{}]}}}}"#, limits.join(","));
    let tight = limit("tight", "hour", 10, "grant");
    let idle = limit("idle", "minute", 10, "grant");
    assert_eq!(
        lints("deny", &with(&[idle.clone(), tight.clone()])),
        [format!(
            "{idle}: the counter \"idle\" never stops a call: /tools/t/limits/1 allows 10 an hour"
        )]
    );
    for useful in [
        limit("less", "minute", 9, "grant"),
        limit("longer", "day", 11, "grant"),
        limit("other", "minute", 10, "vm"),
    ] {
        assert_eq!(lints("deny", &with(&[useful, tight.clone()])), [""; 0]);
    }
    let shared =
        format!(r#""tools":{{"t":{{"limits":[{idle},{tight}]}},"u":{{"limits":[{idle}]}}}}"#);
    assert_eq!(
        lints("deny", &shared),
        [""; 0],
        "what u counts can make it bind"
    );
}

#[test]
fn lints_are_bounded_too() {
    let tools: Vec<String> = (0..500)
        .map(|n| format!(r#""t{n}":{{"mode":"shadow"}}"#))
        .collect();
    let rest = format!(r#""tools":{{{}}}"#, tools.join(","));
    assert_eq!(lints("deny", &rest).len(), ERRORS_MAX);
}

#[test]
fn a_tool_that_is_harmless_but_for_what_was_thought_of_is_named() {
    let off =
        r#"{"tool":"power","when":[{"path":"args.to","op":"eq","value":"off"}],"effect":"stop"}"#;
    let lints =
        |entries: &[&str]| lints("deny", &format!(r#""effect_map":[{}]"#, entries.join(",")));
    let rest = r#"{"tool":"power","effect":"none"}"#;
    let says = "\"power\" stops nothing with arguments that /effect_map/0 does not match, \
                whatever they are";
    assert_eq!(lints(&[off, rest]), [format!("{rest}: {says}")]);
    let on_one = r#"{"server":"s","tool":"power","effect":"none"}"#;
    assert_eq!(lints(&[off, on_one]), [format!("{on_one}: {says}")]);
    let off_elsewhere = off.replacen('{', r#"{"server":"t","#, 1);
    for sure in [
        [
            off,
            r#"{"tool":"power","when":[{"path":"args.to","op":"eq","value":"on"}],"effect":"none"}"#,
        ],
        [off, r#"{"tool":"lamp","effect":"none"}"#],
        [&off_elsewhere, on_one],
        [&off.replace("stop", "none"), rest],
    ] {
        assert_eq!(lints(&sure), [""; 0], "{sure:?}");
    }
}

#[test]
fn a_tool_that_is_denied_while_others_for_the_same_thing_are_not_is_named() {
    let says = |denied: &str| lints("allow", denied)[1..].to_vec();
    let deny = r#""tools":{"vm_stop":{"action":"deny"}}"#;
    let found = says(deny);
    assert_eq!(found.len(), 1, "{found:?}");
    let start =
        "\"vm_stop\": \"vm_stop\" is denied, and other tools that do the same are allowed: ";
    assert!(found[0].starts_with(start), "{found:?}");
    assert!(found[0].contains(" more"), "{found:?}");
    let own = r#""effect_map":[{"tool":"a_switch","effect":"save"}]"#;
    let effects = r#""effects":{"stop":{"action":"deny"},"force_stop":{"action":"deny"}}"#;
    let save = r#""hide":["vm_save"]"#;
    let found = says(&format!("{own},{save}"));
    let named = "the same are allowed: a_switch, ";
    assert!(found.iter().any(|one| one.contains(named)), "{found:?}");
    // One of the two effects is not enough, nor is a rule that only watches.
    let half = r#""effects":{"stop":{"action":"deny"}}"#;
    assert_eq!(says(&format!("{deny},{half}")).len(), 1);
    let shadow = effects.replace(
        r#"{"action":"deny"}"#,
        r#"{"action":"deny","mode":"shadow"}"#,
    );
    let found = says(&format!("{deny},{shadow}"));
    assert!(found.iter().any(|one| one.starts_with(start)), "{found:?}");
    assert_eq!(says(&format!("{deny},{effects}")), [""; 0]);
    assert_eq!(says(r#""tools":{"vm_list":{"action":"deny"}}"#), [""; 0]);
    assert_eq!(lints("deny", deny), [""; 0]);
}

#[test]
fn a_rule_that_another_one_always_denies_before_is_named() {
    let limited = r#"{"rate_limit":{"max":1,"window":1}}"#;
    let never = |rest: &str| lints("deny", rest);
    let both = r#""effects":{"stop":{"action":"deny"},"force_stop":{"action":"deny"}}"#;
    assert_eq!(
        never(&format!(r#""tools":{{"vm_stop":{limited}}},{both}"#)),
        [
            "\"vm_stop\": no call of \"vm_stop\" is ever allowed: /effects/force_stop or \
             /effects/stop denies it"
        ]
    );
    let all = format!(r#""all_tools":{{"action":"deny"}},"tools":{{"vm_stop":{limited}}}"#);
    assert_eq!(
        never(&all),
        [r#"{"action":"deny"}: every call is denied here, whatever the other rules say"#]
    );
    let harmless = r#""effect_map":[
        {"tool":"vm_stop","when":[{"path":"args.dry","op":"eq","value":true}],"effect":"none"}]"#;
    for reached in [
        r#""all_tools":{"action":"deny"}"#.to_owned(),
        // A power cut is denied, a stop is not.
        format!(
            r#""tools":{{"vm_stop":{limited}}},"effects":{{"force_stop":{{"action":"deny"}}}}"#
        ),
        format!(r#""tools":{{"vm_stop":{limited}}},{both},{harmless}"#),
    ] {
        assert_eq!(never(&reached), [""; 0], "{reached}");
    }
}

#[test]
fn a_caller_whom_more_host_rules_name_than_the_kernel_looks_at_is_named() {
    let rules = |count: usize, effect: &str| {
        let one =
            |n| format!(r#""r{n}":{{"uid":7,"effects":"{effect}","vms":[{{"name":"vm-{n}"}}]}}"#);
        let all: Vec<String> = (0..count).map(one).collect();
        lints("deny", &format!(r#""host_rules":{{{}}}"#, all.join(",")))
    };
    assert_eq!(rules(4, "force_stop"), [""; 0]);
    assert_eq!(
        rules(6, "force_stop"),
        [
            "\"r4\": uid 7 is named by more than 4 host rules, and the kernel looks at 4 of those \
             that are about one VM"
        ]
    );
    // Those never come to the kernel.
    assert_eq!(rules(6, "save"), [""; 0]);
}
