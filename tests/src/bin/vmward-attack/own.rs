//! Attacks on vmward's own maps and programs, by number.

use nix::errno::Errno;

use super::{Failed, number, usage};

const BPF_PROG_GET_FD_BY_ID: libc::c_long = 13;
const BPF_MAP_GET_FD_BY_ID: libc::c_long = 14;
const BPF_OBJ_GET: libc::c_long = 7;

pub(crate) fn run(args: &[&str]) -> Result<(), Failed> {
    match args {
        ["map", rest @ ..] => by_number(BPF_MAP_GET_FD_BY_ID, number(rest, 0)?),
        ["program", rest @ ..] => by_number(BPF_PROG_GET_FD_BY_ID, number(rest, 0)?),
        ["pin", path] => by_pin(path),
        _ => usage("own: map ID | program ID | pin PATH"),
    }
}

fn by_number(command: libc::c_long, id: u32) -> Result<(), Failed> {
    bpf(command, &[u64::from(id), 0])
}

fn by_pin(path: &str) -> Result<(), Failed> {
    let path = std::ffi::CString::new(path).map_err(std::io::Error::other)?;
    bpf(BPF_OBJ_GET, &[path.as_ptr() as u64, 0])
}

/// The descriptor goes with this process.
#[expect(unsafe_code, reason = "a raw system call")]
fn bpf(command: libc::c_long, attr: &[u64; 2]) -> Result<(), Failed> {
    // SAFETY: the attribute and what it points to are alive.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_ptr(), size_of_val(attr)) };
    Ok(Errno::result(result).map(drop)?)
}
