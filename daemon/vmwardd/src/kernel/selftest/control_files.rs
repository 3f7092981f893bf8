//! The files that control processes: of cgroups, of `/proc`.
//!
//! Whatever is written here changes nothing even where it is let through.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::{Canary, Findings, failed};
use crate::cgroups::{Mounts, Seats, seats_of};
use crate::kernel::{Kernel, KernelError};

/// The canary's own cgroup, below this daemon's.
const CGROUP: &str = "vmward-canary";

pub(super) fn attack(
    _kernel: &mut Kernel,
    canary: &mut Canary,
    findings: &mut Findings,
) -> Result<(), KernelError> {
    let pid = canary.process.pid;
    let process = PathBuf::from(format!("/proc/{pid}"));
    // Its own value, which changes nothing.
    let score = process.join("oom_score_adj");
    let same = fs::read_to_string(&score).map_err(failed("read the canary's OOM score"))?;
    findings.refused("a write to oom_score_adj", write(&score, same.trim()));
    let sysrq = Path::new("/proc/sysrq-trigger");
    if sysrq.exists() {
        // Prints a help text.
        findings.refused_host("a write to sysrq-trigger", write(sysrq, "h"));
    }
    let Some(home) = unified(pid) else {
        tracing::warn!("cgroup version 2 is not mounted: its files were not tested");
        return Ok(());
    };
    let own = home.join(CGROUP);
    if let Err(e) = fs::create_dir(&own)
        && e.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(failed("create a cgroup")(e));
    }
    let result = in_cgroup(canary, &home, &own, findings);
    // The canary is out again, or the test has failed.
    fs::remove_dir(&own).map_err(failed("remove the canary's cgroup"))?;
    result
}

fn in_cgroup(
    canary: &mut Canary,
    home: &Path,
    own: &Path,
    findings: &mut Findings,
) -> Result<(), KernelError> {
    let pid = canary.process.pid.to_string();
    let mut before = open(&own.join("cgroup.freeze")).map_err(failed("open a cgroup's file"))?;
    findings.refused(
        "moving the canary to another cgroup",
        write(&own.join("cgroup.procs"), &pid),
    );
    canary.tell(&format!("enter {}", own.display()))?;
    findings.caused(1);
    // None of these is a value that the file takes.
    findings.refused(
        "a write to cgroup.kill",
        write(&own.join("cgroup.kill"), "0"),
    );
    findings.refused(
        "a write to cgroup.freeze, opened before the canary moved there",
        done(before.write_all(b"0")),
    );
    findings.refused(
        "a write to cgroup.threads of the canary's cgroup",
        write(&own.join("cgroup.threads"), "-1"),
    );
    canary.tell(&format!("enter {}", home.display()))?;
    findings.caused(1);
    Ok(())
}

/// The folder of the process's cgroup of version 2.
fn unified(pid: u32) -> Option<PathBuf> {
    let mounts = Mounts::read().ok()?;
    let seats: Seats = seats_of(pid).ok()?;
    mounts.folder(seats.unified(pid)?)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).open(path)
}

fn write(path: &Path, text: &str) -> Result<(), Errno> {
    done(open(path).and_then(|mut file| file.write_all(text.as_bytes())))
}

fn done(result: io::Result<()>) -> Result<(), Errno> {
    result.map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(0)))
}
