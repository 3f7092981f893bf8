//! The proof, before READY, that the hooks refuse on this very kernel.
//!
//! A canary process is put under protection and attacked. Every finding is
//! collected, so that a failure says all that is wrong at once. What the
//! canary causes in the event ring must be there too: a hook that refuses but
//! does not report is not trusted either.

mod control_files;
mod events;
mod host;
mod monitor;
mod own;
mod process;
mod rpc;
mod sched;
mod sigio;
mod tampering;

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use vmward_abi::effect;
use vmward_core::ids::Process;

use self::process::Canary;
use super::{Actor, CANARY_UUID, Kernel, KernelError, LeaseRow, Protected};
use crate::{executable, notify};

/// More than any libvirt lease; unused ids of this test stay out of the way of
/// decisions, which count from 1.
const LEASE_ID: u64 = u64::MAX;

const SHUTDOWN: &str = r#"{"timestamp": {"seconds": 1700000000, "microseconds": 7}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}"#;
const RESUME: &str =
    r#"{"timestamp": {"seconds": 1700000000, "microseconds": 700000}, "event": "RESUME"}"#;
/// What QEMU would echo of a name that somebody made up: no announcement.
const ECHO: &str = r#"{"error": {"class": "CommandNotFound", "desc": "The command {\"timestamp\": {\"seconds\": 1, \"microseconds\": 1}, \"event\": \"SHUTDOWN\"} has not been found"}}"#;

/// The attacks of one family of hooks. None of them may end the canary; each
/// tells [`Findings`] how many events it must have caused.
type Family = fn(&mut Kernel, &mut Canary, &mut Findings) -> Result<(), KernelError>;

/// Every family beside the signals and what the canary says on its monitor.
const FAMILIES: &[(&str, Family)] = &[
    ("calls to libvirt", rpc::attack),
    ("tampering", tampering::attack),
    ("scheduling", sched::attack),
    ("events on files", sigio::attack),
    ("control files", control_files::attack),
    ("the monitor", monitor::attack),
    ("the host", host::attack),
    ("vmward itself", own::attack),
];

/// Plays it once more where something was found wrong: a host that has just started
/// may have been in the way, and a daemon that gives up leaves its VMs without walls.
pub(super) fn run(kernel: &mut Kernel, run_dir: &Path) -> Result<(), KernelError> {
    let mut found = findings(kernel, run_dir)?;
    if !found.is_empty() {
        tracing::warn!(
            findings = found.join("; "),
            "the self-test failed, and is played once more"
        );
        found = findings(kernel, run_dir)?;
    }
    if found.is_empty() {
        return Ok(());
    }
    Err(KernelError::SelfTest {
        findings: found.join("; "),
    })
}

fn findings(kernel: &mut Kernel, run_dir: &Path) -> Result<Vec<String>, KernelError> {
    let lost = kernel.totals()?.lost;
    let mut findings = play(kernel, run_dir)?;
    // Where somebody floods the ring, the canary's events may find no room; the
    // count, which is checked in any case, then stands for them.
    if kernel.totals()?.lost == lost {
        findings.extend(events::check(kernel)?);
    }
    Ok(findings)
}

/// One canary, from its start to its end; gives what was found wrong.
fn play(kernel: &mut Kernel, run_dir: &Path) -> Result<Vec<String>, KernelError> {
    // What waits since the former daemon ended makes room for what the canary
    // causes.
    if let Some(reader) = kernel.reader.as_mut() {
        reader.keep_all();
    }
    let mut canary = Canary::start(run_dir)?;
    let vm = canary.process;
    kernel.protect(&Protected {
        uuid: CANARY_UUID,
        process: vm,
        observe: false,
        disarmed_until_s: 0,
        deputy_pid: 0,
    })?;
    let result = attack(kernel, &mut canary);
    // Whatever came out, the canary must not outlive its test.
    kernel.unprotect(vm)?;
    canary.end();
    result
}

/// Attacks, in an order in which only the last one may end the canary.
fn attack(kernel: &mut Kernel, canary: &mut Canary) -> Result<Vec<String>, KernelError> {
    let mut findings = Findings::default();
    let vm = canary.process;
    let pid = vm.pid;
    findings.allowed("signal 0", send(pid, 0));
    findings.allowed("SIGCONT", send(pid, libc::SIGCONT));
    for signal in [libc::SIGTERM, libc::SIGKILL, libc::SIGSTOP, libc::SIGUSR2] {
        findings.refused(&format!("kill with signal {signal}"), send(pid, signal));
    }
    findings.refused("tgkill of a thread", send_thread(pid, canary.thread));
    findings.refused("pidfd_send_signal", send_pidfd(pid));

    let me = own_process()?;
    let lease = |effects, deadline_ns| LeaseRow {
        id: LEASE_ID,
        vm,
        holder: me,
        effects,
        deadline_ns,
        executing: false,
    };
    kernel.put_lease(&lease(effect::PAUSE, u64::MAX))?;
    findings.refused(
        "kill with a lease for another effect",
        send(pid, libc::SIGKILL),
    );
    findings.allowed("the pause that a lease covers", send(pid, libc::SIGSTOP));
    findings.caused(1);
    findings.allowed("SIGCONT after it", send(pid, libc::SIGCONT));
    findings.refused(
        "a second pause with the same lease",
        send(pid, libc::SIGSTOP),
    );
    kernel.put_lease(&lease(effect::FORCE_STOP, 1))?;
    findings.refused("kill with an expired lease", send(pid, libc::SIGKILL));
    let stranger = Process {
        pid: me.pid,
        start_ticks: me.start_ticks.wrapping_add(1),
    };
    kernel.put_lease(&LeaseRow {
        holder: stranger,
        ..lease(effect::FORCE_STOP, u64::MAX)
    })?;
    findings.refused("kill with another's lease", send(pid, libc::SIGKILL));
    kernel.remove_lease(vm, LEASE_ID)?;

    host_rule(kernel, pid, &mut findings)?;
    families(kernel, canary, &mut findings)?;
    canary.tell("xfsz")?;
    findings.caused(1);
    canary.tell(&format!("say {ECHO}"))?;
    findings.refused(
        "kill after an echo on the monitor",
        send(pid, libc::SIGTERM),
    );
    canary.tell(&format!("say {SHUTDOWN}"))?;
    canary.tell(&format!("say {RESUME}"))?;
    findings.caused(2);
    findings.refused("kill after the guest ran again", send(pid, libc::SIGTERM));
    canary.tell(&format!("say {SHUTDOWN}"))?;
    findings.caused(1);
    findings.counted(kernel, vm, "the guest's words")?;
    findings.allowed(
        "the finishing kill of a guest that is over",
        send(pid, libc::SIGKILL),
    );
    if findings.wrong.is_empty() {
        canary.child.wait().map_err(failed("wait for the canary"))?;
    }
    Ok(findings.wrong)
}

fn families(
    kernel: &mut Kernel,
    canary: &mut Canary,
    findings: &mut Findings,
) -> Result<(), KernelError> {
    for (name, family) in FAMILIES {
        notify::starting();
        family(kernel, canary, findings)?;
        findings.counted(kernel, canary.process, name)?;
    }
    Ok(())
}

/// A host rule is for the executable that it names, and as often as it says.
fn host_rule(kernel: &mut Kernel, pid: u32, findings: &mut Findings) -> Result<(), KernelError> {
    let own =
        executable::own().map_err(|e| failed("find this program's file")(io::Error::other(e)))?;
    let Actor::Exe { dev, inode } = own else {
        return Ok(());
    };
    let other = Actor::Exe {
        dev: dev.wrapping_add(1),
        inode,
    };
    kernel.host.begin_self_test(other, 1)?;
    findings.refused(
        "a pause with another program's host rule",
        send(pid, libc::SIGSTOP),
    );
    kernel.host.end_self_test(other)?;
    kernel.host.begin_self_test(own, 1)?;
    findings.allowed("the pause of a host rule", send(pid, libc::SIGSTOP));
    findings.caused(1);
    findings.allowed("SIGCONT after it", send(pid, libc::SIGCONT));
    findings.refused(
        "a pause with a host rule that is used up",
        send(pid, libc::SIGSTOP),
    );
    kernel.host.end_self_test(own)
}

/// What was found wrong, and how many events the canary must have caused.
#[derive(Default)]
struct Findings {
    wrong: Vec<String>,
    events: u64,
}

impl Findings {
    /// Refused, and reported with one event.
    fn refused(&mut self, what: &str, result: Result<(), Errno>) {
        self.events += 1;
        if result != Err(Errno::EPERM) {
            self.wrong
                .push(format!("{what} was not refused ({result:?})"));
        }
    }

    /// Refused, and reported as about the host.
    fn refused_host(&mut self, what: &str, result: Result<(), Errno>) {
        self.refused(what, result);
        self.events -= 1;
    }

    /// It was sent, and reads so in the sender's memory.
    fn sent(&mut self, what: &str, result: &Result<String, Errno>, expected: &str) {
        match result {
            Ok(text) if text == expected => {}
            other => self.wrong.push(format!("{what} became {other:?}")),
        }
    }

    /// So many events came of what was allowed.
    fn caused(&mut self, events: u64) {
        self.events += events;
    }

    /// The programs count events even when the ring is full. What was refused and
    /// left none was refused by something else: a right that this service lacks,
    /// another security module.
    fn counted(&mut self, kernel: &Kernel, vm: Process, after: &str) -> Result<(), KernelError> {
        let canary = kernel.protected()?;
        let canary = canary.iter().find(|state| state.protected.process == vm);
        let events = canary.map_or(0, |state| state.events);
        if events != self.events {
            let expected = self.events;
            self.wrong.push(format!(
                "the kernel made {events} events of {expected}, up to and with {after}"
            ));
            // Told once.
            self.events = events;
        }
        Ok(())
    }

    fn allowed(&mut self, what: &str, result: Result<(), Errno>) {
        if let Err(e) = result {
            self.wrong.push(format!("{what} was refused ({e})"));
        }
    }
}

/// Plain system calls: the signals are numbers here, and 0 is one of them.
#[expect(unsafe_code, reason = "raw system calls")]
fn syscall(number: libc::c_long, args: [libc::c_long; 4]) -> Result<libc::c_long, Errno> {
    // SAFETY: kill, tgkill, pidfd_open and pidfd_send_signal with a null
    // siginfo take integers and touch no memory of ours.
    let result = unsafe { libc::syscall(number, args[0], args[1], args[2], args[3]) };
    Errno::result(result)
}

fn send(pid: u32, signal: i32) -> Result<(), Errno> {
    syscall(libc::SYS_kill, [pid.into(), signal.into(), 0, 0]).map(drop)
}

fn send_thread(pid: u32, tid: u32) -> Result<(), Errno> {
    syscall(
        libc::SYS_tgkill,
        [pid.into(), tid.into(), libc::SIGKILL.into(), 0],
    )
    .map(drop)
}

#[expect(unsafe_code, reason = "taking ownership of a new descriptor")]
fn send_pidfd(pid: u32) -> Result<(), Errno> {
    let fd = syscall(libc::SYS_pidfd_open, [pid.into(), 0, 0, 0])?;
    let fd = i32::try_from(fd).unwrap_or(-1);
    // SAFETY: pidfd_open just gave it, and nobody else has it.
    let _open = unsafe { OwnedFd::from_raw_fd(fd) };
    syscall(
        libc::SYS_pidfd_send_signal,
        [fd.into(), libc::SIGKILL.into(), 0, 0],
    )
    .map(drop)
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> KernelError {
    move |source| KernelError::Canary { what, source }
}

fn process_of(pid: u32) -> Result<Process, KernelError> {
    crate::process::identify(pid)
        .ok_or_else(|| failed("read the start time of a process")(io::ErrorKind::NotFound.into()))
}

pub(super) fn own_process() -> Result<Process, KernelError> {
    process_of(std::process::id())
}
