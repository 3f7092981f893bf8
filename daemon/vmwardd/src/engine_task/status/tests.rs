//! Who is shown what, without a kernel and without sockets.

use serde_json::Map;
use vmward_core::clock::LocalTime;
use vmward_core::digest::Arguments;
use vmward_core::effect::Effect;
use vmward_core::engine::{Caller, Decision, Request, Target, Via, VmTarget};
use vmward_core::policy::map::Mapped;

use super::super::tests::shell_with;
use super::*;

const SEED: &str = include_str!("../../../../vmward-core/tests/data/policy.json");
const VM: Process = Process {
    pid: 0x7fff_fff0,
    start_ticks: 5,
};

#[test]
fn a_lease_of_another_grant_is_counted_and_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let mut shell = shell_with(dir.path(), SEED);
    let caller = Caller {
        grant: "uid:1000".to_owned(),
        process: VM,
        uid: 1000,
        comm: "agent".to_owned(),
        exe: None,
        agent: None,
        unit: None,
        loginuid: None,
    };
    let vm = VmTarget {
        uuid: VmUuid::from_bytes([1; 16]),
        name: "web-1".to_owned(),
        process: Some(VM),
        protected: true,
        labels: BTreeMap::new(),
    };
    let request = Request {
        tool: "vm_stop".to_owned(),
        via: Via::Tool,
        server: None,
        arguments: Arguments::new(Map::new()),
        mapped: Mapped::Known {
            pointer: "builtin:test".into(),
            effect: Some(Effect::Stop),
            vm: None,
        },
        effect: Some(Effect::Stop),
        target: Target::Vm(vm),
        caller,
        holder: VM,
        reason: None,
        local: LocalTime::default(),
    };
    let answer = shell.engine.authorize(request, convert::now());
    assert!(matches!(answer.decision, Decision::Allow(_)), "{answer:?}");
    let leases = |shell: &mut Shell, grant: Option<&str>| {
        let viewer = grant.map(|grant| Viewer {
            grant: grant.to_owned(),
            uid: 1,
        });
        let status = shell.status(viewer.as_ref(), convert::now());
        (
            status.leases.len(),
            status.others.map(|others| others.leases),
        )
    };
    assert_eq!(leases(&mut shell, None), (1, None));
    assert_eq!(leases(&mut shell, Some("uid:1000")), (1, Some(0)));
    assert_eq!(leases(&mut shell, Some("ci")), (0, Some(1)));
}
