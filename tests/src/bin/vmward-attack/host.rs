//! The host's end, and other people's BPF programs.

use std::io;

use nix::errno::Errno;

use super::{Failed, bpf, number, usage};

pub(crate) fn run(args: &[&str]) -> Result<(), Failed> {
    match args {
        // Wrong magic numbers: where it is not refused, it fails as invalid and
        // the host goes on.
        ["reboot"] => raw(libc::SYS_reboot, &[0; 5]).map(drop),
        ["kexec-load"] => raw(libc::SYS_kexec_load, &[0, 0, 0, -1, 0]).map(drop),
        ["kexec-file-load"] => raw(libc::SYS_kexec_file_load, &[-1, -1, 0, 0, -1]).map(drop),
        ["ioperm"] => raw(libc::SYS_ioperm, &[0x80, 1, 1, 0, 0]).map(drop),
        ["iopl"] => raw(libc::SYS_iopl, &[3, 0, 0, 0, 0]).map(drop),
        ["offline"] => offline(),
        ["uprobe", path] => bpf::breakpoint(path),
        ["uprobe-multi", path] => bpf::breakpoints(path),
        ["refuses"] => bpf::refuses(),
        ["scheduler"] => bpf::scheduler(),
        ["modifies-return"] => bpf::modifies_return(),
        [what, rest @ ..] if what.starts_with("bpf-") => bpf::run(what, number(rest, 0)?),
        _ => usage(
            "host: reboot | kexec-load | kexec-file-load | ioperm | iopl | offline | \
             uprobe PATH | uprobe-multi PATH | refuses | scheduler | modifies-return | bpf-... PID",
        ),
    }
}

/// A page of this process's own, moved elsewhere and never used again.
fn offline() -> Result<(), Failed> {
    const PAGE: u16 = 4096;
    let pages = vec![1_u8; usize::from(PAGE) * 2];
    let at = pages.as_ptr() as usize + pages.as_ptr().align_offset(PAGE.into());
    let at = libc::c_long::try_from(at).map_err(io::Error::other)?;
    let advice = libc::MADV_SOFT_OFFLINE.into();
    raw(libc::SYS_madvise, &[at, PAGE.into(), advice, 0, 0]).map(drop)
}

#[expect(unsafe_code, reason = "a raw system call")]
fn raw(number: libc::c_long, args: &[libc::c_long; 5]) -> Result<libc::c_long, Failed> {
    let [first, second, third, fourth, fifth] = *args;
    // SAFETY: the callers' pointers are alive; the rest is numbers.
    let result = unsafe { libc::syscall(number, first, second, third, fourth, fifth) };
    Ok(Errno::result(result)?)
}
