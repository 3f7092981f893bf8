//! A guest's memory, of which only a descriptor to read is to be had, is written to: a
//! driver makes a buffer of it that others may write to.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

use super::{Failed, usage};

/// `UDMABUF_CREATE`
const CREATE: libc::c_ulong = 0x4018_7542;
/// What guests of these tests do not do without: their first two megabytes.
const LEN: usize = 2 << 20;

/// `struct udmabuf_create`
#[repr(C)]
struct Wanted {
    memfd: u32,
    flags: u32,
    offset: u64,
    size: u64,
}

pub(crate) fn run(args: &[&str]) -> Result<(), Failed> {
    match args {
        ["zero", path] => zero(path),
        _ => usage("udmabuf: zero PATH"),
    }
}

#[expect(unsafe_code, reason = "an ioctl and a mapping, no safe wrappers")]
fn zero(path: &str) -> Result<(), Failed> {
    let memory = File::open(path)?;
    let driver = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/udmabuf")?;
    let wanted = Wanted {
        memfd: u32::try_from(memory.as_raw_fd()).map_err(io::Error::other)?,
        flags: 0,
        offset: 0,
        size: LEN as u64,
    };
    // SAFETY: the structure is alive, and as the driver takes it.
    let made = unsafe { libc::ioctl(driver.as_raw_fd(), CREATE, &raw const wanted) };
    // SAFETY: it is ours alone.
    let buffer = unsafe { OwnedFd::from_raw_fd(Errno::result(made)?) };
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping, anywhere.
    let at = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            LEN,
            access,
            libc::MAP_SHARED,
            buffer.as_raw_fd(),
            0,
        )
    };
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error().into());
    }
    // SAFETY: the whole mapping is ours to write to.
    unsafe { std::ptr::write_bytes(at.cast::<u8>(), 0, LEN) };
    Ok(())
}
