//! Host rules: who may stop a VM without a lease, and nobody else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use vmward_tests::audit::is_kernel;
use vmward_tests::daemon::Mode;
use vmward_tests::guest::{Guest, run, text};
use vmward_tests::wait;

use crate::Scene;

/// A folder for programs, on one file system so that links can be made.
const FOLDER: &str = "/run/vmward-host-rules";

/// A policy with one host rule and nothing else that allows a stop.
fn policy(rule: &str) -> String {
    format!(r#"{{"version":"1","default":"deny","tools":{{}},"host_rules":{{"fence":{rule}}}}}"#)
}

/// A folder of this test's own that is gone at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(FOLDER).join(name);
        fs::create_dir_all(&path).expect("/run is writable");
        Self(path)
    }

    /// A copy of `kill`: an inode of its own.
    fn copy_of_kill(&self, name: &str) -> String {
        let to = self.0.join(name);
        fs::copy("/bin/kill", &to).expect("a copy of kill");
        to.to_str().expect("UTF-8").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in /run harms no other test.
        let _left = fs::remove_dir_all(&self.0);
    }
}

/// The rule is in the kernel, or its change is: the daemon says so.
fn wait_told(scene: &Scene, what: &str) {
    scene.daemon.audit().one(what, |r| {
        r["kind"] == "daemon"
            && r["event"] == "host-rule"
            && r["detail"]
                .as_str()
                .is_some_and(|text| text.starts_with(what))
    });
}

#[track_caller]
fn assert_refused(output: &Output) {
    let said = text(output);
    assert!(!output.status.success(), "it was let through: {said}");
    assert!(said.contains("Operation not permitted"), "{said}");
}

fn signal(program: &str, signal: &str, guest: &Guest) -> Output {
    run(program, &[signal, &guest.pid().to_string()])
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_program_that_a_host_rule_names_may_stop_that_vm_and_its_copy_may_not() {
    let folder = Folder::new("exe");
    let named = folder.copy_of_kill("fence");
    let copy = folder.copy_of_kill("copy");
    let link = folder.0.join("link");
    fs::hard_link(&named, &link).expect("a hard link");
    let other = Guest::start("rule-exe-2");
    let rule =
        format!(r#"{{"exe":"{named}","effects":["force_stop"],"vms":[{{"name":"rule-exe-1"}}]}}"#);
    let scene = Scene::with_policy("rule-exe-1", Mode::Enforce, &policy(&rule));
    scene.daemon.wait_protected("rule-exe-2");
    wait_told(&scene, "fence: in the kernel, actors: 1");
    assert_refused(&signal("/bin/kill", "-9", &scene.guest));
    assert_refused(&signal(&copy, "-9", &scene.guest));
    assert_refused(&signal(&named, "-9", &other));
    assert_refused(&signal(&named, "-STOP", &scene.guest));
    scene.guest.assert_ticks();
    let pid = scene.guest.pid();
    // The same inode by another name is the same program.
    let killed = signal(link.to_str().expect("UTF-8"), "-9", &scene.guest);
    assert!(killed.status.success(), "{}", text(&killed));
    Guest::wait_gone(pid);
    other.assert_ticks();
    let audit = scene.daemon.audit();
    let allowed = audit.one("the allowed stop", |r| {
        is_kernel(r, "allowed-host-rule", "rule-exe-1")
    });
    assert_eq!(allowed["host_rule"], "fence", "{allowed:#}");
    let ended = audit.one("the end of the VM", |r| {
        r["kind"] == "vm" && r["event"] == "ended"
    });
    assert_eq!(ended["cause"], "host-rule", "{ended:#}");
    audit.verify();
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_host_rule_is_used_up_at_its_limit_and_over_a_restart() {
    let folder = Folder::new("limit");
    let named = folder.copy_of_kill("fence");
    let rule = format!(
        r#"{{"exe":"{named}","effects":["pause"],
            "limits":[{{"counter":"fence","window":"day","max":3,"scope":"host"}}]}}"#
    );
    let mut scene = Scene::with_policy("rule-limit-1", Mode::Enforce, &policy(&rule));
    wait_told(&scene, "fence: in the kernel, actors: 1");
    for use_number in 1..=2 {
        let paused = signal(&named, "-STOP", &scene.guest);
        assert!(paused.status.success(), "{use_number}: {}", text(&paused));
        assert!(signal("/bin/kill", "-CONT", &scene.guest).status.success());
    }
    // The count is the kernel's and the journal's: neither forgets it.
    scene.daemon.kill_9();
    let paused = signal(&named, "-STOP", &scene.guest);
    assert!(paused.status.success(), "{}", text(&paused));
    assert!(signal("/bin/kill", "-CONT", &scene.guest).status.success());
    assert_refused(&signal(&named, "-STOP", &scene.guest));
    scene.daemon.start_again(&[]);
    scene.daemon.wait_protected("rule-limit-1");
    assert_refused(&signal(&named, "-STOP", &scene.guest));
    scene.guest.assert_ticks();
    let audit = scene.daemon.audit();
    wait::until("the refusals in the log", Duration::from_secs(10), || {
        let refused = audit.select(|r| is_kernel(r, "refused-host-limit", "rule-limit-1"));
        (refused.len() == 2).then_some(())
    });
    let allowed = audit.select(|r| is_kernel(r, "allowed-host-rule", "rule-limit-1"));
    assert_eq!(allowed.len(), 3, "{allowed:#?}");
}

/// `kill` by a process whose real user is another one; its effective user stays
/// root, or the kernel itself would refuse.
fn as_uid(uid: u32, signal: &str, guest: &Guest) -> Output {
    let script = format!(
        "import os, sys\n\
         os.setresuid({uid}, 0, 0)\n\
         try: os.kill({}, {signal})\n\
         except PermissionError: sys.exit('Operation not permitted')",
        guest.pid()
    );
    run("/usr/bin/python3", &["-c", &script])
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_user_that_a_host_rule_names_may_pause_and_others_may_not() {
    let rule = r#"{"uid":64055,"effects":["pause"]}"#;
    let scene = Scene::with_policy("rule-uid-1", Mode::Enforce, &policy(rule));
    wait_told(&scene, "fence: in the kernel, actors: 1");
    let allowed = as_uid(64055, "19", &scene.guest);
    assert!(allowed.status.success(), "{}", text(&allowed));
    assert!(signal("/bin/kill", "-CONT", &scene.guest).status.success());
    assert_refused(&as_uid(64056, "19", &scene.guest));
    assert_refused(&as_uid(64055, "9", &scene.guest));
    assert_refused(&signal("/bin/kill", "-STOP", &scene.guest));
    scene.guest.assert_ticks();
}

/// `kill` from within a cgroup.
fn in_cgroup(folder: &Path, signal: &str, guest: &Guest) -> Output {
    let script = format!(
        "echo $$ > {}/cgroup.procs && exec /bin/kill {signal} {}",
        folder.display(),
        guest.pid()
    );
    run("bash", &["-c", &script])
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_unit_that_a_host_rule_names_may_pause_while_it_runs() {
    let unit = Path::new("/sys/fs/cgroup/system.slice/fence.service");
    let below = unit.join("worker");
    let beside = Path::new("/sys/fs/cgroup/system.slice/other.service");
    for folder in [&below, beside] {
        fs::create_dir_all(folder).expect("cgroup v2 is mounted");
    }
    let rule = r#"{"unit":"fence.service","effects":["pause"]}"#;
    let scene = Scene::with_policy("rule-unit-1", Mode::Enforce, &policy(rule));
    wait_told(&scene, "fence: in the kernel, actors: 1");
    for folder in [unit, &below] {
        let allowed = in_cgroup(folder, "-STOP", &scene.guest);
        assert!(allowed.status.success(), "{}", text(&allowed));
        assert!(signal("/bin/kill", "-CONT", &scene.guest).status.success());
    }
    assert_refused(&in_cgroup(beside, "-STOP", &scene.guest));
    assert_refused(&signal("/bin/kill", "-STOP", &scene.guest));
    // The unit stops and starts again: another cgroup of the same name.
    for folder in [&below, unit] {
        fs::remove_dir(folder).expect("nobody is in it any more");
    }
    wait_told(&scene, "fence: in the kernel, actors: 0");
    fs::create_dir(unit).expect("cgroup v2 is mounted");
    wait::until("the new cgroup to count", Duration::from_secs(15), || {
        let allowed = in_cgroup(unit, "-STOP", &scene.guest).status.success();
        allowed.then_some(())
    });
    assert!(signal("/bin/kill", "-CONT", &scene.guest).status.success());
    scene.guest.assert_ticks();
    for folder in [unit, beside] {
        fs::remove_dir(folder).expect("nobody is in it any more");
    }
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_host_rule_that_leaves_the_policy_leaves_the_kernel() {
    let folder = Folder::new("reload");
    let named = folder.copy_of_kill("fence");
    let rule = format!(r#"{{"exe":"{named}","effects":["force_stop","pause"]}}"#);
    let scene = Scene::with_policy("rule-reload-1", Mode::Enforce, &policy(&rule));
    wait_told(&scene, "fence: in the kernel, actors: 1");
    let allowed = signal(&named, "-STOP", &scene.guest);
    assert!(allowed.status.success(), "{}", text(&allowed));
    assert!(signal("/bin/kill", "-CONT", &scene.guest).status.success());
    scene.daemon.put_policy(vmward_tests::SEED);
    scene.daemon.audit().one("the new policy", |r| {
        r["kind"] == "daemon" && r["event"] == "policy-loaded"
    });
    assert_refused(&signal(&named, "-STOP", &scene.guest));
    assert_refused(&signal(&named, "-9", &scene.guest));
    // Root and libvirt cannot be let in: the policy before stays.
    scene
        .daemon
        .put_policy(&policy(r#"{"uid":0,"effects":["force_stop"]}"#));
    let rejected = scene.daemon.audit().one("the rejected policy", |r| {
        r["kind"] == "daemon" && r["event"] == "policy-rejected"
    });
    let why = rejected["detail"].as_str().unwrap_or_default();
    assert!(why.contains("uid 0 would let"), "{why}");
    assert_refused(&signal("/bin/kill", "-9", &scene.guest));
    scene.guest.assert_ticks();
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_host_rule_in_shadow_mode_lets_nobody_through() {
    let folder = Folder::new("shadow");
    let named = folder.copy_of_kill("fence");
    let rule = format!(r#"{{"exe":"{named}","effects":["force_stop"],"mode":"shadow"}}"#);
    let scene = Scene::with_policy("rule-shadow-1", Mode::Enforce, &policy(&rule));
    assert_refused(&signal(&named, "-9", &scene.guest));
    scene.guest.assert_ticks();
    let audit = scene.daemon.audit();
    let refused = audit.one("the refusal", |r| is_kernel(r, "refused", "rule-shadow-1"));
    assert!(refused["host_rule"].is_null(), "{refused:#}");
}
