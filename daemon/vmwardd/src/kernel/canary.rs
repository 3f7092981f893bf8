//! The self-test's victim: a process that plays a VM.
//!
//! `vmwardd --canary DIR` is started by the daemon itself and does what it is
//! told on its standard input, one word a line: `say TEXT` sends TEXT on its
//! monitor, `enter FOLDER` moves to a cgroup, `xfsz` makes the kernel send it a signal. It ends with its input.

use std::io::{self, BufRead, IoSlice, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc;
use std::{fs, thread};

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::socket::{MsgFlags, sendmsg};

/// Name of the monitor socket in the canary's folder: as libvirt names it.
pub(super) const MONITOR: &str = "monitor.sock";

/// Runs until the input ends.
pub fn run(dir: &Path) -> ExitCode {
    match play(dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            // Nobody else reads this: the daemon shows it when the test fails.
            let _gone = writeln!(io::stderr(), "canary: {e}");
            ExitCode::FAILURE
        }
    }
}

fn play(dir: &Path) -> io::Result<()> {
    let listener = UnixListener::bind(dir.join(MONITOR))?;
    // A second thread to attack: a VM's vCPUs are threads.
    let (tid, got) = mpsc::channel();
    thread::spawn(move || {
        let sent = tid.send(nix::unistd::gettid());
        while sent.is_ok() {
            thread::park();
        }
    });
    let tid = got.recv().map_err(io::Error::other)?;
    let mut out = io::stdout();
    writeln!(out, "ready {tid}")?;
    out.flush()?;
    let (monitor, _) = listener.accept()?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        match line.split_once(' ') {
            Some(("say", text)) => say(&monitor, text)?,
            Some(("enter", cgroup)) => enter(Path::new(cgroup))?,
            _ if line == "xfsz" => provoke_kernel_signal(dir)?,
            _ => return Err(io::Error::other(format!("unknown word {line:?}"))),
        }
        writeln!(out, "done")?;
        out.flush()?;
    }
    Ok(())
}

/// Moves to a cgroup, given by its folder.
fn enter(cgroup: &Path) -> io::Result<()> {
    fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string())
}

/// As QEMU sends: one sendmsg a line.
fn say(monitor: &UnixStream, text: &str) -> io::Result<()> {
    let line = format!("{text}\r\n");
    let parts = [IoSlice::new(line.as_bytes())];
    sendmsg::<()>(monitor.as_raw_fd(), &parts, &[], MsgFlags::empty(), None)?;
    Ok(())
}

/// A write beyond the file size limit: the kernel sends SIGXFSZ, which is
/// ignored here, but seen.
#[expect(
    unsafe_code,
    reason = "changing a signal's disposition is unsafe in nix"
)]
fn provoke_kernel_signal(dir: &Path) -> io::Result<()> {
    // SAFETY: ignoring a signal runs no handler.
    unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }?;
    let mut file = fs::File::create(dir.join("xfsz"))?;
    setrlimit(Resource::RLIMIT_FSIZE, 0, 0)?;
    match file.write(b"x") {
        Err(e) if e.raw_os_error() == Some(libc::EFBIG) => Ok(()),
        other => Err(io::Error::other(format!(
            "the file size limit did not hold: {other:?}"
        ))),
    }
}
