//! The host as the demo sees it: its domains, its programs, its audit log.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use vmward_tests::audit::AuditLog;
pub(crate) use vmward_tests::guest::lives;
use vmward_tests::guest::{run, text, virsh};

use crate::transcript::round;

/// Where the VM keeps what its guests print.
const SERIAL_DIR: &str = "/var/lib/vmward-guests";
/// How many ticks more show that a guest makes progress.
const TICKS: usize = 3;
/// How long a guest may take for them; a tick takes 0.2 s on an idle machine.
const TICK_LIMIT: Duration = Duration::from_secs(30);
/// How long the audit may lag behind; emulated hosts are slow.
const AUDIT_LIMIT: Duration = Duration::from_secs(15);

/// A command that ran to its end.
#[derive(Debug)]
pub(crate) struct Ran {
    /// As it is shown to the reader.
    pub(crate) shown: String,
    /// Its exit status; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    /// All that it printed.
    pub(crate) said: String,
    /// How long it took.
    pub(crate) seconds: f64,
}

/// Runs a command and takes everything down.
pub(crate) fn ran(shown: &str, program: &str, args: &[&str]) -> Ran {
    let start = Instant::now();
    let output = run(program, args);
    Ran {
        shown: shown.to_owned(),
        code: output.status.code(),
        said: text(&output).trim().to_owned(),
        seconds: round(start.elapsed().as_secs_f64()),
    }
}

/// The one line that a program prints, where it succeeds.
pub(crate) fn line_of(program: &str, args: &[&str]) -> Result<String> {
    let output = run(program, args);
    succeeded(program, &output)?;
    Ok(text(&output).trim().to_owned())
}

/// The JSON that a program prints, whatever its exit status.
pub(crate) fn json_of(program: &str, args: &[&str]) -> Result<Value> {
    let output = run(program, args);
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{program} {args:?} printed no JSON: {}", text(&output)))
}

fn succeeded(program: &str, output: &Output) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    bail!(
        "{program} failed ({}): {}",
        output.status,
        text(output).trim()
    )
}

/// The QEMU process of a domain.
pub(crate) fn pid(name: &str) -> Result<i32> {
    pid_file(&format!("/run/libvirt/qemu/{name}.pid"))
}

/// The process of a system service.
pub(crate) fn daemon_pid(name: &str) -> Result<i32> {
    pid_file(&format!("/run/{name}.pid"))
}

fn pid_file(path: &str) -> Result<i32> {
    let text = fs::read_to_string(path).with_context(|| format!("Failed to read {path}"))?;
    text.trim()
        .parse()
        .with_context(|| format!("{path} holds no process id"))
}

/// The thread of a QEMU process that runs its virtual CPU.
pub(crate) fn vcpu_thread(pid: i32) -> Result<i32> {
    let folder = format!("/proc/{pid}/task");
    let threads = fs::read_dir(&folder).with_context(|| format!("Failed to read {folder}"))?;
    let mut ids = threads.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    ids.find(|tid| {
        fs::read_to_string(format!("{folder}/{tid}/comm"))
            .is_ok_and(|comm| comm.starts_with("CPU "))
    })
    .with_context(|| format!("no thread of process {pid} is a virtual CPU"))
}

/// The names of the running domains, sorted by number.
pub(crate) fn running() -> Result<Vec<String>> {
    let output = virsh(&["list", "--name"]);
    succeeded("virsh list", &output)?;
    let mut names: Vec<_> = text(&output)
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    names.sort_by_key(|name| (name.len(), name.clone()));
    Ok(names)
}

/// libvirt's word for the state of a domain.
pub(crate) fn state(name: &str) -> String {
    text(&virsh(&["domstate", name])).trim().to_owned()
}

/// How many signs of life a guest has printed on its serial line.
pub(crate) fn ticks(name: &str) -> Result<usize> {
    let path = Path::new(SERIAL_DIR).join(format!("{name}.serial"));
    let bytes = fs::read(&path).with_context(|| format!("Failed to read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).matches('.').count())
}

/// The guest's ticks before and after it has ticked on; the two differ by less
/// than three when it did not within half a minute.
pub(crate) fn ticks_on(name: &str) -> Result<(usize, usize)> {
    let before = ticks(name)?;
    let after = wait(TICK_LIMIT, || {
        ticks(name).ok().filter(|now| *now >= before + TICKS)
    });
    Ok((before, after.map_or_else(|| ticks(name), Ok)?))
}

/// True when such a pair shows progress.
pub(crate) fn progress((before, after): (usize, usize)) -> bool {
    after >= before + TICKS
}

/// The daemon's audit log.
pub(crate) fn audit() -> AuditLog {
    AuditLog::at(Path::new(vmward_wire::AUDIT_LOG))
}

/// The records that match, once there are `count` of them, or what there is at
/// the deadline.
pub(crate) fn records(count: usize, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
    let log = audit();
    wait(AUDIT_LIMIT, || {
        Some(log.select(&wanted)).filter(|found| found.len() >= count)
    })
    .unwrap_or_else(|| log.select(&wanted))
}

/// Looks until `state` gives something; `None` at the deadline.
pub(crate) fn wait<T>(limit: Duration, mut state: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        let found = state();
        if found.is_some() || Instant::now() >= end {
            return found;
        }
        pause();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one pause of the loop that waits for a state"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(50));
}
