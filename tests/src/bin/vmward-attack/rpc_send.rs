//! Ways to put bytes into a socket beside `write` and `send`.

use std::io::{self, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use nix::errno::Errno;

use super::uring::{Entry, Ring};

/// sendmmsg, one message.
#[expect(unsafe_code, reason = "no safe wrapper that takes a stream's bytes")]
pub(crate) fn sendmmsg(socket: &UnixStream, bytes: &[u8]) -> io::Result<()> {
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: integers and null pointers, for which zero is a value.
    let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
    message.msg_hdr.msg_iov = &raw mut part;
    message.msg_hdr.msg_iovlen = 1;
    // SAFETY: one message, whose one part lies in `bytes`, only read.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), &raw mut message, 1, 0) };
    Errno::result(sent)?;
    Ok(())
}

/// Through a pipe, so that the kernel moves pages.
#[expect(
    unsafe_code,
    reason = "the safe wrapper is in no feature that is built"
)]
pub(crate) fn splice(socket: &UnixStream, bytes: &[u8]) -> io::Result<()> {
    let (from, mut to) = io::pipe()?;
    to.write_all(bytes)?;
    let (from, socket) = (from.as_raw_fd(), socket.as_raw_fd());
    let (none, mut left) = (std::ptr::null_mut(), bytes.len());
    while left > 0 {
        // SAFETY: descriptors that live, and no offsets.
        let moved = unsafe { libc::splice(from, none, socket, none, left, 0) };
        left = left.saturating_sub(Errno::result(moved)?.unsigned_abs());
    }
    Ok(())
}

/// From a file, in which the socket's bytes lie.
#[expect(
    unsafe_code,
    reason = "the safe wrapper is in no feature that is built"
)]
pub(crate) fn sendfile(socket: &UnixStream, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::tempfile()?;
    file.write_all(bytes)?;
    file.rewind()?;
    let (from, to) = (file.as_raw_fd(), socket.as_raw_fd());
    // SAFETY: descriptors that live, and no offset.
    let sent = unsafe { libc::sendfile(to, from, std::ptr::null_mut(), bytes.len()) };
    Errno::result(sent)?;
    Ok(())
}

/// One operation of `io_uring`: `IORING_OP_SEND`, or a plain write.
pub(crate) fn io_uring(socket: &UnixStream, bytes: &[u8], op: u8) -> io::Result<()> {
    let entry = Entry {
        op,
        fd: socket.as_raw_fd(),
        addr: bytes.as_ptr() as u64,
        len: u32::try_from(bytes.len()).map_err(io::Error::other)?,
        ..Entry::default()
    };
    Ring::new(0)?.submit(&entry).map(drop)
}

/// Through a pipe that holds the pages of this process.
#[expect(
    unsafe_code,
    reason = "the safe wrapper is in no feature that is built"
)]
pub(crate) fn vmsplice(socket: &UnixStream, bytes: &[u8]) -> io::Result<()> {
    let (from, to) = io::pipe()?;
    let part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: one part, which lies in `bytes`, only read.
    let lent = unsafe { libc::vmsplice(to.as_raw_fd(), &raw const part, 1, 0) };
    Errno::result(lent)?;
    let (from, socket, none) = (from.as_raw_fd(), socket.as_raw_fd(), std::ptr::null_mut());
    // SAFETY: descriptors that live, and no offsets.
    let moved = unsafe { libc::splice(from, none, socket, none, bytes.len(), 0) };
    Errno::result(moved).map(drop)?;
    Ok(())
}
