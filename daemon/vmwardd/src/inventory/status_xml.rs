//! Which process runs a domain, by libvirt's own status file.
//!
//! libvirt's QEMU driver writes `<run dir>/<name>.xml`, readable by root only,
//! with `<domstatus state='running' reason='booted' pid='4711'>` around the
//! domain. The process is then checked against what it says of itself, so that
//! a stale file cannot point at a stranger.

use std::path::Path;

use vmward_core::ids::{Process, VmUuid};

use crate::process::ProcHandle;
use crate::process::life::is_in_use;
use crate::secure_file::read_bounded;

/// Most bytes of a status file; real ones have some ten thousand.
pub(super) const STATUS_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Why a domain's process is not known or not to be protected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProcessError {
    /// libvirt has not written the file, or it says nothing of use.
    #[error("libvirt's status file names no process")]
    Unnamed,
    /// The file is about another domain.
    #[error("libvirt's status file belongs to another domain")]
    OtherDomain,
    /// No such process.
    #[error("process {0} has ended")]
    Ended(u32),
    /// The process lives, and `/proc` does not say what it is.
    #[error("process {0} lives and /proc does not show it; is something mounted over it?")]
    Hidden(u32),
    /// The process is no QEMU with this UUID.
    #[error("process {0} is no QEMU that runs this domain")]
    Stranger(u32),
    /// A debugger could undo every protection.
    #[error("process {pid} is traced by process {tracer}, which could undo any protection")]
    Traced {
        /// The QEMU process.
        pid: u32,
        /// The debugger.
        tracer: u32,
    },
}

/// Finds and checks the QEMU process of a running domain.
///
/// # Errors
/// Why it cannot be protected; a traced process is named in the error.
pub(super) fn find_process(
    run_dir: &Path,
    name: &str,
    uuid: VmUuid,
) -> Result<Process, ProcessError> {
    check(pid_of(run_dir, name, uuid)?, uuid)
}

/// Checks that a process is a QEMU that runs this domain, and may be protected.
///
/// # Errors
/// Why it cannot be protected.
pub(super) fn check(pid: u32, uuid: VmUuid) -> Result<Process, ProcessError> {
    let unseen = || unseen(pid);
    let handle = ProcHandle::open(pid).ok_or_else(unseen)?;
    let stat = handle.stat().ok_or_else(unseen)?;
    let arguments = handle.arguments().ok_or_else(unseen)?;
    let exe = handle.exe().unwrap_or_default();
    if !looks_like_qemu(&exe) || !has_uuid(&arguments, uuid) {
        return Err(ProcessError::Stranger(pid));
    }
    match handle.tracer() {
        Some(tracer) => Err(ProcessError::Traced { pid, tracer }),
        None => Ok(stat.process),
    }
}

/// Why `/proc` shows nothing of a process.
fn unseen(pid: u32) -> ProcessError {
    if is_in_use(pid) {
        ProcessError::Hidden(pid)
    } else {
        ProcessError::Ended(pid)
    }
}

fn pid_of(run_dir: &Path, name: &str, uuid: VmUuid) -> Result<u32, ProcessError> {
    // libvirt refuses such names; a path built from one must never leave the
    // folder all the same.
    if name.contains('/') || name.contains('\0') {
        return Err(ProcessError::Unnamed);
    }
    if let Ok(text) = read_bounded(&run_dir.join(format!("{name}.xml")), STATUS_BYTES_MAX) {
        let status = parse(&text).ok_or(ProcessError::Unnamed)?;
        return if status.uuid == Some(uuid) {
            Ok(status.pid)
        } else {
            Err(ProcessError::OtherDomain)
        };
    }
    read_bounded(&run_dir.join(format!("{name}.pid")), 64)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .filter(|pid| *pid > 1)
        .ok_or(ProcessError::Unnamed)
}

/// libvirt's number of a running domain, which is in the names of its files.
pub(super) fn number_of(run_dir: &Path, name: &str, uuid: VmUuid) -> Option<u32> {
    if name.contains('/') || name.contains('\0') {
        return None;
    }
    let text = read_bounded(&run_dir.join(format!("{name}.xml")), STATUS_BYTES_MAX).ok()?;
    let status = parse(&text).filter(|status| status.uuid == Some(uuid))?;
    status.number
}

/// What a status file says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) pid: u32,
    number: Option<u32>,
    pub(super) uuid: Option<VmUuid>,
    /// How far it is.
    pub(super) stage: Stage,
}

/// What is libvirt's to do with a domain, and what is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It starts or comes in: libvirt may have to end it, and nobody else has.
    Starting,
    /// It runs, and is to be protected.
    Settled,
    /// It is over: libvirt cleans up.
    Over,
}

/// Reads the facts. libvirt is the only writer, so the layout is known:
/// the start tag first, and the domain's `<uuid>` before any free text.
pub(super) fn parse(text: &str) -> Option<Status> {
    let (_, after) = text.split_at(text.find("<domstatus ")?);
    let (tag, body) = after.split_once('>')?;
    let pid = attribute(tag, "pid")?.parse().ok().filter(|pid| *pid > 1)?;
    let stage = stage(attribute(tag, "state")?, attribute(tag, "reason"));
    let domain = body.find("<domain ").and_then(|at| body.get(at..));
    let number = domain
        .and_then(|domain| domain.split_once('>'))
        .and_then(|(tag, _)| attribute(tag, "id")?.parse().ok());
    let uuid = domain
        .and_then(|domain| domain.split_once("<uuid>"))
        .and_then(|(_, rest)| rest.split_once("</uuid>"))
        .and_then(|(uuid, _)| uuid.trim().parse().ok());
    Some(Status {
        pid,
        number,
        uuid,
        stage,
    })
}

/// How far is a domain in this state? As `vmward-inventory` decides by what
/// libvirt answers, in the words of libvirt's files. One that goes out to another
/// host looks like one that comes in, and is protected already.
fn stage(state: &str, reason: Option<&str>) -> Stage {
    match state {
        "paused" if matches!(reason, Some("starting up" | "migration")) => Stage::Starting,
        "running" | "blocked" | "paused" | "pmsuspended" => Stage::Settled,
        _ => Stage::Over,
    }
}

/// The value of an attribute of a start tag; values may hold spaces.
fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let (_, mut rest) = tag.split_at(tag.find(|c: char| c.is_ascii_whitespace()).unwrap_or(0));
    loop {
        let (found, after) = rest.trim_start().split_once('=')?;
        let quote = after.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let (value, behind) = after.strip_prefix(quote)?.split_once(quote)?;
        if found == name {
            return Some(value);
        }
        rest = behind;
    }
}

fn looks_like_qemu(exe: &str) -> bool {
    let file = exe.rsplit('/').next().unwrap_or_default();
    file.contains("qemu") || file.starts_with("kvm")
}

fn has_uuid(arguments: &[String], uuid: VmUuid) -> bool {
    arguments.windows(2).any(|pair| {
        pair.first().is_some_and(|flag| flag == "-uuid")
            && pair
                .last()
                .and_then(|value| value.parse::<VmUuid>().ok())
                .is_some_and(|found| found == uuid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "6695eb01-f6a4-8304-79aa-97f2502e193f";

    fn status(pid: &str) -> String {
        format!(
            "<!--\nWARNING\n-->\n<domstatus state='running' reason='booted' pid='{pid}'>\n\
             <monitor path='/x'/>\n<domain type='kvm' id='1'>\n  <name>web-1</name>\n  \
             <uuid>{UUID}</uuid>\n  <description>&lt;uuid&gt;</description>\n</domain></domstatus>"
        )
    }

    #[test]
    fn pid_and_uuid_are_read_from_the_status_file() {
        let found = parse(&status("4711")).unwrap();
        assert_eq!(found.pid, 4711);
        assert_eq!(found.uuid, Some(UUID.parse().unwrap()));
    }

    #[test]
    fn a_status_without_a_usable_pid_names_no_process() {
        for pid in ["", "0", "1", "-3", "x"] {
            assert_eq!(parse(&status(pid)), None, "pid {pid:?}");
        }
        assert_eq!(parse("<domain/>"), None);
    }

    #[test]
    fn a_domain_is_as_far_as_libvirt_calls_its_state() {
        for (state, reason, stage) in [
            ("running", "booted", Stage::Settled),
            ("running", "post-copy failed", Stage::Settled),
            ("blocked", "unknown", Stage::Settled),
            ("pmsuspended", "unknown", Stage::Settled),
            ("paused", "user", Stage::Settled),
            ("paused", "from snapshot", Stage::Settled),
            ("paused", "starting up", Stage::Starting),
            ("paused", "migration", Stage::Starting),
            ("shutdown", "user", Stage::Over),
            ("crashed", "panicked", Stage::Over),
            ("shutoff", "destroyed", Stage::Over),
            ("nostate", "unknown", Stage::Over),
            ("dreaming", "unknown", Stage::Over),
        ] {
            let tag = format!("state='{state}' reason='{reason}'");
            let text = status("4711").replace("state='running' reason='booted'", &tag);
            let found = parse(&text).unwrap();
            assert_eq!(found.stage, stage, "{tag}");
            assert_eq!(found.pid, 4711, "{tag}");
        }
    }

    #[test]
    fn a_file_of_another_domain_or_a_stranger_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("web-1.xml"), status("4711")).unwrap();
        let other = "00000000-0000-0000-0000-000000000001".parse().unwrap();
        let find = |uuid| find_process(dir.path(), "web-1", uuid);
        assert_eq!(find(other), Err(ProcessError::OtherDomain));

        let own = std::process::id();
        std::fs::write(dir.path().join("web-1.xml"), status(&own.to_string())).unwrap();
        assert_eq!(
            find(UUID.parse().unwrap()),
            Err(ProcessError::Stranger(own))
        );
    }

    #[test]
    fn a_process_that_lives_is_not_said_to_have_ended() {
        let own = std::process::id();
        assert_eq!(unseen(own), ProcessError::Hidden(own));
        assert_eq!(unseen(u32::MAX), ProcessError::Ended(u32::MAX));
    }

    #[test]
    fn a_name_cannot_lead_out_of_the_folder() {
        let found = find_process(Path::new("/run"), "../etc/passwd", UUID.parse().unwrap());
        assert_eq!(found, Err(ProcessError::Unnamed));
    }
}
