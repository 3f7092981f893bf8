//! Ways to put bytes into a socket beside `write` and `send`.

use std::io::{self, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use nix::errno::Errno;

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

/// Offsets in the kernel's `struct io_uring_params` and in an entry of its
/// queue, in 32-bit words.
const PARAMS_WORDS: usize = 30;
const SQ_OFF: usize = 10;
const IORING_OP_SEND: u8 = 26;
const OFF_SQ_RING: libc::off_t = 0;
const OFF_SQES: libc::off_t = 0x1000_0000;
const ENTRY: usize = 64;
const RING_LEN: usize = 4096;
const GETEVENTS: libc::c_uint = 1;

/// Writes into a mapped queue, inside its length.
#[expect(unsafe_code, reason = "the queue is shared memory")]
fn put(queue: *mut libc::c_void, at: usize, bytes: &[u8]) {
    let to = queue.cast::<u8>().wrapping_add(at);
    // SAFETY: inside the mapping, at a place that the kernel gave; nobody else
    // uses this ring.
    unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
}

/// One `IORING_OP_SEND`.
#[expect(unsafe_code, reason = "entering the queue is a raw system call")]
pub(crate) fn io_uring(socket: &UnixStream, bytes: &[u8]) -> io::Result<()> {
    let mut params = [0_u32; PARAMS_WORDS];
    // SAFETY: the kernel fills the 120 bytes of its parameters.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, params.as_mut_ptr()) };
    let ring = i32::try_from(Errno::result(ring)?).map_err(io::Error::other)?;
    let queue = map(ring, RING_LEN, OFF_SQ_RING)?;
    let entries = map(ring, RING_LEN, OFF_SQES)?;
    let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    let (tail, array) = (params[SQ_OFF + 1] as usize, params[SQ_OFF + 6] as usize);
    let mut entry = [0; ENTRY];
    entry[0] = IORING_OP_SEND;
    entry[4..8].copy_from_slice(&socket.as_raw_fd().to_ne_bytes());
    entry[16..24].copy_from_slice(&(bytes.as_ptr() as u64).to_ne_bytes());
    entry[24..28].copy_from_slice(&len.to_ne_bytes());
    put(entries, 0, &entry);
    put(queue, array, &0_u32.to_ne_bytes());
    put(queue, tail, &1_u32.to_ne_bytes());
    // SAFETY: integers, and no signal set.
    let entered =
        unsafe { libc::syscall(libc::SYS_io_uring_enter, ring, 1, 1, GETEVENTS, 0_usize, 0) };
    Errno::result(entered)?;
    Ok(())
}

#[expect(unsafe_code, reason = "mapping a queue of the kernel's")]
fn map(ring: i32, len: usize, at: libc::off_t) -> io::Result<*mut libc::c_void> {
    let both = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping, at an address of the kernel's choice; it lives
    // until this program ends.
    let place = unsafe { libc::mmap(std::ptr::null_mut(), len, both, libc::MAP_SHARED, ring, at) };
    if place == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(place)
}
