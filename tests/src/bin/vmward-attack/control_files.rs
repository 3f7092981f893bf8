//! Writes to control files by ways that no shell command takes.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;

use super::{Failed, usage};

pub(crate) fn run(args: &[&str]) -> Result<(), Failed> {
    let [how, path, text] = args else {
        return usage("control_files: HOW FILE TEXT");
    };
    let text = text.as_bytes();
    match *how {
        "pwrite" => all(open(path)?.write_at(text, 0)?, text),
        "writev" => all(open(path)?.write_vectored(&[IoSlice::new(text)])?, text),
        // Musl's way: an empty part before the text.
        "writev-second" => {
            let parts = [IoSlice::new(&[]), IoSlice::new(text)];
            all(open(path)?.write_vectored(&parts)?, text)
        }
        "read-write" => all(
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(path)?
                .write(text)?,
            text,
        ),
        "io-uring" => uring(&open(path)?, text, 0),
        "io-uring-sqpoll" => uring(&open(path)?, text, IORING_SETUP_SQPOLL),
        "sendfile" => sendfile(&open(path)?, text),
        "splice" => splice(&open(path)?, text),
        "sent" => sent(&open(path)?, text),
        _ => usage("control_files: pwrite, writev, io-uring, sendfile, splice..."),
    }
}

fn open(path: &str) -> io::Result<File> {
    OpenOptions::new().write(true).open(path)
}

fn all(count: usize, text: &[u8]) -> Result<(), Failed> {
    if count == text.len() {
        return Ok(());
    }
    Err(io::Error::from(io::ErrorKind::WriteZero).into())
}

fn sendfile(file: &File, text: &[u8]) -> Result<(), Failed> {
    let mut from = tempfile::tempfile()?;
    from.write_all(text)?;
    from.seek(SeekFrom::Start(0))?;
    // SAFETY: descriptors and a null pointer: no memory of ours.
    #[expect(unsafe_code, reason = "nix has it behind another feature")]
    let count = unsafe {
        libc::sendfile(
            file.as_raw_fd(),
            from.as_raw_fd(),
            std::ptr::null_mut(),
            text.len(),
        )
    };
    all(usize::try_from(Errno::result(count)?).unwrap_or(0), text)
}

fn splice(file: &File, text: &[u8]) -> Result<(), Failed> {
    let (read, mut write) = io::pipe()?;
    write.write_all(text)?;
    let none = std::ptr::null_mut();
    // SAFETY: descriptors and null pointers: no memory of ours.
    #[expect(unsafe_code, reason = "nix has it behind another feature")]
    let count = unsafe {
        libc::splice(
            read.as_raw_fd(),
            none,
            file.as_raw_fd(),
            none,
            text.len(),
            0,
        )
    };
    all(usize::try_from(Errno::result(count)?).unwrap_or(0), text)
}

/// Another process gets the descriptor in a message, and writes.
fn sent(file: &File, text: &[u8]) -> Result<(), Failed> {
    use nix::sys::socket::{
        AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair,
    };
    let (ours, theirs) = socketpair(
        AddressFamily::Unix,
        SockType::Stream,
        None,
        SockFlag::empty(),
    )?;
    let message = String::from_utf8_lossy(text).into_owned();
    let receive = "import os, socket, sys
text, fds, _, _ = socket.recv_fds(socket.socket(fileno=0), 64, 1)
os.write(fds[0], text)";
    let writer = std::process::Command::new("python3")
        .args(["-c", receive])
        .stdin(theirs)
        .stderr(std::process::Stdio::piped())
        .spawn()?;
    sendmsg::<()>(
        ours.as_raw_fd(),
        &[IoSlice::new(message.as_bytes())],
        &[ControlMessage::ScmRights(&[file.as_raw_fd()])],
        MsgFlags::empty(),
        None,
    )?;
    let output = writer.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(io::Error::other(said).into())
}

const IORING_SETUP_SQPOLL: u32 = 2;
const IORING_OP_WRITE: u8 = 23;
const IORING_ENTER_GETEVENTS: u32 = 1;
const IORING_ENTER_SQ_WAKEUP: u32 = 2;
const IORING_OFF_CQ_RING: i64 = 0x0800_0000;
const IORING_OFF_SQES: i64 = 0x1000_0000;
/// `struct io_uring_params`, in words: flags are the third, the offsets of the
/// submission ring start at the eleventh, those of the completion ring at the
/// twenty-first.
const PARAMS_LEN: usize = 30;

/// One write by `io_uring`, waited for.
#[expect(unsafe_code, reason = "io_uring is shared memory")]
fn uring(file: &File, text: &[u8], flags: u32) -> Result<(), Failed> {
    let mut params = [0_u32; PARAMS_LEN];
    params[2] = flags;
    // SAFETY: the array is as long as the kernel's structure.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, params.as_mut_ptr()) };
    let ring = i32::try_from(Errno::result(ring)?).unwrap_or(-1);
    let submission = map(ring, 0)?;
    let completion = map(ring, IORING_OFF_CQ_RING)?;
    let entry = map(ring, IORING_OFF_SQES)?;
    let (tail, array) = (params[11] as usize, params[16] as usize);
    let (done, entries) = (params[21] as usize, params[25] as usize);
    put(entry, 0, IORING_OP_WRITE);
    put(entry, 4, file.as_raw_fd());
    put(entry, 16, text.as_ptr() as u64);
    put(entry, 24, u32::try_from(text.len()).unwrap_or(0));
    put(submission, array, 0_u32);
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    put(submission, tail, 1_u32);
    let enter = if flags == 0 {
        IORING_ENTER_GETEVENTS
    } else {
        IORING_ENTER_GETEVENTS | IORING_ENTER_SQ_WAKEUP
    };
    // SAFETY: integers and a null pointer.
    let entered = unsafe { libc::syscall(libc::SYS_io_uring_enter, ring, 1, 1, enter, 0, 0) };
    Errno::result(entered)?;
    let ready: u32 = get(completion, done);
    let result: i32 = get(completion, entries + 8);
    if ready == 0 {
        return Err(io::Error::from(io::ErrorKind::TimedOut).into());
    }
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result).into());
    }
    all(usize::try_from(result).unwrap_or(0), text)
}

/// Writes into a page that [`map`] gave.
#[expect(unsafe_code, reason = "io_uring is shared memory")]
fn put<T>(page: *mut u8, at: usize, value: T) {
    let place = page.wrapping_add(at).cast::<T>();
    // SAFETY: the offsets are the kernel's, aligned and within what it mapped;
    // nobody else of this process looks at it.
    unsafe { place.write_volatile(value) };
}

/// Reads from a page that [`map`] gave.
#[expect(unsafe_code, reason = "io_uring is shared memory")]
fn get<T>(page: *mut u8, at: usize) -> T {
    let place = page.wrapping_add(at).cast::<T>();
    // SAFETY: as above.
    unsafe { place.read_volatile() }
}

/// A page of a ring.
#[expect(unsafe_code, reason = "io_uring is shared memory")]
fn map(ring: i32, at: i64) -> Result<*mut u8, Failed> {
    // SAFETY: a new mapping, wherever the kernel puts it.
    let place = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_POPULATE,
            ring,
            at,
        )
    };
    if place == libc::MAP_FAILED {
        return Err(Errno::last().into());
    }
    Ok(place.cast())
}
