//! Opening perf events.

use std::os::fd::OwnedFd;

use nix::errno::Errno;

use super::{Failed, own};

/// One event of the `struct perf_event_attr` in these words, whose length is filled in: of
/// the thread `who` (0: of this one, -1: of all), on a processor (-1: on all).
#[expect(unsafe_code, reason = "a raw system call")]
pub(crate) fn open<const WORDS: usize>(
    mut attr: [u64; WORDS],
    who: i32,
    processor: i32,
) -> Result<OwnedFd, Failed> {
    attr[0] |= (size_of_val(&attr) as u64) << 32;
    let (call, no_group) = (libc::SYS_perf_event_open, -1);
    // SAFETY: the attribute and what it points to are alive, only read, and as long as it
    // says.
    let fd = unsafe { libc::syscall(call, attr.as_ptr(), who, processor, no_group, 0) };
    Ok(own(Errno::result(fd)?)?)
}
