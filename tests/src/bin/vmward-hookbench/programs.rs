//! How often each of vmward's programs ran, and for how long, by the kernel's
//! own count.

use std::ffi::CString;
use std::fmt::Write;
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::errno::Errno;

const PINS: &str = "/sys/fs/bpf/vmward";
const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";
// enum bpf_cmd
const OBJ_GET: libc::c_long = 7;
const PROG_GET_FD_BY_ID: libc::c_long = 13;

pub(crate) fn enable_statistics() -> Result<()> {
    fs::write(SWITCH, "1").with_context(|| format!("Failed to write {SWITCH}"))
}

/// One line a program: name, runs, mean time.
pub(crate) fn table() -> Result<String> {
    let mut links = Vec::new();
    find(Path::new(PINS), &mut links)?;
    links.sort();
    let mut table = format!("{:<28} {:>10} {:>10}\n", "program", "runs", "mean");
    for path in links {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let line = match numbers(&path) {
            Ok((runs, ns)) => format!("{runs:>10} {:>7} ns", ns / runs.max(1)),
            Err(error) => format!("not readable: {error:#}"),
        };
        writeln!(table, "{name:<28} {line}")?;
    }
    Ok(table)
}

/// The links lie in the folders of generations.
fn find(folder: &Path, links: &mut Vec<PathBuf>) -> Result<()> {
    let list = fs::read_dir(folder).with_context(|| format!("Failed to read {PINS}"))?;
    for entry in list {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            find(&path, links)?;
        } else if folder
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("gen-"))
        {
            links.push(path);
        }
    }
    Ok(())
}

/// Runs of the program behind a pinned link, and nanoseconds in all of them.
fn numbers(path: &Path) -> Result<(u64, u64)> {
    let link = get_link(path)?;
    let id = field(&link, "prog_id")?;
    let program = get_program(u32::try_from(id)?)?;
    Ok((field(&program, "run_cnt")?, field(&program, "run_time_ns")?))
}

/// What the kernel says of a descriptor.
fn field(fd: &OwnedFd, name: &str) -> Result<u64> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))?;
    let value = info
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| *key == name)
        .with_context(|| format!("the kernel does not tell {name}"))?;
    Ok(value.1.trim().parse()?)
}

fn get_link(path: &Path) -> Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let address = u64::try_from(path.as_ptr().addr())?;
    // bpf_attr: pathname, bpf_fd, file_flags
    bpf(OBJ_GET, &[address, 0])
}

fn get_program(id: u32) -> Result<OwnedFd> {
    // bpf_attr: prog_id, next_id, open_flags
    bpf(PROG_GET_FD_BY_ID, &[u64::from(id), 0])
}

fn bpf(command: libc::c_long, attributes: &[u64; 2]) -> Result<OwnedFd> {
    let size = size_of_val(attributes);
    #[expect(
        unsafe_code,
        reason = "no wrapper: only the daemon names a BPF library"
    )]
    // SAFETY: the attributes are as long as said and outlive the call; the
    // kernel only reads them.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size) };
    let fd = i32::try_from(Errno::result(fd)?)?;
    #[expect(unsafe_code, reason = "a descriptor that the kernel just made")]
    // SAFETY: nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
