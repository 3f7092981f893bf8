//! The canary's process, as the self-test holds it.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use nix::errno::Errno;
use vmward_core::ids::Process;

use super::{failed, process_of};
use crate::kernel::KernelError;
use crate::kernel::canary::MONITOR;

/// The running canary.
pub(super) struct Canary {
    pub(super) child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    pub(super) process: Process,
    /// A thread of it that is not its first.
    pub(super) thread: u32,
    /// Its folder.
    pub(super) dir: PathBuf,
    /// Held open: the canary's peer is this daemon.
    monitor: UnixStream,
}

impl Canary {
    /// In a folder of its own below `run_dir`: the one place that a confined
    /// daemon may write to and that is gone after a reboot.
    pub(super) fn start(run_dir: &Path) -> Result<Self, KernelError> {
        let dir = run_dir.join(format!("canary-{}", std::process::id()));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&dir)
            .map_err(failed("create a folder"))?;
        Self::start_in(&dir).inspect_err(|_| remove_dir(&dir))
    }

    fn start_in(dir: &Path) -> Result<Self, KernelError> {
        let mut child = Command::new("/proc/self/exe")
            .arg("--canary")
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed("start the canary"))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed("talk to the canary")(
                io::ErrorKind::BrokenPipe.into(),
            ));
        };
        let mut output = BufReader::new(output);
        let mut line = String::new();
        output
            .read_line(&mut line)
            .map_err(failed("hear from the canary"))?;
        let thread = line
            .trim()
            .strip_prefix("ready ")
            .and_then(|tid| tid.parse().ok())
            .ok_or_else(|| failed("hear from the canary")(io::Error::other(line.clone())))?;
        let monitor = UnixStream::connect(dir.join(MONITOR))
            .map_err(failed("connect to the canary's monitor"))?;
        let process = process_of(child.id())?;
        let dir = dir.to_owned();
        Ok(Self {
            child,
            input,
            output,
            process,
            thread,
            dir,
            monitor,
        })
    }

    /// This daemon's end of the canary's monitor.
    pub(super) fn monitor(&self) -> &UnixStream {
        &self.monitor
    }

    /// Its folder.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Gives an order and waits until it is done.
    pub(super) fn tell(&mut self, order: &str) -> Result<(), KernelError> {
        writeln!(self.input, "{order}").map_err(failed("talk to the canary"))?;
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .map_err(failed("hear from the canary"))?;
        if line.trim() == "done" {
            return Ok(());
        }
        Err(failed("hear from the canary")(io::Error::other(format!(
            "{order}: {line:?}"
        ))))
    }

    /// Has it try something; gives what the kernel said.
    pub(super) fn ask(&mut self, order: &str) -> Result<Result<(), Errno>, KernelError> {
        writeln!(self.input, "{order}").map_err(failed("talk to the canary"))?;
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .map_err(failed("hear from the canary"))?;
        let number = line.trim().strip_prefix("tried ");
        match number.and_then(|number| number.parse().ok()) {
            Some(0) => Ok(Ok(())),
            Some(number) => Ok(Err(Errno::from_raw(number))),
            None => Err(failed("hear from the canary")(io::Error::other(format!(
                "{order}: {line:?}"
            )))),
        }
    }

    /// Not protected any more: its end cannot be refused.
    pub(super) fn end(mut self) {
        // An error here means that it has ended already.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
        remove_dir(&self.dir);
    }
}

fn remove_dir(dir: &Path) {
    if let Err(error) = fs::remove_dir_all(dir) {
        tracing::warn!(dir = %dir.display(), %error, "cannot remove the self-test's folder");
    }
}
