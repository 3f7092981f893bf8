//! The attacks that no shell command makes, one system call or trick each.
//!
//! `vmward-attack FAMILY WHAT [ARGUMENT]...` does it, as whoever runs it. Status
//! 0: the kernel let it through; 1: it did not, and the error is on standard
//! error; 2: there is no such attack, or its arguments are wrong. Runs in the
//! test VM only.

mod audit;
mod bpf;
mod connections;
mod control_files;
mod disguise;
mod host;
mod monitor;
mod own;
mod perf;
mod rpc;
mod rpc_send;
mod sched;
mod sigio;
mod signals;
mod storage;
mod tampering;
mod udmabuf;
mod uring;

use std::io::{self, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::ExitCode;

/// Without it, nothing is attacked: only the test VM sets it.
const VM_MARK: &str = "VMWARD_VM_DIR";

/// Why an attack did not work.
pub(crate) enum Failed {
    /// The system refused.
    Refused(io::Error),
    /// There is no such attack, or its arguments are wrong.
    Usage(String),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Refused(error)
    }
}

impl From<nix::errno::Errno> for Failed {
    fn from(errno: nix::errno::Errno) -> Self {
        Self::Refused(errno.into())
    }
}

fn main() -> ExitCode {
    let all: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = all.iter().map(String::as_str).collect();
    let outcome = match words.split_first() {
        _ if std::env::var_os(VM_MARK).is_none() => {
            usage("this attacks VMs and the host; it runs in the test VM only")
        }
        Some((&"monitor", rest)) => monitor::run(rest),
        Some((&"connections", rest)) => connections::run(rest),
        Some((&"udmabuf", rest)) => udmabuf::run(rest),
        Some((&"disguise", rest)) => disguise::run(rest),
        Some((&"signals", rest)) => signals::run(rest),
        Some((&"rpc", rest)) => rpc::run(rest),
        Some((&"sigio", rest)) => sigio::run(rest),
        Some((&"tampering", rest)) => tampering::run(rest),
        Some((&"sched", rest)) => sched::run(rest),
        Some((&"control_files", rest)) => control_files::run(rest),
        Some((&"host", rest)) => host::run(rest),
        Some((&"own", rest)) => own::run(rest),
        Some((&"storage", rest)) => storage::run(rest),
        _ => usage("usage: vmward-attack FAMILY WHAT [ARGUMENT]..."),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed::Refused(error)) => tell(&format!("{}: {error}", words.join(" ")), 1),
        Err(Failed::Usage(what)) => tell(&what, 2),
    }
}

fn tell(what: &str, status: u8) -> ExitCode {
    // There is nobody else to tell.
    let _unheard = writeln!(io::stderr(), "{what}");
    ExitCode::from(status)
}

/// A descriptor that a raw system call has just given.
#[expect(unsafe_code, reason = "taking ownership of a new descriptor")]
pub(crate) fn own(fd: i64) -> io::Result<OwnedFd> {
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel just gave it, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// No such attack, or wrong arguments.
pub(crate) fn usage<T>(what: &str) -> Result<T, Failed> {
    Err(Failed::Usage(what.to_owned()))
}

/// The argument at `at`, as a number.
pub(crate) fn number<T: std::str::FromStr>(args: &[&str], at: usize) -> Result<T, Failed> {
    args.get(at)
        .and_then(|word| word.parse().ok())
        .map_or_else(|| usage(&format!("argument {at} must be a number")), Ok)
}
