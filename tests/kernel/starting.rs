//! A VM in its first moments: while libvirt starts it, and as soon as it has.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Output;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;
use vmward_tests::audit::is_kernel;
use vmward_tests::daemon::{Daemon, Mode as DaemonMode, take_enforcement_out};
use vmward_tests::guest::{Guest, lives, run, text, virsh};
use vmward_tests::wait;

use crate::assert_in_vm;

const LIMIT: Duration = Duration::from_mins(1);

/// A domain whose QEMU waits in the middle of its start, at a FIFO.
struct Slow {
    guest: Guest,
    fifo: PathBuf,
}

impl Slow {
    fn define(name: &str) -> Self {
        let fifo = PathBuf::from(format!("/var/tmp/{name}.fifo"));
        let _left_by_a_former_run = fs::remove_file(&fifo);
        mkfifo(&fifo, Mode::S_IRWXU).expect("/var/tmp is writable");
        fs::set_permissions(&fifo, Permissions::from_mode(0o666)).expect("it is ours");
        let entry = format!(
            "<sysinfo type='fwcfg'><entry name='opt/vmward' file='{}'/></sysinfo><devices>",
            fifo.display()
        );
        let xml = text(&run("xtask", &["guest", "xml", name])).replacen("<devices>", &entry, 1);
        let file = format!("/var/tmp/{name}.xml");
        fs::write(&file, xml).expect("/var/tmp is writable");
        let output = virsh(&["define", &file]);
        assert!(output.status.success(), "{}", text(&output));
        let guest = Guest {
            name: name.to_owned(),
        };
        Self { guest, fifo }
    }

    /// Begins the start, and waits until QEMU waits.
    fn begin(&self) -> (JoinHandle<Output>, i32) {
        let name = self.guest.name.clone();
        let starts = thread::spawn(move || virsh(&["start", &name]));
        let pid = wait::until("a QEMU that starts", LIMIT, || {
            starting_process(&self.guest)
        });
        (starts, pid)
    }

    /// Lets QEMU go on.
    fn go_on(&self) {
        fs::write(&self.fifo, "x").expect("QEMU reads it");
    }
}

/// Its QEMU, while libvirt's file says that it starts.
fn starting_process(guest: &Guest) -> Option<i32> {
    let status = format!("/run/libvirt/qemu/{}.xml", guest.name);
    let status = fs::read_to_string(status).ok()?;
    if !status.contains("'starting up'") {
        return None;
    }
    let (_, rest) = status.split_once(" pid='")?;
    let pid: i32 = rest.split_once('\'')?.0.parse().ok()?;
    let exe = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    exe.to_string_lossy().contains("qemu").then_some(pid)
}

fn wait_guarded(daemon: &Daemon) {
    wait::until("its guard", LIMIT, || {
        let is_told = daemon.log().contains("guarded while it starts");
        is_told.then_some(())
    });
}

#[track_caller]
fn assert_refused(output: &Output) {
    let said = text(output);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("Operation not permitted"), "{said}");
}

fn kill_9(pid: i32) -> Output {
    run("kill", &["-9", &pid.to_string()])
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn nobody_but_libvirt_ends_a_vm_that_starts() {
    assert_in_vm();
    take_enforcement_out();
    let slow = Slow::define("starting-1");

    // The control: the start fails.
    let (starts, pid) = slow.begin();
    assert!(kill_9(pid).status.success());
    let output = starts.join().unwrap();
    assert!(!output.status.success(), "{}", text(&output));

    let mut daemon = Daemon::start(DaemonMode::Enforce);
    let (starts, pid) = slow.begin();
    wait_guarded(&daemon);
    assert_refused(&kill_9(pid));
    let record = daemon.audit().one("the refusal", |record| {
        is_kernel(record, "refused", &slow.guest.name) && record["actor"]["comm"] == "kill"
    });
    assert_eq!(record["pid"], pid, "{record}");
    slow.go_on();
    let output = starts.join().unwrap();
    assert!(output.status.success(), "{}", text(&output));

    // And as soon as `virsh start` has returned: there is no moment between.
    assert_refused(&kill_9(pid));
    slow.guest.assert_ticks();
    daemon.wait_protected(&slow.guest.name);
    daemon.give_up();
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn the_end_of_a_vm_that_starts_is_on_record_where_libvirt_ends_it() {
    assert_in_vm();
    take_enforcement_out();
    let slow = Slow::define("starting-2");
    let mut daemon = Daemon::start(DaemonMode::Enforce);
    let (starts, pid) = slow.begin();
    wait_guarded(&daemon);
    let destroyed = virsh(&["destroy", &slow.guest.name]);
    assert!(destroyed.status.success(), "{}", text(&destroyed));
    let started = starts.join().unwrap();
    assert!(!started.status.success(), "{}", text(&started));
    assert!(!lives(pid), "libvirt cleans up");
    let is_its_end =
        |record: &Value| is_kernel(record, "witnessed", &slow.guest.name) && record["pid"] == pid;
    let records = wait::until("a record of its end", LIMIT, || {
        let records = daemon.audit().select(is_its_end);
        (!records.is_empty()).then_some(records)
    });
    for record in records {
        assert_eq!(record["word"], "a VM that starts", "{record}");
        assert_eq!(record["actor"]["exe"], "/usr/sbin/libvirtd", "{record}");
    }

    let (starts, _pid) = slow.begin();
    slow.go_on();
    assert!(starts.join().unwrap().status.success());
    daemon.wait_protected(&slow.guest.name);
    daemon.give_up();
}
