//! The host's own lease: to restart it while VMs run.

use super::*;
use crate::{
    journal::{Replay, encode_line},
    lease::KernelLease,
};

/// Allows VMs' stops and, once an hour, the host's restart.
const POLICY: &str = r#"{
    "version": "1", "default": "deny",
    "tools": {"vm_stop": {}},
    "effects": {"host_reboot": {
        "limits": [{"counter": "restarts", "window": "hour", "max": 1, "scope": "host"}]
    }}
}"#;

/// A person asks by the effect alone.
fn reboot() -> Request {
    Request {
        via: Via::Effect,
        mapped: Mapped::Harmless { vm: None },
        ..request(
            "host_reboot",
            Some(Effect::HostReboot),
            Target::Vm(VmTarget::host(true)),
        )
    }
}

#[test]
fn the_seed_s_policy_denies_it() {
    let answer = engine().authorize(reboot(), at(0));
    denied(&answer, ReasonCode::DefaultDeny);
}

#[test]
fn a_rule_gives_the_host_s_lease_to_its_holder_as_often_as_the_limit_says() {
    let mut engine = Engine::new(policy(POLICY), BOOT);
    let answer = engine.authorize(reboot(), at(0));
    allowed(&answer);
    let lease = answer.lease.expect("a lease");
    assert_eq!(lease.vm, VmUuid::HOST);
    assert_eq!(lease.process, Process::HOST);
    assert_eq!(lease.effect, Effect::HostReboot);
    assert_eq!(lease.holder, process(500));
    assert_eq!(lease.deadline_ns, 60 * NS_PER_S);
    assert_eq!(answer.journal.len(), 1, "on disk before the kernel has it");
    let again = engine.authorize(reboot(), at(1));
    denied(&again, ReasonCode::LeaseBusy);
}

#[test]
fn one_that_nobody_used_is_given_back_and_one_that_was_used_is_not() {
    for (kernel, next) in [
        (KernelLease::Granted, true),
        (KernelLease::Executing, false),
    ] {
        let mut engine = Engine::new(policy(POLICY), BOOT);
        let lease = engine.authorize(reboot(), at(0)).lease.expect("a lease");
        if kernel == KernelLease::Executing {
            drop(engine.lease_claimed(lease.id, at(5)));
        }
        drop(engine.close(lease.id, kernel, true, at(90)));
        let again = engine.authorize(reboot(), at(91)).lease;
        assert_eq!(again.is_some(), next, "{kernel:?}");
    }
}

/// The limit has room again after so many seconds?
fn has_room(engine: &mut Engine, seconds: i64) -> bool {
    engine.authorize(reboot(), at(seconds)).lease.is_some()
}

#[test]
fn its_charge_goes_back_at_its_deadline_and_not_where_the_caller_said_that_it_had_begun() {
    for (outcome, refunded) in [
        (Outcome::NotAttempted, true),
        (Outcome::Failed, false),
        (Outcome::Unknown, false),
    ] {
        let mut engine = Engine::new(policy(POLICY), BOOT);
        let lease = engine.authorize(reboot(), at(0)).lease.expect("a lease");
        let by = caller("uid:0");
        drop(engine.report(lease.id, &by, outcome, None, at(1)));
        drop(engine.release(lease.id, &by, at(1)));
        assert!(!has_room(&mut engine, 59), "not before its deadline");
        assert_eq!(engine.due(at(60)), [lease.id]);
        drop(engine.close(lease.id, KernelLease::Missing, true, at(60)));
        assert_eq!(has_room(&mut engine, 61), refunded, "{outcome:?}");
    }
}

#[test]
fn a_host_that_restarted_meanwhile_has_used_it() {
    let mut engine = Engine::new(policy(POLICY), BOOT);
    let mut journal = vec![engine.boot_entry(at(0))];
    journal.extend(engine.authorize(reboot(), at(1)).journal);
    let next = Now {
        boot_ns: 30 * NS_PER_S,
        ..at(90)
    };
    journal.push(Engine::new(policy(POLICY), "boot-two").boot_entry(next));
    let lines = journal.iter().flat_map(|entry| encode_line(entry).unwrap());
    let replay = Replay::read(&lines.collect::<Vec<u8>>()).expect("intact");
    let state = replay.finish("boot-two", next);
    let mut engine = Engine::restore(policy(POLICY), &state);
    let later = Now {
        boot_ns: 600 * NS_PER_S,
        ..at(660)
    };
    denied(&engine.authorize(reboot(), later), ReasonCode::RateLimited);
}

#[test]
fn the_host_s_lease_leaves_the_vms_theirs() {
    let mut engine = Engine::new(policy(POLICY), BOOT);
    assert!(engine.authorize(reboot(), at(0)).lease.is_some());
    assert!(engine.authorize(stop(1), at(0)).lease.is_some());
}

#[test]
fn no_vm_is_restarted_as_a_host_and_no_host_stopped_as_a_vm() {
    let mut engine = Engine::new(policy(r#"{"version": "1", "default": "allow"}"#), BOOT);
    for target in [Target::Vm(vm(1)), Target::Unchecked("web-1".to_owned())] {
        let call = Request { target, ..reboot() };
        denied(
            &engine.authorize(call.clone(), at(0)),
            ReasonCode::VmUnknown,
        );
    }
    let target = Target::Vm(VmTarget::host(true));
    let call = Request { target, ..stop(1) };
    denied(
        &engine.authorize(call.clone(), at(0)),
        ReasonCode::VmUnknown,
    );
}

#[test]
fn a_protected_vm_is_protected_from_the_end_of_its_host() {
    let text = r#"{
        "version": "1", "default": "allow",
        "protected": [{"name": "db-1", "effects": ["force_stop"]}]
    }"#;
    let mut engine = Engine::new(policy(text), BOOT);
    let answer = engine.authorize(reboot(), at(0));
    denied(&answer, ReasonCode::VmProtected);
    let text = text.replace("force_stop", "pause");
    let mut engine = Engine::new(policy(&text), BOOT);
    allowed(&engine.authorize(reboot(), at(0)));
}
