//! File systems, frozen or shut down.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::errno::Errno;

use super::host::by_interrupt;
use super::uring::{self, Entry, Ring};
use super::{Failed, usage};

const FIFREEZE: libc::c_ulong = 0xc004_5877;
const FS_IOC_SHUTDOWN: libc::c_ulong = 0x8004_587d;
/// ioctl(2) for 32 bits.
const IOCTL_32: i32 = 54;
/// How often the right moment is tried for.
const TRIES: u32 = 100_000;

pub(crate) fn run(args: &[&str]) -> Result<(), Failed> {
    match args {
        ["freeze-32", path] => freeze_32(path),
        ["freeze-swapped", path, other] => freeze_swapped(path, other),
        ["shut-down", path] => {
            // Without what is in memory, and without what the journal has.
            let mut how: u32 = 2;
            ioctl(&File::open(path)?, FS_IOC_SHUTDOWN, &raw mut how)
        }
        ["set-trusted", path] => set_trusted(path),
        _ => usage(
            "storage: freeze-32 PATH | freeze-swapped PATH OTHER | shut-down PATH | \
             set-trusted PATH",
        ),
    }
}

/// No attack: an attribute that root alone may set, by a worker of `io_uring`, which asks
/// for the same right as what takes memory for broken.
fn set_trusted(path: &str) -> Result<(), Failed> {
    let (name, value) = (c"trusted.vmward", b"1");
    let file = File::open(path)?;
    Ring::new(0)?.submit(&Entry {
        op: uring::OP_FSETXATTR,
        fd: file.as_raw_fd(),
        addr: name.as_ptr() as u64,
        off: value.as_ptr() as u64,
        len: 1,
        ..Entry::default()
    })?;
    Ok(())
}

fn freeze_32(path: &str) -> Result<(), Failed> {
    let folder = File::open(path)?;
    let fd = u32::try_from(folder.as_raw_fd()).map_err(io::Error::other)?;
    let command = u32::try_from(FIFREEZE).map_err(io::Error::other)?;
    by_interrupt(IOCTL_32, [fd, command, 0])
}

/// One thread freezes what a descriptor stands for, while another puts now one file
/// system behind it, now the other: who looks at it may see the harmless one.
fn freeze_swapped(path: &str, other: &str) -> Result<(), Failed> {
    let (folder, harmless) = (File::open(path)?, File::open(other)?);
    let target = harmless.try_clone()?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                put(&folder, target.as_raw_fd());
                put(&harmless, target.as_raw_fd());
            }
        });
        let outcome = (0..TRIES)
            .map(|_| ioctl(&target, FIFREEZE, std::ptr::null_mut()))
            .find(|outcome| !is_unsupported(outcome));
        done.store(true, Ordering::Relaxed);
        outcome.unwrap_or_else(|| usage("the right moment never came"))
    })
}

/// The harmless one cannot be frozen.
fn is_unsupported(outcome: &Result<(), Failed>) -> bool {
    let unsupported = Some(libc::EOPNOTSUPP);
    matches!(outcome, Err(Failed::Refused(error)) if error.raw_os_error() == unsupported)
}

#[expect(unsafe_code, reason = "a raw system call")]
fn put(file: &File, at: RawFd) {
    // SAFETY: both are open, and whoever owns the second expects it.
    unsafe { libc::dup2(file.as_raw_fd(), at) };
}

#[expect(unsafe_code, reason = "a raw system call")]
fn ioctl(file: &File, command: libc::c_ulong, argument: *mut u32) -> Result<(), Failed> {
    // SAFETY: null, or alive.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), command, argument) };
    Ok(Errno::result(result).map(drop)?)
}
