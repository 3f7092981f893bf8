//! What holds after every case, whatever it did: libvirt knows every QEMU that
//! runs, no domain is wedged, every end has its record, and no event is missing.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use vmward_tests::daemon::Daemon;
use vmward_tests::guest::{run, text};
use vmward_tests::wait;

/// The host's libvirt.
pub(super) const SYSTEM: &str = "qemu:///system";

const LIMIT: Duration = Duration::from_secs(30);

/// Looks at every domain of the libvirts at `uris` and at the audit log.
#[track_caller]
pub(super) fn assert_order(daemon: &Daemon, uris: &[&str], after: &str) {
    let mut left = Vec::new();
    wait::within(LIMIT, || {
        left = strays(uris);
        left.is_empty().then_some(())
    });
    assert!(
        left.is_empty(),
        "after {after}: QEMUs that libvirt calls shut off: {left:?}"
    );
    let mut wedged = Vec::new();
    wait::within(LIMIT, || {
        wedged = wedged_domains(uris);
        wedged.is_empty().then_some(())
    });
    assert!(wedged.is_empty(), "after {after}, wedged: {wedged:#?}");
    assert_deaths_are_recorded(daemon, after);
    let audit = daemon.audit();
    let losses = audit.select(|r| r["kind"] == "loss");
    assert!(losses.is_empty(), "after {after}: {losses:#?}");
    assert_eq!(daemon.status()["kernel"]["events_lost"], 0, "after {after}");
    audit.verify();
}

/// The names of the QEMUs that run and that no libvirt knows as active.
fn strays(uris: &[&str]) -> Vec<String> {
    let known: BTreeSet<String> = uris.iter().flat_map(|uri| active(uri)).collect();
    let mut running = qemus();
    running.retain(|name| !known.contains(name));
    running
}

/// The domains that a libvirt calls active.
fn active(uri: &str) -> Vec<String> {
    let output = run("virsh", &["-c", uri, "list", "--name"]);
    assert!(output.status.success(), "{}", text(&output));
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    let names = names.lines().map(str::trim).filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

/// The domains of all QEMU processes, by their command lines. A process that has
/// ended and was not waited for has none.
fn qemus() -> Vec<String> {
    let all = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    all.filter_map(|entry| {
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).into_owned();
        let mut words = line.split('\0');
        words
            .next()
            .filter(|program| program.contains("qemu-system"))?;
        let name = words.find_map(|word| word.strip_prefix("guest="))?;
        Some(name.split(',').next().unwrap_or(name).to_owned())
    })
    .collect()
}

/// What is said of each domain with which libvirt and QEMU do not speak, or
/// which does not come to its end.
fn wedged_domains(uris: &[&str]) -> Vec<String> {
    let look = |uri: &&str| {
        let of = |name: String| {
            let script = format!(
                "domstate {name}; domcontrol {name}; qemu-monitor-command {name} \
                 '{{\"execute\":\"query-status\"}}'"
            );
            let said = text(&run("virsh", &["-c", uri, &script]));
            let well = said.contains("\"status\":")
                && said.lines().any(|line| line.starts_with("ok"))
                && !said.contains("in shutdown");
            (!well).then(|| format!("{name}: {said}"))
        };
        active(uri).into_iter().filter_map(of).collect::<Vec<_>>()
    };
    uris.iter().flat_map(look).collect()
}

/// Each VM that was protected and is gone has one record of its end, and each
/// that runs has none.
#[track_caller]
fn assert_deaths_are_recorded(daemon: &Daemon, after: &str) {
    let audit = daemon.audit();
    let pids = |event: &str| -> Vec<u64> {
        let records = audit.select(|r| r["kind"] == "vm" && r["event"] == event);
        records.iter().filter_map(|r| r["pid"].as_u64()).collect()
    };
    let mut dead = Vec::new();
    let mut ended = Vec::new();
    let equal = wait::within(LIMIT, || {
        let protected: BTreeSet<u64> = pids("protected").into_iter().collect();
        dead = protected.into_iter().filter(|pid| is_dead(*pid)).collect();
        ended = pids("ended");
        ended.sort_unstable();
        (ended == dead).then_some(())
    });
    assert!(
        equal.is_some(),
        "after {after}: dead VMs {dead:?}, records of ends {ended:?}"
    );
}

fn is_dead(pid: u64) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).map_or(true, |line| line.is_empty())
}
