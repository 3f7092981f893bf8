//! Ends that nobody on the host asked libvirt for: no memory left, a fault of
//! QEMU's own.

use std::cell::OnceCell;
use std::fs::{self, File};
use std::path::Path;

use vmward_tests::SEED;
use vmward_tests::audit::AuditLog;
use vmward_tests::guest::{Guest, parts, text, virsh};

use super::{Hosted, assert_off};

/// A cgroup with little memory.
const SCARCE: &str = "/sys/fs/cgroup/legitimate-oom";
const SCARCE_BYTES: &str = "268435456";
/// More than that, touched at once.
const MORE: &str = r#"{"execute":"object-add","arguments":{"qom-type":"memory-backend-ram","id":"more","size":1073741824,"prealloc":true}}"#;

/// Puts the guest where memory is scarce, as its host may have it from the start.
#[track_caller]
fn make_scarce(guest: &Guest) {
    fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+memory").expect("cgroup v2 is mounted");
    fs::create_dir_all(SCARCE).expect("cgroup v2 is mounted");
    let put = |file: &str, what: &str| {
        fs::write(Path::new(SCARCE).join(file), what).expect("a cgroup with a memory controller");
    };
    put("memory.max", SCARCE_BYTES);
    put("memory.oom.group", "1");
    put("cgroup.procs", &guest.pid().to_string());
}

/// The record of the end of `name`.
#[track_caller]
fn ended(audit: &AuditLog, name: &str) -> serde_json::Value {
    audit.one("the end of the VM", |r| {
        r["kind"] == "vm" && r["event"] == "ended" && r["vm"]["name"] == name
    })
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_vm_that_runs_out_of_memory_or_into_a_fault_ends_and_is_recorded() {
    let memory = OnceCell::new();
    let hosted = Hosted::start_after(
        &["end-oom", "end-fault"],
        SEED,
        |name, xml| match name {
            "end-fault" => parts::with_memory_in_a_file(xml),
            _ => xml.to_owned(),
        },
        |guest| {
            if guest.name == "end-oom" {
                make_scarce(guest);
            } else {
                // Once it is protected, nobody else can open it so.
                let file = File::options().write(true).open(parts::memory_of(guest));
                let file = file.expect("root may write to it");
                memory.set(file).expect("there is one");
            }
        },
    );
    let audit = hosted.daemon.audit();

    let scarce = hosted.guest("end-oom");
    let pid = scarce.pid();
    let output = virsh(&["qemu-monitor-command", "end-oom", MORE]);
    assert!(
        !output.status.success(),
        "there was room: {}",
        text(&output)
    );
    assert_off(scarce, pid);
    hosted.assert_order("no memory left");
    let record = ended(&audit, "end-oom");
    assert_eq!(record["cause"], "kernel-signal", "{record:#}");
    assert_eq!(record["signal"]["name"], "SIGKILL", "{record:#}");

    // The file behind the guest's memory is cut short: QEMU faults at its next
    // look at it.
    let faulty = hosted.guest("end-fault");
    let pid = faulty.pid();
    let memory = memory.get().expect("it was opened");
    memory.set_len(0).expect("it is open");
    assert_off(faulty, pid);
    hosted.assert_order("a fault");
    let record = ended(&audit, "end-fault");
    assert_eq!(record["cause"], "kernel-signal", "{record:#}");
    assert_eq!(record["signal"]["name"], "SIGBUS", "{record:#}");
    let refused = audit.select(|r| r["kind"] == "kernel" && r["verdict"] == "refused");
    assert!(refused.is_empty(), "{refused:#?}");
}
