//! What `/proc` says about one process.
//!
//! Everything is read through an open handle on `/proc/PID`, which stays with
//! that process: when the process has gone, reads fail, whoever got its number. That
//! they fail does not say that it has gone: [`life`] does.

pub mod armed;
pub mod life;
mod mapped;
pub mod storage;
#[cfg(test)]
pub(crate) mod testing;
pub mod threads;
pub mod view;

use std::io::Read;
use std::path::Path;

use vmward_core::ids;

pub use mapped::{Library, Mapped, SharedFile};

const PROC: &str = "/proc";
/// Most bytes that are read of a small `/proc` file.
const PROC_FILE_BYTES_MAX: u64 = 64 * 1024;
/// Most characters of a command line that go into a record.
const CMDLINE_CHARS_MAX: usize = 512;

/// An open handle on one process.
#[derive(Debug)]
pub struct ProcHandle {
    process: procfs::process::Process,
}

/// The fixed facts that a decision needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Number and start time: the process itself, not its successor.
    pub process: ids::Process,
    /// The parent's process id.
    pub parent: u32,
    /// The command name, as the process set it.
    pub comm: String,
}

impl ProcHandle {
    /// Takes a handle on the process that has this number now; `None` when
    /// there is none.
    pub fn open(pid: u32) -> Option<ProcHandle> {
        ProcHandle::open_in(Path::new(PROC), pid)
    }

    /// The same by another folder than `/proc`.
    fn open_in(proc: &Path, pid: u32) -> Option<ProcHandle> {
        let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0)?;
        let root = proc.join(pid.to_string());
        let process = procfs::process::Process::new_with_root(root).ok()?;
        Some(ProcHandle { process })
    }

    /// Number, start time, parent and name; `None` when the process has gone.
    pub fn stat(&self) -> Option<Stat> {
        let stat = self.process.stat().ok()?;
        Some(Stat {
            process: ids::Process {
                pid: u32::try_from(stat.pid).ok()?,
                start_ticks: stat.starttime,
            },
            parent: u32::try_from(stat.ppid).unwrap_or(0),
            comm: stat.comm,
        })
    }

    /// The executable's path, where it can be read.
    pub fn exe(&self) -> Option<String> {
        let path = self.process.exe().ok()?;
        Some(path.to_string_lossy().into_owned())
    }

    /// The command line, argument by argument.
    pub fn arguments(&self) -> Option<Vec<String>> {
        self.process.cmdline().ok()
    }

    /// The command line as one bounded line for a record.
    pub fn command_line(&self) -> Option<String> {
        let line = self.arguments()?.join(" ");
        Some(line.chars().take(CMDLINE_CHARS_MAX).collect())
    }

    /// The effective user id.
    pub fn effective_uid(&self) -> Option<u32> {
        Some(self.process.status().ok()?.euid)
    }

    /// The files that it has mapped, as far as they matter: see [`Mapped`].
    pub fn mapped(&self) -> Mapped {
        self.process
            .maps()
            .map_or_else(|_| Mapped::default(), |maps| Mapped::of(&maps.0))
    }

    /// The process that traces this one; `None` when nobody does.
    pub fn tracer(&self) -> Option<u32> {
        let tracer = self.process.status().ok()?.tracerpid;
        u32::try_from(tracer).ok().filter(|pid| *pid != 0)
    }

    /// True where a terminal controls it: whose hang-up the kernel signals, and
    /// nothing can refuse.
    pub fn has_terminal(&self) -> bool {
        self.process.stat().is_ok_and(|stat| stat.tty_nr != 0)
    }

    /// Its numbers in the PID namespaces around it, the outermost first.
    pub fn numbers(&self) -> Option<Vec<i32>> {
        self.process.status().ok()?.nspid
    }

    /// Which PID namespace it is in.
    pub fn pid_namespace(&self) -> Option<u64> {
        let all = self.process.namespaces().ok()?;
        Some(all.0.get(std::ffi::OsStr::new("pid"))?.identifier)
    }

    /// The path in the unified cgroup hierarchy.
    pub fn cgroup(&self) -> Option<String> {
        let text = self.read_small("cgroup")?;
        text.lines()
            .find_map(|line| line.strip_prefix("0::"))
            .map(str::to_owned)
    }

    /// The user who logged in, whatever user the process became later; `None`
    /// where nobody did, as in a service.
    pub fn loginuid(&self) -> Option<u32> {
        let uid = self.read_small("loginuid")?.trim().parse().ok()?;
        (uid != u32::MAX).then_some(uid)
    }

    fn read_small(&self, name: &str) -> Option<String> {
        let mut text = String::new();
        let file = self.process.open_relative(name).ok()?;
        file.take(PROC_FILE_BYTES_MAX)
            .read_to_string(&mut text)
            .ok()?;
        Some(text)
    }
}

/// The systemd unit that a cgroup path belongs to: its innermost service or
/// scope.
pub fn unit_of_cgroup(cgroup: &str) -> Option<String> {
    cgroup
        .rsplit('/')
        .find(|part| has_suffix(part, "service") || has_suffix(part, "scope"))
        .map(str::to_owned)
}

/// The unit of the system's own service manager that a cgroup path belongs to:
/// the first service or scope under its slices.
///
/// What lies below may have been made by the unit itself, under any name: a user
/// can start an `agent@1.service` of his own, and it is not the host's.
pub fn system_unit_of_cgroup(cgroup: &str) -> Option<String> {
    cgroup
        .split('/')
        .find(|part| !part.is_empty() && !has_suffix(part, "slice"))
        .filter(|part| has_suffix(part, "service") || has_suffix(part, "scope"))
        .map(str::to_owned)
}

fn has_suffix(name: &str, extension: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|found| found == extension)
}

/// The process that has this number now, with its start time.
pub fn identify(pid: u32) -> Option<ids::Process> {
    Some(ProcHandle::open(pid)?.stat()?.process)
}

/// True while this very process lives, or may do so, shown in `/proc` or not; a
/// successor with its number is another. The host does.
pub fn is_alive(process: ids::Process) -> bool {
    life::life(process) != life::Life::Ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_with_its_parent_and_name() {
        let handle = ProcHandle::open(std::process::id()).unwrap();
        let stat = handle.stat().unwrap();
        assert_eq!(stat.process.pid, std::process::id());
        assert_eq!(stat.parent, std::os::unix::process::parent_id());
        assert!(stat.process.start_ticks > 0);
        assert!(is_alive(stat.process));
        assert!(handle.exe().is_some() && handle.command_line().is_some());
    }

    #[test]
    fn a_handle_on_a_process_that_ended_reads_nothing() {
        let (child, process) = testing::child();
        let handle = ProcHandle::open(child.id()).unwrap();
        assert_eq!(handle.stat().unwrap().process, process);
        testing::end(child);
        assert_eq!(handle.stat(), None);
        assert!(!is_alive(process));
    }

    #[test]
    fn the_unit_is_the_innermost_service_or_scope() {
        let path = "/user.slice/user-1000.slice/user@1000.service/app.slice/agent.scope/x";
        assert_eq!(unit_of_cgroup(path).as_deref(), Some("agent.scope"));
        assert_eq!(
            unit_of_cgroup("/system.slice/a.service").as_deref(),
            Some("a.service")
        );
        assert_eq!(unit_of_cgroup("/"), None);
    }

    #[test]
    fn nobody_runs_in_a_system_unit_by_naming_his_own_like_it() {
        for (cgroup, unit) in [
            ("/system.slice/agent@1.service", Some("agent@1.service")),
            (
                "/system.slice/system-agent.slice/agent@1.service/worker",
                Some("agent@1.service"),
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/agent@1.service",
                Some("user@1000.service"),
            ),
            (
                "/user.slice/user-1000.slice/session-3.scope",
                Some("session-3.scope"),
            ),
            ("/init.scope", Some("init.scope")),
            ("/docker/0123/agent@1.service", None),
            ("/../../agent@1.service", None),
            ("/system.slice", None),
            ("/", None),
        ] {
            assert_eq!(system_unit_of_cgroup(cgroup).as_deref(), unit, "{cgroup}");
        }
    }
}
