//! The ways that no C library has a function for.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::ptr::null_mut;

use nix::errno::Errno;

use super::{all, open, write};
use crate::uring::{self, Entry, Ring};
use crate::{Failed, own, usage};

/// `struct iocb` of the kernel.
#[repr(C)]
#[derive(Default)]
struct Iocb {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    priority: i16,
    fd: u32,
    buffer: u64,
    len: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    event_fd: u32,
}

/// `IOCB_CMD_PWRITE`
const PWRITE: u16 = 1;

pub(super) fn run(how: &str, path: &str, text: &[u8]) -> Result<(), Failed> {
    match how {
        "pwritev2" => pwritev2(path, text),
        "aio" => aio(path, text),
        "vmsplice" => vmsplice(path, text),
        "tee" => tee(path, text),
        "reopened" => reopened(path, text),
        "openat2" => openat2(path, text),
        "another-thread" => another_thread(path, text),
        "io-uring-openat" => ring_opens(path, text),
        "io-uring-fixed" => ring_knows(path, text),
        _ => usage(
            "control_files: pwrite, writev, writev-second, read-write, io-uring, io-uring-sqpoll, \
             io-uring-openat, io-uring-fixed, sendfile, splice, vmsplice, tee, sent, pwritev2, \
             aio, reopened, openat2, another-thread FILE TEXT; clone-into, clone-here FOLDER -",
        ),
    }
}

fn part(text: &[u8]) -> libc::iovec {
    libc::iovec {
        iov_base: text.as_ptr().cast_mut().cast(),
        iov_len: text.len(),
    }
}

fn count(result: isize) -> Result<usize, Errno> {
    Errno::result(result).map(isize::unsigned_abs)
}

#[expect(unsafe_code, reason = "no safe wrapper")]
fn pwritev2(path: &str, text: &[u8]) -> Result<(), Failed> {
    let (file, part) = (open(path)?, part(text));
    // SAFETY: one part, which lies in `text`, only read.
    let done = unsafe { libc::pwritev2(file.as_raw_fd(), &raw const part, 1, 0, 0) };
    all(count(done)?, text)
}

/// The kernel's own asynchronous calls, as old as they are.
#[expect(unsafe_code, reason = "no safe wrapper")]
fn aio(path: &str, text: &[u8]) -> Result<(), Failed> {
    let file = open(path)?;
    let mut context = 0_u64;
    // SAFETY: a number that the kernel fills.
    Errno::result(unsafe { libc::syscall(libc::SYS_io_setup, 1, &raw mut context) })?;
    let order = Iocb {
        opcode: PWRITE,
        fd: file.as_raw_fd().cast_unsigned(),
        buffer: text.as_ptr() as u64,
        len: text.len() as u64,
        ..Iocb::default()
    };
    let list = [&raw const order];
    // SAFETY: one order, which is alive and whose buffer lies in `text`.
    Errno::result(unsafe { libc::syscall(libc::SYS_io_submit, context, 1, list.as_ptr()) })?;
    // `struct io_event`: the third is the result.
    let mut event = [0_i64; 4];
    let (call, place) = (libc::SYS_io_getevents, event.as_mut_ptr());
    // SAFETY: room for one event, and no limit of time.
    Errno::result(unsafe { libc::syscall(call, context, 1, 1, place, null_mut::<u8>()) })?;
    let result = isize::try_from(event[2]).map_err(io::Error::other)?;
    if result < 0 {
        let errno = i32::try_from(-result).map_err(io::Error::other)?;
        return Err(Errno::from_raw(errno).into());
    }
    all(result.unsigned_abs(), text)
}

#[expect(unsafe_code, reason = "no safe wrapper")]
fn move_from(pipe: &io::PipeReader, path: &str, text: &[u8]) -> Result<(), Failed> {
    let file = open(path)?;
    let (from, to, none) = (pipe.as_raw_fd(), file.as_raw_fd(), null_mut());
    // SAFETY: descriptors that live, and no offsets.
    let done = unsafe { libc::splice(from, none, to, none, text.len(), 0) };
    all(count(done)?, text)
}

/// Out of a pipe that holds this process's own memory.
#[expect(unsafe_code, reason = "no safe wrapper")]
fn vmsplice(path: &str, text: &[u8]) -> Result<(), Failed> {
    let ((from, to), part) = (io::pipe()?, part(text));
    // SAFETY: one part, which lies in `text`, only read.
    let lent = unsafe { libc::vmsplice(to.as_raw_fd(), &raw const part, 1, 0) };
    count(lent)?;
    move_from(&from, path, text)
}

/// Out of a pipe that has its contents from another one.
#[expect(unsafe_code, reason = "no safe wrapper")]
fn tee(path: &str, text: &[u8]) -> Result<(), Failed> {
    let (first, mut begin) = io::pipe()?;
    let (second, to) = io::pipe()?;
    begin.write_all(text)?;
    // SAFETY: descriptors that live.
    let copied = unsafe { libc::tee(first.as_raw_fd(), to.as_raw_fd(), text.len(), 0) };
    count(copied)?;
    move_from(&second, path, text)
}

/// By a descriptor that may not write, opened once more.
fn reopened(path: &str, text: &[u8]) -> Result<(), Failed> {
    let named = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(path)?;
    let again = format!("/proc/self/fd/{}", named.as_raw_fd());
    all(open(&again)?.write(text)?, text)
}

/// Opened without a path that leads there: by its folder.
#[expect(unsafe_code, reason = "no safe wrapper")]
fn openat2(path: &str, text: &[u8]) -> Result<(), Failed> {
    let Some((folder, name)) = path.rsplit_once('/') else {
        return usage("control_files: openat2 FOLDER/FILE TEXT");
    };
    let folder = std::fs::File::open(folder)?;
    let name = std::ffi::CString::new(name).map_err(io::Error::other)?;
    // `struct open_how`: flags, mode, what the way must not lead through.
    let how = [u64::from(libc::O_WRONLY.cast_unsigned()), 0, 0];
    let (call, at) = (libc::SYS_openat2, folder.as_raw_fd());
    // SAFETY: the name and the structure are alive, only read.
    let fd = unsafe { libc::syscall(call, at, name.as_ptr(), how.as_ptr(), size_of_val(&how)) };
    let mut file = std::fs::File::from(own(Errno::result(fd)?)?);
    all(file.write(text)?, text)
}

fn another_thread(path: &str, text: &[u8]) -> Result<(), Failed> {
    let mut file = open(path)?;
    let copy = text.to_vec();
    match std::thread::spawn(move || file.write(&copy)).join() {
        Ok(done) => all(done?, text),
        Err(_panic) => usage("the thread panicked"),
    }
}

/// The kernel opens it, too.
fn ring_opens(path: &str, text: &[u8]) -> Result<(), Failed> {
    let path = std::ffi::CString::new(path).map_err(io::Error::other)?;
    let mut ring = Ring::new(0)?;
    let opened = ring.submit(&Entry {
        op: uring::OP_OPENAT,
        fd: libc::AT_FDCWD,
        addr: path.as_ptr() as u64,
        op_flags: libc::O_WRONLY.cast_unsigned(),
        ..Entry::default()
    })?;
    let fd = i32::try_from(opened).map_err(io::Error::other)?;
    all(ring.submit(&write(fd, text))?, text)
}

/// The ring has the file, and this process has closed it.
fn ring_knows(path: &str, text: &[u8]) -> Result<(), Failed> {
    let mut ring = Ring::new(0)?;
    let file = open(path)?;
    ring.register(file.as_raw_fd())?;
    drop(file);
    let entry = Entry {
        flags: uring::FIXED_FILE,
        ..write(0, text)
    };
    all(ring.submit(&entry)?, text)
}
