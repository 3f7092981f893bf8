//! The host's end, and other people's BPF programs.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;

use super::uring::{self, Entry, Ring};
use super::{Failed, audit, bpf, number, usage};

pub(crate) fn run(args: &[&str]) -> Result<(), Failed> {
    match args {
        // Wrong magic numbers: where it is not refused, it fails as invalid and
        // the host goes on.
        ["reboot"] => raw(libc::SYS_reboot, &[0; 5]).map(drop),
        ["kexec-load"] => raw(libc::SYS_kexec_load, &[0, 0, 0, -1, 0]).map(drop),
        ["kexec-file-load"] => raw(libc::SYS_kexec_file_load, &[-1, -1, 0, 0, -1]).map(drop),
        ["ioperm"] => raw(libc::SYS_ioperm, &[0x80, 1, 1, 0, 0]).map(drop),
        ["iopl"] => raw(libc::SYS_iopl, &[3, 0, 0, 0, 0]).map(drop),
        ["serial-ports"] => serial_ports(),
        ["ioperm-32"] => by_interrupt(101, [0x80, 1, 1]),
        ["iopl-32"] => by_interrupt(110, [3, 0, 0]),
        ["force-unload", name] => force_unload(name),
        ["offline"] => offline(),
        ["offline-queued"] => offline_queued(),
        ["audit-failure", rest @ ..] => audit::set_failure(rest),
        ["uprobe", path] => bpf::breakpoint(path),
        ["uprobe-multi", path] => bpf::breakpoints(path),
        ["refuses"] => bpf::refuses(),
        ["scheduler"] => bpf::scheduler(),
        ["takes-sockets"] => bpf::takes_sockets(),
        ["modifies-return"] => bpf::modifies_return(),
        [what, rest @ ..] if what.starts_with("bpf-") => bpf::run(what, number(rest, 0)?),
        _ => usage(
            "host: reboot | kexec-load | kexec-file-load | ioperm | iopl | ioperm-32 | iopl-32 | \
             serial-ports | \
             force-unload NAME | audit-failure N [BEFORE] | offline | offline-queued | uprobe PATH | uprobe-multi PATH | refuses | scheduler | \
             takes-sockets | modifies-return | bpf-... PID",
        ),
    }
}

/// Other ports for a serial line that is none, and back.
fn serial_ports() -> Result<(), Failed> {
    const TIOCGSERIAL: libc::c_long = 0x541e;
    const TIOCSSERIAL: libc::c_long = 0x541f;
    /// The third number of a `struct serial_struct`.
    const PORT: usize = 2;
    let line = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open("/dev/ttyS3")?;
    let mut serial = [0u32; 18];
    let about = serial.as_mut_ptr() as libc::c_long;
    let fd = line.as_raw_fd().into();
    raw(libc::SYS_ioctl, &[fd, TIOCGSERIAL, about, 0, 0])?;
    let before = serial[PORT];
    serial[PORT] = 0x220;
    let about = serial.as_mut_ptr() as libc::c_long;
    raw(libc::SYS_ioctl, &[fd, TIOCSSERIAL, about, 0, 0])?;
    serial[PORT] = before;
    let about = serial.as_mut_ptr() as libc::c_long;
    raw(libc::SYS_ioctl, &[fd, TIOCSSERIAL, about, 0, 0]).map(drop)
}

/// A module, whoever uses it.
fn force_unload(name: &str) -> Result<(), Failed> {
    let name = std::ffi::CString::new(name).map_err(io::Error::other)?;
    let flags = libc::c_long::from(libc::O_TRUNC | libc::O_NONBLOCK);
    raw(
        libc::SYS_delete_module,
        &[name.as_ptr() as libc::c_long, flags, 0, 0, 0],
    )
    .map(drop)
}

const PAGE: u16 = 4096;

/// A page of this process's own, moved elsewhere and never used again.
fn offline() -> Result<(), Failed> {
    let pages = vec![1_u8; usize::from(PAGE) * 2];
    let at = libc::c_long::try_from(page_in(&pages)).map_err(io::Error::other)?;
    let advice = libc::MADV_SOFT_OFFLINE.into();
    raw(libc::SYS_madvise, &[at, PAGE.into(), advice, 0, 0]).map(drop)
}

/// The same by `io_uring`, which has a thread of the kernel's do it.
fn offline_queued() -> Result<(), Failed> {
    let pages = vec![1_u8; usize::from(PAGE) * 2];
    let entry = Entry {
        op: uring::OP_MADVISE,
        addr: page_in(&pages) as u64,
        len: PAGE.into(),
        op_flags: u32::try_from(libc::MADV_SOFT_OFFLINE).map_err(io::Error::other)?,
        ..Entry::default()
    };
    Ok(Ring::new(0)?.submit(&entry).map(drop)?)
}

/// The first whole page in there.
fn page_in(pages: &[u8]) -> usize {
    pages.as_ptr() as usize + pages.as_ptr().align_offset(PAGE.into())
}

/// A system call by its number for 32 bits, as a program of 64 bits may, too.
#[expect(unsafe_code, reason = "a raw system call")]
pub(super) fn by_interrupt(number: i32, args: [u32; 3]) -> Result<(), Failed> {
    let [first, second, third] = args.map(u64::from);
    let result: i32;
    // SAFETY: numbers alone; what the call may change is named, and the register that
    // the compiler keeps for itself is put back.
    unsafe {
        core::arch::asm!(
            "xchg {first}, rbx",
            "int 0x80",
            "xchg {first}, rbx",
            first = inout(reg) first => _,
            inlateout("eax") number => result,
            in("rcx") second,
            in("rdx") third,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    if result < 0 {
        return Err(Errno::from_raw(-result).into());
    }
    Ok(())
}

#[expect(unsafe_code, reason = "a raw system call")]
fn raw(number: libc::c_long, args: &[libc::c_long; 5]) -> Result<libc::c_long, Failed> {
    let [first, second, third, fourth, fifth] = *args;
    // SAFETY: the callers' pointers are alive; the rest is numbers.
    let result = unsafe { libc::syscall(number, first, second, third, fourth, fifth) };
    Ok(Errno::result(result)?)
}
