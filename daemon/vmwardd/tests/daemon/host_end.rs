//! VMs that ended with the host: of an earlier boot, nobody saw their end.

use serde_json::json;

use crate::harness::{Daemon, Options};

const UUID: &str = "5f2b7d0e-8a3c-4f6e-9d21-0c4b6a7e8f90";

#[test]
fn what_an_earlier_boot_took_with_it_goes_on_record_once() {
    let mut daemon = Daemon::start(&Options::default());
    let lost = |daemon: &Daemon| -> Vec<_> {
        let records = daemon.audit().into_iter();
        records.filter(|r| r["event"] == "ended").collect()
    };
    let file = daemon.dir().join("state/vms-running.json");
    let ran_in = |boot: &str| {
        let vm = json!({"uuid": UUID, "name": "web-1", "pid": 4711, "start_ticks": 9});
        std::fs::write(&file, json!({"boot_id": boot, "vms": [vm]}).to_string()).unwrap();
    };

    daemon.kill();
    let this_boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    ran_in(this_boot.trim());
    daemon.restart();
    assert_eq!(lost(&daemon).len(), 0, "the host has not gone down");

    daemon.kill();
    ran_in("00000000-0000-4000-8000-000000000000");
    daemon.restart();
    let records = lost(&daemon);
    assert_eq!(records.len(), 1, "{records:#?}");
    let record = &records[0];
    assert_eq!(record["cause"], "host-restarted", "{record:#}");
    assert_eq!(record["vm"]["name"], "web-1", "{record:#}");
    assert_eq!(record["vm"]["uuid"], UUID, "{record:#}");
    assert_eq!(record["pid"], 4711, "{record:#}");

    daemon.kill();
    daemon.restart();
    assert_eq!(lost(&daemon).len(), 1, "told once");
    daemon.verify_audit();
}
