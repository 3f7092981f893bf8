//! The program that asks libvirt, as this daemon's child.
//!
//! It ends when its input does, so it does not outlive this process, however
//! that ends. Its environment is empty but for what the log needs.

use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use vmward_core::ids::Process;

use super::lines::Broken;
use crate::process::identify;

/// What is handed on of this process's environment: what is logged, and where.
const ENV_KEPT: [&str; 2] = ["VMWARD_LOG", "JOURNAL_STREAM"];

/// The running program. It is ended when this is dropped.
#[derive(Debug)]
pub(super) struct Child {
    process: std::process::Child,
    /// Nothing is written into it: its end is the program's.
    _input: Option<ChildStdin>,
}

impl Child {
    /// Starts it; what it writes can be read. An error says why that cannot be,
    /// and what to do.
    pub(super) fn start(program: &Path, uri: &str) -> Result<(Child, ChildStdout), String> {
        let kept = ENV_KEPT
            .iter()
            .filter_map(|name| Some((name, std::env::var_os(name)?)));
        let mut process = Command::new(program)
            .args(["--uri", uri])
            .env_clear()
            .envs(kept)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|error| {
                format!(
                    "{} cannot be started: {error}; install it beside vmwardd",
                    program.display()
                )
            })?;
        let input = process.stdin.take();
        let output = process.stdout.take();
        let child = Child {
            process,
            _input: input,
        };
        let output = output.ok_or("vmward-inventory has no output")?;
        Ok((child, output))
    }

    fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Which process it is. It has that number until it was waited for.
    pub(super) fn process(&self) -> Result<Process, String> {
        let pid = self.pid();
        identify(pid).ok_or_else(|| format!("vmward-inventory (process {pid}) is not in /proc"))
    }

    /// Ends it, where it has not ended by itself, and says why it is over.
    pub(super) fn end(&mut self, broken: Broken) -> String {
        let pid = self.pid();
        let status = self.kill();
        match broken {
            Broken::Closed => match status {
                Ok(status) => format!("vmward-inventory (process {pid}) ended: {status}"),
                Err(error) => format!("vmward-inventory (process {pid}) is lost: {error}"),
            },
            Broken::Silent(limit) => format!(
                "vmward-inventory (process {pid}) said nothing for {} s and was ended",
                limit.as_secs()
            ),
            Broken::Rubbish(what) => format!(
                "vmward-inventory (process {pid}) was ended, because it wrote what it should \
                 not: {what}"
            ),
            Broken::Pipe(error) => {
                format!("vmward-inventory (process {pid}) cannot be read: {error}")
            }
            Broken::Stopped => format!("vmward-inventory (process {pid}) was ended by the daemon"),
        }
    }

    /// Its exit status; one that ended by itself keeps its own.
    fn kill(&mut self) -> std::io::Result<ExitStatus> {
        self.process.kill()?;
        self.process.wait()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            tracing::warn!(%error, "vmward-inventory cannot be ended");
        }
    }
}
