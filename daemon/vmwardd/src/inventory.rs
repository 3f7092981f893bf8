//! Which domains this host has, by libvirt, and which processes run them.
//!
//! libvirt's client library, with its parsers and its event loop, stays out of
//! this process: `vmward-inventory` asks libvirt and writes what it says, a line
//! a domain. One thread here starts that program, reads it, and starts it again
//! when it ends. Which process runs a domain is found out here, from libvirt's
//! status files and from `/proc`: nothing that the program says names a process.
//!
//! A second thread looks at the status files alone, so that a silent libvirt, or
//! a silent program, keeps no new VM from being protected.
//!
//! What is seen only ever adds protection: a libvirt or a program that is
//! silent, gone or restarting takes none away; only the end of the QEMU process
//! does, and the kernel sees that itself.

mod child;
mod deputy;
mod helpers;
mod labels;
pub mod line;
mod lines;
mod namespace;
mod status_files;
mod status_xml;

use std::collections::BTreeMap;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use vmward_core::ids::{Process, VmUuid};

use self::child::Child;
use self::helpers::HelperBook;
use self::labels::LabelBook;
pub use self::labels::Labels;
use self::line::{Line, Seen, SeenRun};
use self::lines::{Broken, Lines, SILENCE_MAX, pause};
use self::status_xml::{find_process, number_of};

/// First and longest pause before the program is started again.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// How long the end of the thread is waited for.
const END_DEADLINE: Duration = Duration::from_secs(2);
/// Most domains of one look: four times as many as the kernel's map can hold
/// running ones.
const DOMAINS_MAX: usize = 16_384;

/// A domain as seen now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// The identity.
    pub uuid: VmUuid,
    /// The name, for people.
    pub name: String,
    /// From its metadata.
    pub labels: Labels,
    /// What it does.
    pub run: Run,
    /// Why its guest stands still, in libvirt's words, where it runs and does.
    pub paused: Option<String>,
}

/// What a domain does, as far as protection goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// Not running.
    Off,
    /// Its process exists and must not be protected yet, or any more: libvirt
    /// has to be able to clean up a failed start, a failed incoming migration
    /// and a guest that powered off.
    Unsettled(String),
    /// Running; here is the process to protect.
    Running(Process),
    /// Running, but not to be protected; says why.
    Unprotectable(String),
}

/// A domain that runs or starts, by libvirt's status file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByFile {
    /// The identity.
    pub uuid: VmUuid,
    /// The file's, for people: libvirt calls it as the domain.
    pub name: String,
    /// The process to protect.
    pub process: Process,
    /// It only starts: libvirt may still have to end it.
    pub is_starting: bool,
}

/// Processes that are no VMs and hold some.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// libvirt's daemons.
    pub deputies: Vec<Process>,
    /// virtlogd.
    pub logger: Option<Process>,
    /// By the process of a running VM: those whose end is its end.
    pub helpers: BTreeMap<Process, Vec<Process>>,
    /// How many more of those there are than have room.
    pub left_out: usize,
}

/// What earlier looks have shown.
#[derive(Debug, Default)]
struct Books {
    labels: LabelBook,
    helpers: HelperBook,
}

/// What the inventory tells the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// The program that asks libvirt runs.
    Started {
        /// Its process.
        process: Process,
    },
    /// Everything that libvirt knows.
    Domains {
        /// Every domain, running or not.
        domains: Vec<Domain>,
        /// libvirt's own daemon, which may act for a lease holder; 0 unknown.
        deputy_pid: u32,
        /// What is to be guarded beside them.
        beside: Beside,
    },
    /// These run, whatever libvirt says or does not. Each process is told of once
    /// when it starts, and once when it runs.
    Running {
        /// These.
        running: Vec<ByFile>,
        /// libvirt's own daemon, as in [`Self::Domains`]: it acts for lease holders
        /// from the first moment on.
        deputy_pid: u32,
    },
    /// libvirt cannot be asked; what was seen before still stands.
    Gone {
        /// Why.
        error: String,
    },
    /// The program that asks libvirt cannot be started, ended, or was ended
    /// because it does not do its work. Another is started.
    Ended {
        /// Why.
        error: String,
    },
}

/// Where to look.
#[derive(Clone, Debug)]
pub struct Source {
    /// The program that asks libvirt.
    pub program: PathBuf,
    /// libvirt's URI.
    pub uri: String,
    /// The folder with the status files.
    pub run_dir: PathBuf,
}

/// The program that asks libvirt: it lies beside this one, so whoever could
/// replace it could replace the daemon.
///
/// # Errors
/// The system does not say where this program lies.
pub fn program() -> std::io::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("vmward-inventory"))
}

/// A thread that looks. Dropping this ends it, and waits until its program, where
/// it has one, has ended, too.
#[derive(Debug)]
pub struct Watch {
    stop: UnixStream,
    ended: Receiver<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Where the thread has ended by itself there is nobody to tell.
        drop(self.stop.shutdown(Shutdown::Both));
        // Nothing is ever sent: the end of the thread closes the channel.
        if self.ended.recv_timeout(END_DEADLINE) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the inventory does not end; it is left behind");
        }
    }
}

/// Looks until it is told to end, in its own thread. `tell` returns false when
/// nobody listens any more; the thread then ends as well.
///
/// # Errors
/// The thread cannot be started.
pub fn start(
    source: Source,
    tell: impl FnMut(Sighting) -> bool + Send + 'static,
) -> std::io::Result<Watch> {
    start_with(source, SILENCE_MAX, tell)
}

fn start_with(
    source: Source,
    silence_max: Duration,
    tell: impl FnMut(Sighting) -> bool + Send + 'static,
) -> std::io::Result<Watch> {
    spawn("inventory", move |stop| {
        watch(&source, silence_max, stop, tell);
    })
}

/// Looks at the status files in `run_dir` until it is told to end, in a thread of
/// its own. `tell` as for [`start`].
///
/// # Errors
/// The thread cannot be started.
pub fn start_by_files(
    run_dir: PathBuf,
    tell: impl FnMut(Sighting) -> bool + Send + 'static,
) -> std::io::Result<Watch> {
    spawn("status-files", move |stop| {
        status_files::watch(&run_dir, stop, tell);
    })
}

fn spawn(name: &str, looks: impl FnOnce(&UnixStream) + Send + 'static) -> std::io::Result<Watch> {
    let (stop, stopped) = UnixStream::pair()?;
    let (ending, ended) = sync_channel(0);
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            looks(&stopped);
            drop(ending);
        })?;
    Ok(Watch { stop, ended })
}

fn watch(
    source: &Source,
    silence_max: Duration,
    stop: &UnixStream,
    mut tell: impl FnMut(Sighting) -> bool,
) {
    let mut backoff = BACKOFF_MIN;
    let mut books = Books::default();
    loop {
        let mut looked = false;
        let outcome = follow(source, silence_max, stop, &mut books, &mut |sighting| {
            looked |= matches!(sighting, Sighting::Domains { .. });
            tell(sighting)
        });
        let Err(error) = outcome else {
            return;
        };
        if !tell(Sighting::Ended { error }) {
            return;
        }
        backoff = if looked {
            BACKOFF_MIN
        } else {
            BACKOFF_MAX.min(backoff * 2)
        };
        if pause(stop, backoff) {
            return;
        }
    }
}

/// Reads one run of the program until it ends or does what it should not (an
/// error), or nobody listens or the daemon stops (no error).
fn follow(
    source: &Source,
    silence_max: Duration,
    stop: &UnixStream,
    books: &mut Books,
    tell: &mut impl FnMut(Sighting) -> bool,
) -> Result<(), String> {
    let (mut child, output) = Child::start(&source.program, &source.uri)?;
    let mut lines = Lines::new(output, silence_max, stop);
    let mut told = tell(Sighting::Started {
        process: child.process()?,
    });
    let mut domains = Vec::new();
    let mut beside = Beside::default();
    let broken = loop {
        if !told {
            return Ok(());
        }
        let line = match lines.next() {
            Ok(line) => line,
            Err(Broken::Stopped) => return Ok(()),
            Err(broken) => break broken,
        };
        match line {
            Line::Domain(_) if domains.len() >= DOMAINS_MAX => {
                break Broken::Rubbish(format!("more than {DOMAINS_MAX} domains"));
            }
            Line::Domain(seen) => domains.push(settle(seen, source, books, &mut beside)),
            Line::Looked { domains: count } if count == domains.len() => {
                let mut domains = std::mem::take(&mut domains);
                domains.shrink_to_fit();
                books.labels.keep_only(&domains);
                let mut beside = std::mem::take(&mut beside);
                books.helpers.complete(&mut beside.helpers);
                beside.deputies = deputy::find();
                beside.logger = deputy::find_logger();
                told = tell(Sighting::Domains {
                    domains,
                    deputy_pid: deputy::first(&beside.deputies),
                    beside,
                });
            }
            Line::Looked { domains: count } => {
                let got = domains.len();
                break Broken::Rubbish(format!("{got} domains, and then that it was {count}"));
            }
            Line::Gone { error } => {
                domains = Vec::new();
                beside = Beside::default();
                told = tell(Sighting::Gone { error });
            }
        }
    };
    Err(child.end(broken))
}

/// Finds the process of a domain that runs.
fn settle(seen: Seen, source: &Source, books: &mut Books, beside: &mut Beside) -> Domain {
    let run = match seen.run {
        SeenRun::Off => Run::Off,
        SeenRun::Unsettled(why) => Run::Unsettled(why),
        SeenRun::Unknown(why) => Run::Unprotectable(why),
        SeenRun::Running => match find_process(&source.run_dir, &seen.name, seen.uuid) {
            Ok(process) => {
                let number = number_of(&source.run_dir, &seen.name, seen.uuid);
                let (helpers, left_out) = books.helpers.look(&source.run_dir, number, process);
                beside.helpers.insert(process, helpers);
                beside.left_out += left_out;
                Run::Running(process)
            }
            Err(error) => Run::Unprotectable(error.to_string()),
        },
    };
    let read = match seen.labels_fault {
        Some(fault) => Err(fault),
        None => Ok(seen.labels),
    };
    Domain {
        labels: books.labels.take(read, seen.uuid, &seen.name),
        uuid: seen.uuid,
        name: seen.name,
        run,
        paused: seen.paused,
    }
}

#[cfg(test)]
mod tests;
