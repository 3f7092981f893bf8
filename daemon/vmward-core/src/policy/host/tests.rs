use super::*;
use crate::policy::{Scope, Window, rule::Increment};

fn vm(labels: &BTreeMap<String, String>) -> VmFacts<'_> {
    VmFacts {
        uuid: None,
        name: "web-1",
        labels,
    }
}

#[test]
fn one_of_unit_user_and_program_is_enough() {
    let who = Who {
        units: vec!["a.service".to_owned()],
        uids: vec![64055],
        exes: vec!["/usr/sbin/sanlock".to_owned()],
    };
    let stranger = HostActor {
        unit: Some("b.service"),
        uid: 0,
        exe: None,
    };
    assert!(!who.names(&stranger));
    for actor in [
        HostActor {
            unit: Some("a.service"),
            ..stranger
        },
        HostActor {
            uid: 64055,
            ..stranger
        },
        HostActor {
            exe: Some("/usr/sbin/sanlock"),
            ..stranger
        },
    ] {
        assert!(who.names(&actor), "{actor:?}");
    }
    assert!(!Who::default().names(&HostActor {
        unit: None,
        uid: 0,
        exe: None
    }));
}

#[test]
fn a_rule_covers_its_effects_until_it_is_switched_off() {
    let labels = BTreeMap::new();
    let mut rule = builtin().remove("libvirt-guests").expect("built in");
    assert!(rule.covers(Effect::Pause, &vm(&labels)));
    assert!(rule.covers(Effect::Save, &vm(&labels)));
    assert!(!rule.covers(Effect::Delete, &vm(&labels)));
    for (name, covered) in [("web-*", true), ("db-*", false)] {
        rule.vms = vec![Selector {
            name: Some(name.to_owned()),
            ..Selector::default()
        }];
        assert_eq!(rule.covers(Effect::Save, &vm(&labels)), covered, "{name}");
    }
    rule.vms.clear();
    rule.enabled = false;
    assert!(!rule.covers(Effect::Save, &vm(&labels)));
    assert!(rule.describe().ends_with(" any VM (switched off)"));
}

#[test]
fn a_rule_says_for_which_vms_and_how_often() {
    let mut rule = builtin().remove("libvirt-guests").expect("built in");
    rule.effects = vec![Effect::Save];
    rule.mode = RuleMode::Shadow;
    rule.vms = vec![Selector {
        uuid: None,
        name: Some("web-*".to_owned()),
        labels: BTreeMap::from([("tier".to_owned(), "test".to_owned())]),
    }];
    rule.limits = vec![LimitRule {
        pointer: String::new(),
        counter: "saves".to_owned(),
        window: Window::MINUTE,
        max: 3,
        scope: Scope::Host,
        increment: Increment::Fixed(1),
    }];
    assert_eq!(
        rule.describe(),
        "unit libvirt-guests.service may save VMs with name \"web-*\" and label tier = \
         \"test\", at most 3 a minute on saves for each host (shadow: recorded only)"
    );
}

#[test]
fn the_built_in_rules_say_who_may_do_what_and_why() {
    let shown: Vec<String> = builtin()
        .iter()
        .map(|(name, rule)| {
            assert_eq!(rule.pointer, format!("builtin:{name}"));
            assert!(rule.reason.is_some(), "{name}");
            format!("{name}: {}", rule.describe())
        })
        .collect();
    assert_eq!(
        shown,
        [
            "fencing: program /usr/sbin/sanlock or program /usr/sbin/wdmd or program \
             /usr/lib/libvirt/libvirt_sanlock_helper or program \
             /usr/libexec/libvirt_sanlock_helper or program /usr/sbin/fence_virtd or program \
             /usr/lib/pacemaker/pacemaker-fenced or program \
             /usr/libexec/pacemaker/pacemaker-fenced may stop or force_stop or reset or pause \
             any VM",
            "host-shutdown: unit vmwardd-shutdown.service may stop or force_stop any VM",
            "libvirt-guests: unit libvirt-guests.service may stop or force_stop or save or \
             pause any VM",
        ]
    );
}

#[test]
fn no_built_in_rule_trusts_a_user_or_systemd_as_a_whole() {
    for (name, rule) in builtin() {
        assert!(rule.who.uids.is_empty(), "{name}");
        let deputy = ["init.scope", "systemd.service", "libvirtd.service"];
        let mut units = rule.who.units.iter();
        assert!(!units.any(|unit| deputy.contains(&unit.as_str())), "{name}");
    }
}
