//! Conditions against arguments: any policy that loads judges any call without
//! a panic, and says the same twice.

use serde_json::{Map, Value};
use vmward_core::{
    clock::{LocalTime, Now},
    digest::Arguments,
    effect::Effect,
    engine::{Caller, Decision, Engine, Request, Target, Via, VmTarget},
    ids::{Process, VmUuid},
    policy::{Policy, map::Mapped},
};

/// A rule's text up to the first line feed, arguments after it.
///
/// # Panics
/// The promise is broken.
pub fn predicate(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Some((rule, arguments)) = text.split_once('\n') else {
        return;
    };
    let policy = format!(r#"{{"version":"1","default":"deny","tools":{{"vm_stop":{rule}}}}}"#);
    let Ok(policy) = Policy::parse(&policy, "policy.json") else {
        return;
    };
    let Ok(Value::Object(arguments)) = vmward_wire::frame::parse(arguments.as_bytes()) else {
        return;
    };
    let request = request(arguments);
    let now = Now {
        boot_ns: 0,
        wall_ns: 1_795_435_200_000_000_000,
    };
    let explained = Engine::new(policy.clone(), "fuzz").explain(&request, now);
    let first = Engine::new(policy.clone(), "fuzz").authorize(request.clone(), now);
    let second = Engine::new(policy, "fuzz").authorize(request, now);
    assert_eq!(
        first.decision, second.decision,
        "a verdict is no matter of chance"
    );
    let explained_allows = explained.decision == vmward_core::audit::Verdict::Allow;
    let allows = matches!(first.decision, Decision::Allow(_));
    assert_eq!(explained_allows, allows, "explain and authorize agree");
}

fn request(arguments: Map<String, Value>) -> Request {
    let process = Process {
        pid: 1000,
        start_ticks: 1,
    };
    Request {
        tool: "vm_stop".to_owned(),
        via: Via::Tool,
        server: None,
        arguments: Arguments::new(arguments),
        mapped: Mapped::Known {
            pointer: "builtin:seed".into(),
            effect: Some(Effect::Stop),
            vm: Some("web-1".to_owned()),
        },
        effect: Some(Effect::Stop),
        target: Target::Vm(VmTarget {
            uuid: VmUuid::from_bytes([1; 16]),
            name: "web-1".to_owned(),
            process: Some(process),
            protected: false,
            labels: std::collections::BTreeMap::from([("tier".to_owned(), "prod".to_owned())]),
        }),
        caller: Caller {
            grant: "uid:1000".to_owned(),
            process,
            uid: 1000,
            comm: "agent".to_owned(),
            exe: Some("/usr/bin/agent".to_owned()),
            agent: None,
            unit: None,
            loginuid: None,
        },
        holder: process,
        reason: None,
        local: LocalTime::default(),
    }
}
