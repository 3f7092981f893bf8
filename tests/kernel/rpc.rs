//! Who asked libvirt: named where it is known, never wrongly sure, and the one
//! whose lease libvirt may use.

use std::process::Output;

use serde_json::Value;

use vmward_tests::attacks::{arming, rpc};
use vmward_tests::audit::is_kernel;
use vmward_tests::daemon::Mode;
use vmward_tests::guest::{Guest, run, text, virsh};

use crate::Scene;

/// The newest refusal of a signal to `vm`, once there are `count`.
#[track_caller]
fn refusal(scene: &Scene, vm: &str, count: usize) -> Value {
    let audit = scene.daemon.audit();
    let refused = |r: &Value| is_kernel(r, "refused", vm) && r["vector"] == "signal";
    vmward_tests::wait::until("the refusals", std::time::Duration::from_secs(20), || {
        let mut found = audit.select(refused);
        (found.len() >= count).then(|| found.pop()).flatten()
    })
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_refusal_names_who_asked_libvirt_and_is_not_sure_where_another_may_have() {
    let scene = Scene::new("rpc-1", Mode::Enforce);
    let output = virsh(&["destroy", "rpc-1"]);
    assert!(!output.status.success(), "{}", text(&output));
    let first = refusal(&scene, "rpc-1", 1);
    assert_eq!(first["requester"]["sure"], true, "{first:#}");
    assert_eq!(first["requester"]["uid"], 0, "{first:#}");
    assert_ne!(first["requester"]["tgid"], first["actor"]["tgid"]);

    let another = virsh(&["destroy", "rpc-1"]);
    assert!(!another.status.success(), "{}", text(&another));
    let second = refusal(&scene, "rpc-1", 2);
    assert_eq!(second["requester"]["sure"], false, "{second:#}");
    assert_ne!(second["requester"]["tgid"], first["requester"]["tgid"]);
    scene.guest.assert_ticks();
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn what_nobody_but_libvirt_can_read_is_refused_and_nobody_is_wrongly_named() {
    let scene = Scene::new("rpc-2", Mode::Enforce);
    // The first is somebody who could be blamed for all that follows.
    let mut count = 0;
    let mut blamed = Value::Null;
    for attack in rpc::ATTACKS {
        let output = (attack.run)(&scene.guest);
        let said = text(&output);
        assert!(!output.status.success(), "{}: {said}", attack.id);
        assert!(
            said.contains("Operation not permitted"),
            "{}: {said}",
            attack.id
        );
        count += 1;
        let record = refusal(&scene, "rpc-2", count);
        let requester = &record["requester"];
        if count == 1 {
            blamed = requester["tgid"].clone();
        } else {
            assert!(
                requester["sure"] != true || requester["tgid"] != blamed,
                "{}: {record:#}",
                attack.id
            );
        }
    }
    scene.guest.assert_ticks();
    scene.daemon.audit().verify();
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_call_that_makes_a_later_stop_possible_is_refused_and_others_are_recorded() {
    let scene = Scene::new("rpc-3", Mode::Enforce);
    for attack in arming::ATTACKS {
        let output = (attack.run)(&scene.guest);
        let said = text(&output);
        assert!(!output.status.success(), "{}: {said}", attack.id);
        assert!(said.contains("Cannot write data"), "{}: {said}", attack.id);
    }
    let refused = scene
        .daemon
        .audit()
        .select(|r| is_kernel(r, "refused", "rpc-3"));
    assert!(
        refused
            .iter()
            .any(|r| r["vector"] == "rpc" && r["word"] == "set-lifecycle-action"),
        "{refused:#?}"
    );
    let memory = virsh(&["memtune", "rpc-3", "--hard-limit", "4000000", "--live"]);
    let said = text(&memory);
    scene.daemon.audit().one("the memory limit", |r| {
        is_kernel(r, "witnessed", "rpc-3") && r["word"] == "set-memory-parameters"
    });
    assert!(!said.contains("Cannot write data"), "{said}");
    scene.guest.assert_ticks();
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn limits_that_leave_a_vm_enough_pass_and_others_do_not() {
    let vm = "rpc-limits-1";
    let scene = Scene::new(vm, Mode::Enforce);
    let processors = |period: &str, quota: &str| {
        let (period, quota) = (
            format!("vcpu_period={period}"),
            format!("vcpu_quota={quota}"),
        );
        let set = ["--live", "--set", &period, "--set", &quota];
        virsh(&[&["schedinfo", vm][..], &set].concat())
    };
    let memory = |kib| virsh(&["memtune", vm, "--live", "--hard-limit", kib]);
    let passes = |output: Output| assert!(output.status.success(), "{}", text(&output));
    let refused = |output: Output| {
        let said = text(&output);
        assert!(said.contains("Operation not permitted"), "{said}");
    };
    // Two fifths, of a period that is not the usual one.
    passes(processors("10000", "4000"));
    refused(processors("100000", "4000"));
    // libvirt sets the period first.
    passes(processors("10000", "-1"));
    passes(processors("100000", "50000"));
    passes(memory("4000000"));
    refused(memory("1024"));
    scene.guest.assert_ticks();
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn another_clients_destroy_does_not_ride_on_a_lease() {
    let scene = Scene::new("rpc-4", Mode::Enforce);
    let before = scene.guest.pid();
    // Asked for within the lease, by a process that is no child of its holder.
    let script = "coproc cat; echo leased >&2; exec sleep 1000";
    let mut holder = std::process::Command::new("vmward")
        .args([
            "run",
            "--effect",
            "force_stop",
            "--reason",
            "ticket 4711",
            "--vm",
            "rpc-4",
        ])
        .args(["--", "bash", "-c", script])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("vmward is on the path");
    let mut line = String::new();
    let err = holder.stderr.take().expect("piped");
    let mut lines = std::io::BufReader::new(err);
    while !line.contains("leased") {
        line.clear();
        std::io::BufRead::read_line(&mut lines, &mut line).expect("a line");
        assert!(!line.is_empty(), "vmward run ended");
    }
    let stranger = virsh(&["destroy", "rpc-4"]);
    let said = text(&stranger);
    assert!(
        !stranger.status.success(),
        "a stranger rode on the lease: {said}"
    );
    assert!(said.contains("Operation not permitted"), "{said}");
    scene.guest.assert_ticks();
    assert_eq!(scene.guest.pid(), before);
    holder.kill().expect("it is our child");
    holder.wait().expect("it is our child");
    run("pkill", &["-x", "sleep"]);
    Guest::assert_ticks(&scene.guest);
}
