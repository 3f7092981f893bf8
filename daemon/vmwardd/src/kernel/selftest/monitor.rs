//! The canary's monitor: strangers, and what libvirt may say there.

use std::io::Write;
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use vmward_abi::{MonitorRow, effect, monitor_kind, monitor_mode};

use super::process::Canary;
use super::{Findings, LEASE_ID, failed, own_process};
use crate::kernel::canary::MONITOR;
use crate::kernel::{Kernel, KernelError, LeaseRow, monitor};

const QUESTION: &str = r#"{"execute":"query-status","id":"libvirt-1"}"#;
const QUIT: &str = r#"{"execute":"quit","id":"libvirt-1"}"#;
const QUIT_SPOILT: &str = r#"{"execute":"deni","id":"libvirt-1"}"#;
const LATE: &str = r#"{"arguments":{},"execute":"quit"}"#;
const LATE_SPOILT: &str = r#"{"deguments":{},"execute":"quit"}"#;
const STOP: &str = r#"{"execute":"stop","id":"libvirt-1"}"#;

pub(super) fn attack(
    kernel: &mut Kernel,
    canary: &mut Canary,
    findings: &mut Findings,
) -> Result<(), KernelError> {
    let vm = canary.process;
    let path = canary.dir().join(MONITOR);
    let Some(key) = monitor::file_key(&path) else {
        return Err(failed("find the canary's monitor")(
            std::io::ErrorKind::NotFound.into(),
        ));
    };
    let row = MonitorRow {
        vm_start_ticks: vm.start_ticks,
        vm_tgid: vm.pid,
        kind: monitor_kind::QMP,
    };
    kernel.monitors.put(key, row)?;
    findings.refused(
        "a stranger's connection to the monitor",
        UnixStream::connect(&path)
            .map(drop)
            .map_err(|error| errno(&error)),
    );
    findings.refused(
        "a stranger's word on the monitor",
        say(canary, QUESTION).map(drop),
    );

    let me = own_process()?;
    kernel.monitors.set_libvirt(me, true)?;
    let rewrites = monitor::mode() == monitor_mode::REWRITE;
    let mut order = |what: &str, text: &str, expected: &str, events| {
        findings.caused(events);
        findings.sent(what, &say(canary, text), expected);
    };
    order("libvirt's question", QUESTION, QUESTION, 0);
    let spoilt = |spoilt, whole| if rewrites { spoilt } else { whole };
    order(
        "libvirt's order to quit",
        QUIT,
        spoilt(QUIT_SPOILT, QUIT),
        1,
    );
    order(
        "an order of another form",
        LATE,
        spoilt(LATE_SPOILT, LATE),
        1,
    );
    kernel.put_lease(&LeaseRow {
        id: LEASE_ID,
        vm,
        holder: me,
        effects: effect::PAUSE,
        deadline_ns: u64::MAX,
        executing: false,
    })?;
    order("the pause that a lease covers", STOP, STOP, 1);
    kernel.remove_lease(vm, LEASE_ID)?;
    kernel.monitors.set_libvirt(me, false)
}

/// Sends `text`, and gives what became of it in this process's memory.
fn say(canary: &Canary, text: &str) -> Result<String, Errno> {
    let mut bytes = text.as_bytes().to_vec();
    // The kernel may change what it is given to read.
    let sent = canary
        .monitor()
        .write(std::hint::black_box(bytes.as_mut_slice()));
    sent.map_err(|error| errno(&error))?;
    Ok(String::from_utf8_lossy(std::hint::black_box(&bytes)).into_owned())
}

fn errno(error: &std::io::Error) -> Errno {
    error
        .raw_os_error()
        .map_or(Errno::UnknownErrno, Errno::from_raw)
}
