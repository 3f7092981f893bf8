//! Writes to control files by ways that no shell command takes.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;

use super::uring::{self, Entry, Ring};
use super::{Failed, usage};

mod clone;
mod unusual;

pub(crate) fn run(args: &[&str]) -> Result<(), Failed> {
    let [how, path, text] = args else {
        return usage("control_files: HOW FILE TEXT");
    };
    let text = text.as_bytes();
    match *how {
        "clone-into" => clone::into(path),
        "clone-here" => clone::here(path),
        "pwrite" => all(open(path)?.write_at(text, 0)?, text),
        "writev" => all(open(path)?.write_vectored(&[IoSlice::new(text)])?, text),
        // Musl's way: an empty part before the text.
        "writev-second" => {
            let parts = [IoSlice::new(&[]), IoSlice::new(text)];
            all(open(path)?.write_vectored(&parts)?, text)
        }
        "writev-parts" => {
            let (first, second) = text.split_at(1.min(text.len()));
            let parts = [IoSlice::new(first), IoSlice::new(second)];
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
        "io-uring" => by_ring(&open(path)?, text, 0),
        "io-uring-sqpoll" => by_ring(&open(path)?, text, uring::SETUP_SQPOLL),
        "sendfile" => sendfile(&open(path)?, text),
        "splice" => splice(&open(path)?, text),
        "sent" => sent(&open(path)?, text),
        _ => unusual::run(how, path, text),
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

/// One write by `io_uring`.
fn by_ring(file: &File, text: &[u8], flags: u32) -> Result<(), Failed> {
    let count = Ring::new(flags)?.submit(&write(file.as_raw_fd(), text))?;
    all(count, text)
}

fn write(fd: i32, text: &[u8]) -> Entry {
    Entry {
        op: uring::OP_WRITE,
        fd,
        addr: text.as_ptr() as u64,
        len: u32::try_from(text.len()).unwrap_or(0),
        ..Entry::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a file of the test's own: the same calls as on a cgroup's.
    #[test]
    fn every_way_writes() {
        let ways = [
            "pwrite",
            "writev",
            "writev-second",
            "writev-parts",
            "read-write",
            "sendfile",
            "splice",
            "pwritev2",
            "aio",
            "vmsplice",
            "tee",
            "reopened",
            "openat2",
            "another-thread",
        ];
        let rings = [
            "io-uring",
            "io-uring-sqpoll",
            "io-uring-openat",
            "io-uring-fixed",
        ];
        // Where a sandbox takes it away.
        let ring = Ring::new(0).is_ok();
        let rings = rings.into_iter().filter(|_| ring);
        for way in ways.into_iter().chain(rings) {
            let file = tempfile::NamedTempFile::new().expect("a temporary file");
            let path = file.path().to_str().expect("UTF-8");
            if let Err(Failed::Refused(error)) = run(&[way, path, "text"]) {
                panic!("{way}: {error}");
            }
            let written = std::fs::read_to_string(path).expect("it is there");
            assert_eq!(written, "text", "{way}");
        }
    }
}
