//! A VM that is in a cgroup of version 1 as well, where some hosts still keep the
//! freezer.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vmward_tests::audit::is_kernel;
use vmward_tests::daemon::{Mode, take_enforcement_out};
use vmward_tests::guest::{Guest, run, text};
use vmward_tests::progress::{stalls_within, ticks_within};

use crate::{Scene, assert_in_vm};

const FREEZER: &str = "/run/vmward-freezer-test";
const LIMIT: Duration = Duration::from_secs(30);

/// The freezer's hierarchy, mounted. libvirtd is in a cgroup of it, and what it
/// starts is there too, or in one of libvirt's own below.
struct Freezer;

impl Freezer {
    fn mount() -> Self {
        let script = format!(
            "set -e; mkdir -p {FREEZER}; mount -t cgroup -o freezer none {FREEZER}
             mkdir -p {FREEZER}/libvirt; cat /run/libvirtd.pid > {FREEZER}/libvirt/cgroup.procs"
        );
        let output = run("bash", &["-c", &script]);
        assert!(output.status.success(), "{}", text(&output));
        Self
    }

    /// The folder that the VM's process is in.
    fn of(guest: &Guest) -> PathBuf {
        let path = format!("/proc/{}/cgroup", guest.pid());
        let all = fs::read_to_string(&path).expect("the VM runs");
        let line = all.lines().find_map(|line| line.split_once(":freezer:/"));
        let (_, folder) = line.unwrap_or_else(|| panic!("no freezer: {all}"));
        assert_ne!(folder, "", "the root cannot be frozen: {all}");
        PathBuf::from(FREEZER).join(folder)
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let script = format!(
            "cat /run/libvirtd.pid > {FREEZER}/cgroup.procs; umount {FREEZER}; rmdir {FREEZER}"
        );
        run("bash", &["-c", &script]);
    }
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn control_a_vm_in_a_freezer_of_version_1_stops() {
    assert_in_vm();
    take_enforcement_out();
    let _freezer = Freezer::mount();
    let guest = Guest::start("freezer-0");
    let state = Freezer::of(&guest).join("freezer.state");
    fs::write(&state, "FROZEN").expect("nobody refuses it");
    assert!(stalls_within(&guest, LIMIT), "it ticks while it is frozen");
    fs::write(&state, "THAWED").expect("it can be thawed");
    assert!(ticks_within(&guest, LIMIT));
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_vm_in_a_freezer_of_version_1_goes_on() {
    let _freezer = Freezer::mount();
    let scene = Scene::new("freezer-1", Mode::Enforce);
    let own = Freezer::of(&scene.guest);
    let mut tried = 0;
    for folder in own
        .ancestors()
        .take_while(|folder| *folder != Path::new(FREEZER))
    {
        let refused = fs::write(folder.join("freezer.state"), "FROZEN").expect_err("no lease");
        assert_eq!(refused.raw_os_error(), Some(1), "{}", folder.display());
        tried += 1;
    }
    let elsewhere = PathBuf::from(FREEZER).join("frozen");
    fs::create_dir_all(&elsewhere).expect("a folder of its own");
    fs::write(elsewhere.join("freezer.state"), "FROZEN").expect("no VM is in it");
    for (file, id) in [
        ("cgroup.procs", scene.guest.pid()),
        ("tasks", scene.guest.vcpu_thread()),
    ] {
        fs::write(elsewhere.join(file), id.to_string()).expect_err("no lease");
    }
    fs::remove_dir(&elsewhere).expect("nobody is in it");
    assert!(ticks_within(&scene.guest, LIMIT));
    let audit = scene.daemon.audit();
    let of = |vector: &str| {
        let is =
            |r: &serde_json::Value| is_kernel(r, "refused", "freezer-1") && r["vector"] == vector;
        audit.select(is).len()
    };
    assert_eq!((of("cgroup-freeze"), of("cgroup-move")), (tried, 2));
}
