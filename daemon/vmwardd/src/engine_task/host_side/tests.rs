//! Numbers and names of host rules, and what their uses are charged.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use vmward_core::engine::Engine;
use vmward_core::journal::Replay;
use vmward_core::policy::Policy;

use super::super::batch;
use super::super::tests::{on_full_disk, shell_with};
use super::charge::Charged;
use super::*;
use crate::convert;

const POLICY: &str = r#"{"version": "1", "default": "deny", "tools": {}, "host_rules": {
    "backup": {"unit": "vm-backup.service", "effects": ["pause"], "limits": [
        {"counter": "backups", "window": "hour", "max": 3, "scope": "host"}]}}}"#;

fn resolved(uids: &[u32]) -> Resolved {
    Resolved {
        effects: 2,
        actors: uids.iter().copied().map(Actor::Uid).collect(),
        missing: Vec::new(),
    }
}

fn side(rules: &[(&str, Resolved)]) -> HostSide {
    let mut side = HostSide::default();
    for (name, one) in rules {
        side.resolved.insert((*name).to_owned(), one.clone());
    }
    side
}

#[test]
fn a_rule_keeps_its_number_and_a_user_of_two_rules_has_both() {
    let mut side = side(&[("b", resolved(&[7])), ("c", resolved(&[7, 8]))]);
    assert_eq!(side.number(), Vec::<String>::new());
    let before = side.numbers.clone();
    side.resolved.insert("a".to_owned(), resolved(&[9]));
    assert_eq!(side.number(), Vec::<String>::new());
    for (number, name) in before {
        assert_eq!(side.numbers.get(&number), Some(&name));
    }
    assert_eq!(side.actors().get(&Actor::Uid(7)), Some(&0b011));
    assert_eq!(side.actors().get(&Actor::Uid(9)), Some(&0b100));
    side.resolved.insert("b".to_owned(), resolved(&[]));
    side.number();
    assert_eq!(side.actors().get(&Actor::Uid(7)), Some(&0b010));
}

#[test]
fn more_rules_than_the_kernel_takes_are_told() {
    let names: Vec<String> = (0..70).map(|n| format!("rule-{n:02}")).collect();
    let rules: Vec<(&str, Resolved)> = names
        .iter()
        .map(|name| (name.as_str(), resolved(&[7])))
        .collect();
    let mut side = side(&rules);
    assert_eq!(side.number().len(), 70 - HostMaps::RULES_MAX as usize);
}

#[test]
fn an_event_names_its_rule_also_when_the_policy_no_longer_does() {
    let mut side = HostSide::default();
    side.names.insert(5, "fencing".to_owned());
    assert_eq!(side.name_of(0), None);
    assert_eq!(side.name_of(5).as_deref(), Some("fencing"));
    assert_eq!(side.name_of(10).as_deref(), Some("000000000000000a"));
}

#[test]
fn uses_that_a_full_disk_kept_from_the_journal_are_charged_once_it_takes_them_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut shell = shell_with(dir.path(), POLICY);
    let (full, lines) = on_full_disk(&shell);
    let ledger = Arc::clone(&shell.ledger);
    let mut ledger = batch::lock(&ledger);
    let now = convert::now();
    let mut charge = |uses, charged| {
        let charged = shell.charge("backup", uses, charged, now, &mut ledger);
        (charged, shell.engine.host_rule_room("backup", now))
    };
    let left_in_journal = || {
        let lines = lines.lock().unwrap();
        let replayed = Replay::read(&lines).unwrap().finish("boot", now);
        let engine = Engine::restore(Policy::parse(POLICY, "p").unwrap(), &replayed);
        engine.host_rule_room("backup", now)
    };
    // A restart meanwhile finds them uncharged in the kernel, and charges them.
    let unpaid = |uses| Charged { uses, open: false };
    assert_eq!(charge(3, 0), (unpaid(0), Some(0)));
    assert_eq!(charge(3, 0), (unpaid(0), Some(0)), "not twice");
    assert_eq!(left_in_journal(), Some(3));
    full.store(false, Ordering::Relaxed);
    let paid = Charged {
        uses: 3,
        open: true,
    };
    assert_eq!(charge(3, 0), (paid, Some(0)));
    assert_eq!(left_in_journal(), Some(0));
    assert_eq!(shell.host.uses["backup"], 3);
    drop(ledger);
    let log = std::fs::read_to_string(dir.path().join("audit.jsonl")).unwrap();
    assert_eq!(log.matches("host-rule-charged").count(), 1, "{log}");
}
