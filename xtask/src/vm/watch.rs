//! A running VM: what goes on in it, how long that may take, and its last words.

use std::{
    fs,
    path::PathBuf,
    process::Child,
    time::{Duration, Instant},
};

use anyhow::{Context, Error, Result, bail};

use super::{Finished, Output, VmArgs, order, tail, tree};
use crate::wait;

/// From power-on to the first sign of `vm-init`; 12 s under emulation on an idle machine.
const BOOT_LIMIT: Duration = Duration::from_mins(8);
/// From there to the command; a dozen guests under nested emulation take a minute.
const READY_LIMIT: Duration = Duration::from_mins(10);
/// How long the VM may take to go after its exit status is known.
const END_LIMIT: Duration = Duration::from_secs(3);
/// How many of a log's last lines stand for it in an error.
const LAST_LINES: usize = 12;
/// What the kernel's own words about a fault begin with, after their time.
const FAULTS: &[&str] = &["BUG: ", "Oops: ", "kernel BUG at ", "Kernel panic"];

pub(super) struct Vm {
    child: Child,
    folder: PathBuf,
}

/// A run that did not come to the end of its command.
pub(super) struct Failure {
    /// Whether the first program of ours has run.
    pub(super) began: bool,
    pub(super) error: Error,
}

impl Vm {
    pub(super) fn new(child: Child, folder: PathBuf) -> Self {
        Self { child, folder }
    }

    /// Waits for the command's exit status, and sees the VM off.
    pub(super) fn run(mut self, args: &VmArgs) -> Result<Finished, Failure> {
        let outcome = self.watch(args);
        self.end();
        match outcome {
            Ok(code) => Ok(Finished {
                code,
                folder: self.folder,
            }),
            Err(error) => Err(Failure {
                began: self.read("phase").is_some(),
                error: error.context(self.evidence()),
            }),
        }
    }

    /// Passes the command's output on until its exit status is known.
    fn watch(&mut self, args: &VmArgs) -> Result<u8> {
        let start = Instant::now();
        let mut output = tail::Output::new(&self.folder);
        let mut phase = String::new();
        let mut running_since = None;
        loop {
            let ended = self.child.try_wait()?.is_some();
            // Read after the look at the process: what it wrote before its end is there now.
            let status = self.read("status");
            if args.output == Output::Passed {
                output.pump()?;
            }
            if let Some(code) = status {
                return code
                    .trim()
                    .parse()
                    .context("the VM left no number as exit status");
            }
            if let Some(error) = self.read("error") {
                bail!("{}", error.trim());
            }
            if ended {
                bail!("the VM ended without an exit status, {}", after(&phase));
            }
            let now = self.read("phase").unwrap_or_default();
            let now = now.lines().last().unwrap_or_default();
            if now != phase {
                now.clone_into(&mut phase);
                if args.verbose {
                    eprintln!("[{:6.1} s] vm: {phase}", start.elapsed().as_secs_f32());
                }
                if phase == order::PHASE_COMMAND {
                    running_since = Some(Instant::now());
                }
            }
            let (since, limit, what) = match running_since {
                Some(since) => (since, Duration::from_secs(args.timeout), "the command"),
                None if phase.is_empty() => (start, BOOT_LIMIT, "the kernel's boot"),
                None => (start, BOOT_LIMIT + READY_LIMIT, "bringing the VM up"),
            };
            if since.elapsed() > limit {
                bail!(
                    "no end of {what} after {} s, {}",
                    limit.as_secs(),
                    after(&phase)
                );
            }
            wait::pause();
        }
    }

    fn read(&self, name: &str) -> Option<String> {
        // Files appear by rename, so a present one is whole; `phase` only grows by lines.
        fs::read_to_string(self.folder.join(name)).ok()
    }

    /// Ends what is left of the VM.
    fn end(&mut self) {
        let gone = wait::until("the VM to power off", END_LIMIT, || {
            Ok(self.child.try_wait()?)
        });
        if gone.is_err() {
            tree::kill(self.child.id());
            if let Err(error) = self.child.wait() {
                eprintln!("the VM's process could not be waited for: {error}");
            }
        }
    }

    /// The last words of the VM, for the error.
    fn evidence(&self) -> String {
        let mut parts = vec![format!(
            "the VM failed; its logs are in {}",
            self.folder.display()
        )];
        for name in [
            "console.log",
            "init.log",
            "vmwardd.log",
            "libvirtd.log",
            "journal.log",
        ] {
            let Ok(log) = fs::read(self.folder.join(name)) else {
                continue;
            };
            let log = String::from_utf8_lossy(&log);
            let last = last_words(&log);
            if !last.is_empty() {
                parts.push(format!("--- {name}\n{}", last.join("\n")));
            }
        }
        parts.push("--- what went wrong".to_owned());
        parts.join("\n")
    }
}

fn after(phase: &str) -> String {
    if phase.is_empty() {
        "before anything ran in it".to_owned()
    } else {
        format!("while: {phase}")
    }
}

/// A log's last lines, and before them those in which the kernel began to tell of a fault.
fn last_words(log: &str) -> Vec<&str> {
    let lines: Vec<_> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail = lines.len().saturating_sub(LAST_LINES);
    let fault = lines
        .iter()
        .position(|line| {
            let said = line.split_once("] ").map_or(*line, |(_time, said)| said);
            FAULTS.iter().any(|fault| said.starts_with(fault))
        })
        .unwrap_or(tail)
        .min(tail);
    let told = lines
        .get(fault..tail.min(fault + LAST_LINES))
        .unwrap_or_default();
    [told, lines.get(tail..).unwrap_or_default()].concat()
}

#[cfg(test)]
mod tests {
    use super::last_words;

    #[test]
    fn a_fault_of_the_kernel_is_told_with_the_last_lines_of_its_log() {
        let noise = |name: &str| {
            let lines: Vec<_> = (0..40).map(|n| format!("[ 1.{n}] {name} {n}")).collect();
            lines.join("\n")
        };
        let log = format!(
            "{}\n[ 2.0] Oops: int3: 0000 [#1] SMP\n[ 2.1] RIP: somewhere\n{}",
            noise("early"),
            noise("late")
        );
        let words = last_words(&log);
        assert_eq!(words.first(), Some(&"[ 2.0] Oops: int3: 0000 [#1] SMP"));
        assert_eq!(words.get(1), Some(&"[ 2.1] RIP: somewhere"));
        assert_eq!(words.last(), Some(&"[ 1.39] late 39"));
        assert_eq!(words.len(), 24);

        let well = noise("well");
        assert_eq!(last_words(&well).len(), 12);
        assert_eq!(last_words("one\n\ntwo\n"), ["one", "two"]);
    }
}
