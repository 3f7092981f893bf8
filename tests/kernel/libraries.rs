//! The libraries that VMs run: one that is cut short ends all that run it.

use std::fs;
use std::process::Output;
use std::time::Duration;

use vmward_tests::attacks::attack;
use vmward_tests::daemon::{Daemon, Mode, take_enforcement_out};
use vmward_tests::guest::{Guest, run, text, virsh};
use vmward_tests::wait;

use crate::assert_in_vm;

/// A library is noticed at the latest when the daemon looks what VMs have mapped, twice a
/// minute.
const NOTICED: Duration = Duration::from_secs(90);
/// QEMU needs it at each turn of its main loop.
const INSTALLED: &str = "/usr/lib/x86_64-linux-gnu/libglib-2.0.so.0";
/// On a file system of disks: one that lies over others makes a copy of what is changed.
const LIBRARY: &str = "/var/lib/vmward-guests/libglib-2.0.so.0";

/// Its QEMU runs that copy.
#[track_caller]
fn start(name: &str) -> Guest {
    let env = format!(
        "<qemu:commandline><qemu:env name='LD_PRELOAD' value='{LIBRARY}'/></qemu:commandline>"
    );
    Guest::start_changed(name, |xml| {
        let changed = xml.replacen("</domain>", &format!("{env}</domain>"), 1);
        assert_ne!(changed, xml);
        changed
    })
}

#[track_caller]
fn copy_to(place: &str) {
    fs::copy(INSTALLED, place).expect("it is installed, and there is room");
}

fn cut_short() -> Output {
    run("truncate", &["-s", "0", LIBRARY])
}

/// By name, to the length that it has.
fn touch(path: &str) -> Output {
    attack("own", "truncate", &[path])
}

#[track_caller]
fn wait_guarded(path: &str) {
    wait::until("the library to be guarded", NOTICED, || {
        text(&touch(path)).contains("not permitted").then_some(())
    });
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_library_that_a_vm_runs_is_replaced_and_not_cut_short() {
    assert_in_vm();
    take_enforcement_out();
    copy_to(LIBRARY);
    {
        // The control: the VM ends.
        let guest = start("library-1");
        let pid = guest.pid();
        let output = cut_short();
        assert!(output.status.success(), "{}", text(&output));
        Guest::wait_gone(pid);
    }
    copy_to(LIBRARY);
    let guest = start("library-2");
    let mut daemon = Daemon::start(Mode::Enforce);
    daemon.wait_protected(&guest.name);
    wait_guarded(LIBRARY);
    let output = cut_short();
    assert!(!output.status.success(), "{}", text(&output));
    guest.assert_ticks();
    let audit = daemon.audit();
    let record = audit.one("the refusal", |r| {
        r["vector"] == "lifeline-file" && r["actor"]["comm"] == "truncate"
    });
    assert_eq!(record["verdict"], "refused", "{record:#}");

    // As an upgrade does it. What the VM runs has no name then, and is still there.
    let new = format!("{LIBRARY}.new");
    copy_to(&new);
    fs::rename(&new, LIBRARY).expect("a library can be replaced");
    wait::until("the new one to be nobody's", NOTICED, || {
        touch(LIBRARY).status.success().then_some(())
    });
    wait_guarded(&mapping(&guest));
    guest.assert_ticks();

    daemon.give_up();
    let pid = guest.pid();
    let output = virsh(&["destroy", &guest.name]);
    assert!(output.status.success(), "{}", text(&output));
    Guest::wait_gone(pid);
    fs::remove_file(LIBRARY).expect("it is there");
}

/// The file that the VM has mapped, by way of its process.
#[track_caller]
fn mapping(guest: &Guest) -> String {
    let pid = guest.pid();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("it lives");
    let line = maps
        .lines()
        .find(|line| line.contains(LIBRARY))
        .expect("it is mapped");
    let (range, _) = line.split_once(' ').expect("a range stands first");
    format!("/proc/{pid}/map_files/{range}")
}
