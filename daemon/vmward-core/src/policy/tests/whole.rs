//! The whole language, read from the examples.

use proptest::{collection, prelude::*};

use super::*;
use crate::policy::{
    host::Who,
    hours::{Hours, Zone},
    rule::Increment,
};

macro_rules! example {
    ($name:literal) => {
        include_str!(concat!("../../../tests/data/examples/", $name, ".json"))
    };
}

#[test]
fn the_hosted_form_is_read() {
    let policy = accepted(example!("hosted"));
    assert!(policy.hide.hides("vm_terminate"));
    assert!(!policy.hide.hides("vm_stop"));
    let all = policy.all_tools.as_ref().expect("a rule");
    assert_eq!(all.pointer, "/all_tools");
    assert_eq!(all.limits[0].counter, "calls-per-minute");
    assert_eq!(all.limits[0].pointer, "/all_tools/limits/0");
    let stop = policy.tool("vm_stop").expect("a rule");
    assert_eq!(stop.action, Action::Allow);
    assert_eq!(stop.require[0].pointer, "/tools/vm_stop/require/0");
    assert_eq!(stop.deny_if[0].pointer, "/tools/vm_stop/deny_if/0");
    assert_eq!(stop.deny_if[0].path.text(), "args.force");
    let told = stop.deny_if[0].on_deny.as_deref();
    assert_eq!(
        told,
        Some("A forced stop loses data. Stop the VM without force.")
    );
    let told = stop.on_deny.as_deref();
    assert_eq!(told, Some("Agents may stop web and test VMs only."));
    let create = policy.tool("vm_create").expect("a rule");
    let Increment::From(path) = &create.limits[0].increment else {
        panic!("{create:?}");
    };
    assert_eq!(path.text(), "args.count");
}

#[test]
fn limits_on_effects_have_every_window_scope_and_increment() {
    let policy = accepted(example!("effects"));
    let limits = |effect| {
        let rule = &policy.effects[&effect];
        let of = |limit: &LimitRule| (limit.window.seconds(), limit.scope);
        rule.limits.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(
        limits(Effect::Stop),
        [(60, Scope::Grant), (3600, Scope::Vm), (86_400, Scope::Host)]
    );
    assert_eq!(
        limits(Effect::ForceStop),
        [(1, Scope::Host), (86_400, Scope::Uid)]
    );
    assert_eq!(
        limits(Effect::Migrate),
        [
            (900, Scope::Tool),
            (3600, Scope::Agent),
            (7200, Scope::Session)
        ]
    );
    let forced = &policy.effects[&Effect::ForceStop];
    assert_eq!(forced.limits[1].increment, Increment::Fixed(2));
    assert!(forced.args_schema.is_some());
    assert_eq!(policy.effects[&Effect::Save].action, Action::Deny);
    assert!(!policy.effects.contains_key(&Effect::Pause));
    assert_eq!(policy.limits().count(), 8);
}

#[test]
fn approvals_are_read() {
    let policy = accepted(example!("approvals"));
    let delete = policy.tool("vm_delete").expect("a rule");
    assert_eq!(delete.action, Action::RequireApproval);
    assert_eq!(delete.approval_timeout_s, Some(900));
    assert!(delete.require_reason);
    assert_eq!(delete.deny_if.len(), 2);
}

#[test]
fn protected_vms_deny_unless_they_say_otherwise() {
    let policy = accepted(example!("protected"));
    let [gateway, databases, production, builds] = &policy.protected[..] else {
        panic!("{:?}", policy.protected);
    };
    let uuid = gateway.vms.uuid.map(|uuid| uuid.to_string());
    assert_eq!(
        uuid.as_deref(),
        Some("6695eb01-f6a4-8304-79aa-97f2502e193f")
    );
    assert_eq!(gateway.rule.action, Action::Deny);
    assert!(Effect::ALL.iter().all(|effect| gateway.covers(*effect)));
    assert_eq!(databases.vms.name.as_deref(), Some("db-*"));
    assert!(databases.covers(Effect::Reset) && !databases.covers(Effect::Stop));
    assert_eq!(production.vms.labels["tier"], "prod");
    assert_eq!(production.rule.action, Action::RequireApproval);
    assert!(production.covers(Effect::Stop));
    assert_eq!(builds.rule.action, Action::Allow);
    assert_eq!(builds.rule.pointer, "/protected/3");
    assert_eq!(builds.rule.limits[0].counter, "rate:/protected/3");
    assert_eq!(builds.rule.limits[0].scope, Scope::Vm);
}

#[test]
fn the_effect_map_keeps_its_order() {
    let policy = accepted(example!("effect-map"));
    let of = |entry: &MapEntry| (entry.tool.clone(), entry.effect, entry.when.len());
    let entries: Vec<_> = policy.effect_map.iter().map(of).collect();
    let power = |effect, conditions| ("power".to_owned(), effect, conditions);
    assert_eq!(
        entries,
        [
            power(Some(Effect::ForceStop), 2),
            power(Some(Effect::Stop), 1),
            power(None, 1),
            ("vm_lifecycle".to_owned(), Some(Effect::Pause), 1),
        ]
    );
    let first = &policy.effect_map[0];
    assert_eq!(first.server.as_deref(), Some("our-cloud"));
    assert_eq!(first.when[1].pointer, "/effect_map/0/when/1");
    let vm: Vec<&str> = first.vm.iter().map(predicate::Path::text).collect();
    assert_eq!(vm, ["args.vm", "args.name"]);
}

#[test]
fn hours_and_shadow_are_read() {
    let policy = accepted(example!("hours"));
    let window = |days, from_min, to_min, zone| Hours {
        days,
        from_min,
        to_min,
        zone,
    };
    assert_eq!(
        policy.tool("vm_stop").expect("a rule").hours,
        [
            window(0b001_1111, 9 * 60, 17 * 60 + 30, Zone::Local),
            window(0b010_0000, 22 * 60, 4 * 60, Zone::Offset(120)),
        ]
    );
    let hours = |text: &str| {
        let text =
            format!(r#"{{"version":"1","default":"deny","tools":{{"t":{{"hours":[{text}]}}}}}}"#);
        accepted(&text).tool("t").expect("a rule").hours.clone()
    };
    assert_eq!(
        hours(r#"{"from":"00:00","to":"24:00","zone":"-09:30"}"#),
        [window(0b111_1111, 0, 0, Zone::Offset(-570))]
    );
    let reboot = policy.tool("vm_reboot").expect("a rule");
    assert_eq!(reboot.mode, RuleMode::Shadow);
    assert_eq!(reboot.action, Action::Deny);
}

#[test]
fn the_reason_of_a_denial_may_stand_in_on_deny() {
    let text = r#"{"version":"1","default":"deny","tools":{"t":{"action":"deny","on_deny":"no"}}}"#;
    let policy = accepted(text);
    let rule = policy.tool("t").expect("a rule");
    assert_eq!(
        (rule.reason.as_deref(), rule.on_deny.as_deref()),
        (Some("no"), None)
    );
}

#[test]
fn patterns_and_the_limits_of_a_rule_are_bounded() {
    let with =
        |rule: String| format!(r#"{{"version":"1","default":"deny","tools":{{"t":{{{rule}}}}}}}"#);
    let patterns = |count: usize| {
        let one = |n| format!(r#"{{"path":"args.a","op":"regex","value":"{n}"}}"#);
        let all: Vec<String> = (0..count).map(one).collect();
        with(format!(r#""deny_if":[{}]"#, all.join(",")))
    };
    accepted(&patterns(500));
    let found = messages(&patterns(600));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].ends_with("a policy has at most 500 patterns"));
    let schemas = |count: usize, schema: &str| {
        let one = |n| format!(r#""t{n}":{{"args_schema":{schema}}}"#);
        let all: Vec<String> = (0..count).map(one).collect();
        let tools = all.join(",");
        format!(r#"{{"version":"1","default":"deny","tools":{{{tools}}}}}"#)
    };
    let plain = r#"{"properties":{"a":{"maxLength":3}}}"#;
    accepted(&schemas(500, plain));
    let found = messages(&schemas(600, plain));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].ends_with("a policy has at most 500 \"args_schema\""));
    let three = r#"{"properties":{"a":{"pattern":"x"}},"patternProperties":{"b":{},"c":{}}}"#;
    let found = messages(&schemas(167, three));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].ends_with("a policy has at most 500 patterns"));
    let limits = |count: usize| {
        let one = |n| format!(r#"{{"counter":"c{n}","window":"day","max":1,"scope":"grant"}}"#);
        let all: Vec<String> = (0..count).map(one).collect();
        with(format!(r#""limits":[{}]"#, all.join(",")))
    };
    accepted(&limits(32));
    let found = messages(&limits(40));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].ends_with("a rule has at most 32 limits"));
}

fn builtin() -> BTreeMap<String, HostRule> {
    let rule = HostRule {
        pointer: "builtin:guests".to_owned(),
        enabled: true,
        who: Who {
            units: vec!["guests.service".to_owned()],
            ..Who::default()
        },
        effects: vec![Effect::Stop, Effect::Save],
        vms: Vec::new(),
        limits: Vec::new(),
        mode: RuleMode::Enforce,
        reason: Some("The host shuts down".to_owned()),
    };
    BTreeMap::from([("guests".to_owned(), rule)])
}

fn host_rules(rules: &str) -> Result<Policy, PolicyErrors> {
    let text = format!(r#"{{"version":"1","default":"deny","host_rules":{{{rules}}}}}"#);
    parse::parse(&text, "p", builtin())
}

#[test]
fn host_rules_are_read() {
    let policy = accepted(example!("host-rules"));
    let backup = &policy.host_rules["backup"];
    assert_eq!(backup.pointer, "/host_rules/backup");
    assert_eq!(backup.who.units, ["vm-backup.service"]);
    assert_eq!(backup.effects, [Effect::Pause, Effect::Save]);
    assert_eq!(backup.limits[0].counter, "backups");
    let operators = &policy.host_rules["operators"];
    assert_eq!(operators.who.uids, [1000, 1001]);
    assert_eq!(operators.effects, Effect::ALL);
    assert_eq!(operators.vms.len(), 2);
    let watchdog = &policy.host_rules["watchdog"];
    assert_eq!(watchdog.who.exes.len(), 2);
    assert_eq!(watchdog.mode, RuleMode::Shadow);
    for name in host::builtin().keys() {
        assert!(policy.host_rules.contains_key(name), "{name}");
    }
}

#[test]
fn a_rule_of_a_built_in_name_changes_only_what_it_says() {
    let untouched = host_rules("").expect("no mistake");
    assert_eq!(untouched.host_rules, builtin());
    let changed = host_rules(r#""guests":{"effects":"save"}"#).expect("no mistake");
    let mut expected = builtin()["guests"].clone();
    expected.pointer = "/host_rules/guests".to_owned();
    expected.effects = vec![Effect::Save];
    assert_eq!(changed.host_rules["guests"], expected);
    let off = host_rules(r#""guests":{"enabled":false}"#).expect("no mistake");
    assert!(!off.host_rules["guests"].enabled);
}

#[test]
fn a_host_rule_that_repeats_a_built_in_one_is_refused() {
    let same = r#""mine":{"unit":"guests.service","effects":["save","stop"]}"#;
    let errors = host_rules(same).expect_err("a mistake");
    assert_eq!(
        errors.errors()[0].message,
        "the host rule \"mine\" is never reached: \"guests\" is for the same callers, effects and VMs"
    );
    let instead = format!(r#"{same},"guests":{{"enabled":false}}"#);
    host_rules(&instead).expect("the built-in one is off");
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in collection::vec(any::<u8>(), 0..200)) {
        let text = String::from_utf8_lossy(&bytes);
        prop_assert!(Policy::parse(&text, "p").is_err());
    }

    /// What a careless editor leaves behind: parts of the examples in another
    /// place. Whatever the parser takes of it, the schema takes too.
    #[test]
    fn the_schema_accepts_what_the_parser_accepts(
        which in 0..EXAMPLES.len(),
        (from, length) in (0..4000_usize, 0..40_usize),
        to in 0..4000_usize,
        replaced in 0..40_usize,
    ) {
        let text: Vec<char> = EXAMPLES[which].chars().collect();
        let piece = text.iter().skip(from % text.len()).take(length);
        let to = to % text.len();
        let changed: String = text[..to]
            .iter()
            .chain(piece)
            .chain(text[to..].iter().skip(replaced))
            .collect();
        match Policy::parse(&changed, "p") {
            Ok(_) => prop_assert!(schema::mistakes(&changed).is_empty(), "{}", changed),
            Err(errors) => prop_assert!(errors.to_string().contains('^'), "{}", errors),
        }
    }
}

const EXAMPLES: [&str; 9] = [
    SEED,
    example!("faq"),
    example!("hosted"),
    example!("effects"),
    example!("approvals"),
    example!("protected"),
    example!("host-rules"),
    example!("effect-map"),
    example!("hours"),
];

#[test]
fn bytes_that_are_no_text_are_shown_in_their_place() {
    let bytes = b"{\n  \"version\": \"1\",\n  \"d\xc3\xa4\xff\": 1\n}";
    let errors = Policy::parse_bytes(bytes, "p").unwrap_err();
    let shown = errors.to_string();
    assert!(
        shown.starts_with("p:3:6: the text is not UTF-8 here\n"),
        "{shown}"
    );
    assert!(shown.contains("\n   |      ^\n"), "{shown}");
    let good = Policy::parse_bytes(SEED.as_bytes(), "p").unwrap();
    assert_eq!(good.hash(), accepted(SEED).hash());
}
