//! What became of each row: a line for machines at once, and all failures
//! together at the end.

use std::any::Any;
use std::fs;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vmward_tests::attacks::Attack;
use vmward_tests::attacks::host::lacks;
use vmward_tests::coverage::{Outcome, word};
use vmward_tests::guest::{run, text};

/// The longest that a row may take, its guest's new start included.
const ROW_LIMIT: Duration = Duration::from_mins(3);

/// Why a row failed, with one of the words of the coverage data.
pub(super) struct Failed {
    pub(super) word: &'static str,
    pub(super) why: String,
}

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Self {
            word: word::FAILED,
            why,
        }
    }
}

/// The outcomes of one phase.
pub(super) struct Report {
    phase: &'static str,
    kernel: String,
    libvirt: String,
    played: usize,
    failures: Vec<String>,
}

impl Report {
    pub(super) fn new(phase: &'static str) -> Self {
        let word = |output: &std::process::Output| {
            let said = text(output);
            said.split_whitespace().last().unwrap_or("?").to_owned()
        };
        Self {
            phase,
            kernel: word(&run("uname", &["-r"])),
            libvirt: word(&run("/usr/sbin/libvirtd", &["--version"])),
            played: 0,
            failures: Vec::new(),
        }
    }

    /// Plays a row, where the kernel has what it needs. A panic in it is its failure; what it started and did not
    /// come to an end is ended.
    pub(super) fn play(&mut self, row: &Attack, work: impl FnOnce() -> Result<(), Failed>) -> bool {
        if let Some(why) = lacks(row) {
            self.skip(row, why);
            return true;
        }
        let start = Instant::now();
        let (done, ended) = channel::<()>();
        let guard = thread::spawn(move || {
            let late = ended.recv_timeout(ROW_LIMIT) == Err(RecvTimeoutError::Timeout);
            if late {
                end_children();
            }
            late
        });
        let outcome = catch_unwind(AssertUnwindSafe(work));
        drop(done);
        let late = guard.join().unwrap_or(false);
        let outcome = outcome.unwrap_or_else(|panic| Err(said(panic.as_ref()).into()));
        self.played += 1;
        let (told, why) = match &outcome {
            Ok(()) if !late => (word::OK, None),
            Ok(()) => (word::FAILED, Some(format!("no end after {ROW_LIMIT:?}"))),
            Err(failed) if late => {
                let why = format!("no end after {ROW_LIMIT:?}: {}", failed.why);
                (failed.word, Some(why))
            }
            Err(failed) => (failed.word, Some(failed.why.clone())),
        };
        let took = start.elapsed().as_secs_f32();
        println!("{} {}: {told} ({took:.1} s)", row.id, self.phase);
        self.write(row, told, why.as_deref());
        if let Some(why) = why {
            println!("    {why}");
            self.failures
                .push(format!("{} {}: {why}", row.id, self.phase));
        }
        outcome.is_ok() && !late
    }

    /// Something that belongs to no row must be good.
    pub(super) fn also(&mut self, good: bool, why: &str) {
        if !good {
            self.failures.push(format!("{}: {why}", self.phase));
        }
    }

    /// The row has no such phase.
    pub(super) fn skip(&self, row: &Attack, why: &str) {
        println!("{} {}: not played: {why}", row.id, self.phase);
        self.write(row, word::NOT_PLAYED, Some(why));
    }

    fn write(&self, row: &Attack, outcome: &str, why: Option<&str>) {
        let line = Outcome {
            id: row.id.to_owned(),
            kernel: self.kernel.clone(),
            libvirt: self.libvirt.clone(),
            phase: self.phase.to_owned(),
            outcome: outcome.to_owned(),
            why: why.map(str::to_owned),
        };
        let line = serde_json::to_string(&line).expect("an outcome is always JSON");
        let folder = std::env::var(crate::VM_MARK).expect("asserted by the phase");
        fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(format!("{folder}/results.jsonl"))
            .and_then(|mut file| writeln!(file, "{line}"))
            .expect("the run's folder is writable");
    }

    /// # Panics
    /// When a row failed; names all that did.
    pub(super) fn end(self) {
        let failed = self.failures.len();
        assert!(
            failed == 0,
            "{failed} of {} rows failed:\n{}",
            self.played,
            self.failures.join("\n")
        );
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without words")
        .to_owned()
}

/// Kills what this process started, but for the daemon and its children.
fn end_children() {
    let mut doomed = children(std::process::id());
    doomed.retain(|pid| {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        comm.trim() != "vmwardd"
    });
    let mut next = 0;
    while let Some(pid) = doomed.get(next).copied() {
        doomed.extend(children(pid));
        next += 1;
    }
    for pid in doomed.into_iter().filter_map(|pid| i32::try_from(pid).ok()) {
        // It may have ended since.
        let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok())
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}
