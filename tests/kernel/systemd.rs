//! A whole host: systemd is PID 1, machined keeps the machines, vmward is
//! installed as shipped and started by systemd. `cargo xtask test --full` runs
//! these in a VM of `--host systemd`, which reboots in between: `rebooted` is
//! tried at the second boot, what stands beside it at the first.

mod deputy;
mod going_down;
mod rebooted;
mod units;

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use vmward_tests::audit::AuditLog;
use vmward_tests::guest::{Guest, run, text, virsh};
use vmward_tests::wait;

/// Everything that systemd does on behalf of others takes seconds under emulation.
const SOON: Duration = Duration::from_mins(2);
const AUDIT: &str = "/var/log/vmward/audit.jsonl";

/// Only `xtask vm --host systemd` sets it so.
#[track_caller]
fn assert_on_host() {
    let host = std::env::var("VMWARD_VM_HOST").unwrap_or_default();
    assert_eq!(
        host, "systemd",
        "this test needs a host run by systemd: cargo xtask test --full"
    );
}

fn audit() -> AuditLog {
    AuditLog::at(Path::new(AUDIT))
}

#[track_caller]
fn systemctl(args: &[&str]) -> std::process::Output {
    run("systemctl", args)
}

/// One property of a unit.
#[track_caller]
fn property(unit: &str, name: &str) -> String {
    let output = systemctl(&["show", "--value", "-p", name, unit]);
    text(&output).trim().to_owned()
}

#[track_caller]
fn status() -> Value {
    let output = run("vmward", &["status", "--json"]);
    assert!(output.status.success(), "{}", text(&output));
    serde_json::from_slice(&output.stdout).expect("status --json prints JSON")
}

#[track_caller]
fn wait_protected(name: &str) {
    wait::until(&format!("{name} to be protected"), SOON, || {
        let output = run("vmward", &["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        let vms = status["vms"].as_array()?;
        let it = |vm: &Value| vm["name"] == name && vm["protected"] == true;
        vms.iter().any(it).then_some(())
    });
}

/// A guest under protection of the installed daemon. Dropping it ends it with a
/// lease.
struct Guarded {
    guest: Guest,
}

impl Guarded {
    #[track_caller]
    fn start(name: &str) -> Self {
        assert_on_host();
        let guest = Guest::start(name);
        wait_protected(name);
        Self { guest }
    }

    /// The scope that machined made for it.
    #[track_caller]
    fn scope(&self) -> String {
        let path = format!("/proc/{}/cgroup", self.guest.pid());
        let cgroup = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let scope = cgroup.split('/').find(|part| {
            let extension = Path::new(part).extension();
            extension.is_some_and(|extension| extension == "scope")
        });
        scope.expect("it is in a scope").to_owned()
    }

    /// machined's name for it.
    #[track_caller]
    fn machine(&self) -> String {
        let id = text(&virsh(&["domid", &self.guest.name]));
        format!("qemu-{}-{}", id.trim(), self.guest.name)
    }

    /// Its cgroup's control file.
    #[track_caller]
    fn control(&self, file: &str) -> String {
        let path = format!("/sys/fs/cgroup/machine.slice/{}/{file}", self.scope());
        let value = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        value.trim().to_owned()
    }

    /// The guest runs, libvirt, QEMU and machined agree, and its scope is there.
    #[track_caller]
    fn assert_in_order(&self, after: &str) {
        self.guest.assert_ticks();
        assert_eq!(self.guest.state(), "running", "after {after}");
        let control = text(&virsh(&["domcontrol", &self.guest.name]));
        assert!(control.contains("ok"), "after {after}: {control}");
        let query = r#"{"execute":"query-status"}"#;
        let answer = text(&virsh(&["qemu-monitor-command", &self.guest.name, query]));
        assert!(answer.contains("\"running\""), "after {after}: {answer}");
        let machines = text(&run("machinectl", &["list", "--no-legend"]));
        assert!(
            machines.contains(&self.machine()),
            "after {after}: {machines}"
        );
        let active = property(&self.scope(), "ActiveState");
        assert_eq!(active, "active", "after {after}");
    }

    /// Asks libvirt for something with a lease for `effect`.
    #[track_caller]
    fn leased(&self, effect: &str, order: &str) -> std::process::Output {
        let name = self.guest.name.as_str();
        let words = ["run", "--effect", effect, "--reason", "test", "--vm", name];
        let virsh = ["--", "virsh", "-c", "qemu:///system", order, name];
        run("vmward", &[&words[..], &virsh[..]].concat())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if std::thread::panicking() || self.guest.state() != "running" {
            return;
        }
        let output = self.leased("force_stop", "destroy");
        assert!(output.status.success(), "{}", text(&output));
    }
}
