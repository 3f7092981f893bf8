//! Reaching for a monitor's socket oneself.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, IoSlice, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrLike, UnixAddr, connect, socket,
};
use nix::unistd::{Uid, setresuid};

use super::uring::{self, Entry, Ring};
use super::{Failed, number, usage};

/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

pub(crate) fn run(args: &[&str]) -> Result<(), Failed> {
    match args {
        // PATH
        ["connect", path] => Ok(UnixStream::connect(path).map(drop)?),
        // UID PATH
        ["connect-as", rest @ ..] => {
            let uid = Uid::from_raw(number(rest, 0)?);
            setresuid(uid, uid, uid)?;
            match rest {
                [_, path] => Ok(UnixStream::connect(path).map(drop)?),
                _ => usage("monitor connect-as UID PATH"),
            }
        }
        ["connect-thread", path] => from_a_thread((*path).to_owned()),
        ["connect-non-blocking", path] => non_blocking(path),
        ["connect-descriptor", path] => by_descriptor(path),
        ["connect-io-uring", path] => by_ring(path),
        // PATH
        ["quit", path] => quit(path),
        ["list-disks", path] => list_disks(path),
        ["orders", how, path] => orders(how, path),
        _ => usage(
            "monitor: connect|connect-thread|connect-non-blocking|connect-descriptor|\
             connect-io-uring PATH | connect-as UID PATH | quit PATH | list-disks PATH | \
             orders HOW PATH",
        ),
    }
}

fn from_a_thread(path: String) -> Result<(), Failed> {
    match std::thread::spawn(move || UnixStream::connect(path)).join() {
        Ok(connected) => Ok(connected.map(drop)?),
        Err(_panic) => usage("the thread panicked"),
    }
}

fn non_blocking(path: &str) -> Result<(), Failed> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let client = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    Ok(connect(client.as_raw_fd(), &UnixAddr::new(path)?)?)
}

/// By the name that `/proc` has for a descriptor of the socket's file.
fn by_descriptor(path: &str) -> Result<(), Failed> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(path)?;
    let name = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(UnixStream::connect(name).map(drop)?)
}

fn by_ring(path: &str) -> Result<(), Failed> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let client = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let address = UnixAddr::new(path)?;
    // The address's length stands where other operations have an offset.
    let entry = Entry {
        op: uring::OP_CONNECT,
        fd: client.as_raw_fd(),
        addr: address.as_ptr() as u64,
        off: address.len().into(),
        ..Entry::default()
    };
    Ok(Ring::new(0)?.submit(&entry).map(drop)?)
}

/// Speaks to a QEMU that serves this client: ends it.
fn quit(path: &str) -> Result<(), Failed> {
    let mut monitor = UnixStream::connect(path)?;
    monitor.set_read_timeout(Some(ANSWER_LIMIT))?;
    let mut answers = BufReader::new(monitor.try_clone()?);
    let mut line = String::new();
    answers.read_line(&mut line)?;
    for command in ["qmp_capabilities", "quit"] {
        writeln!(monitor, "{{\"execute\":\"{command}\"}}")?;
        answers.read_line(&mut line)?;
    }
    Ok(())
}

/// Ends a QEMU that serves this client by an order behind a harmless one, in the same
/// write.
fn orders(how: &str, path: &str) -> Result<(), Failed> {
    const QUIT: &[u8] = b"{\"execute\":\"quit\"}\r\n";
    let long = "x".repeat(5000);
    let first = match how {
        "in-one-write" => "{\"execute\":\"query-status\"}\r\n".to_owned(),
        "run-together" | "in-parts" => "{\"execute\":\"query-status\"}".to_owned(),
        "for-people" => "{\"execute\":\"human-monitor-command\",\"arguments\":\
             {\"command-line\":\"info status\"}}"
            .to_owned(),
        // A reader that has met what is no JSON begins anew.
        "behind-an-error" => "{\"execute\":\"query-status\",%".to_owned(),
        "behind-a-number" => "{\"execute\":\"query-status\",\"id\":-x".to_owned(),
        "behind-a-bracket" => "{\"execute\":\"query-status\"]".to_owned(),
        "behind-a-string" => "{\"execute\":\"query-status\",\"id\":\"\n".to_owned(),
        "behind-a-long-one" => format!("{{\"execute\":\"query-status\",\"id\":\"{long}\"}}"),
        _ => return usage("monitor orders HOW PATH: there is no such way"),
    };
    let mut monitor = UnixStream::connect(path)?;
    monitor.set_read_timeout(Some(ANSWER_LIMIT))?;
    let mut answers = BufReader::new(monitor.try_clone()?);
    let mut line = String::new();
    answers.read_line(&mut line)?;
    monitor.write_all(b"{\"execute\":\"qmp_capabilities\"}\r\n")?;
    answers.read_line(&mut line)?;
    if how == "in-parts" {
        let parts = [IoSlice::new(first.as_bytes()), IoSlice::new(QUIT)];
        let written = monitor.write_vectored(&parts)?;
        if written < first.len() + QUIT.len() {
            return usage("the socket took a part of it");
        }
    } else {
        monitor.write_all(&[first.as_bytes(), QUIT].concat())?;
    }
    // Until QEMU has ended, or has answered all.
    let _ended = answers.read_to_string(&mut line);
    Ok(())
}

/// Asks a server of NBD what it has.
fn list_disks(path: &str) -> Result<(), Failed> {
    // Two magic numbers and flags of two bytes.
    let mut greeting = [0; 18];
    // Of an answer: its head, and how long the name in it is.
    let mut head = [0; 24];
    let mut server = UnixStream::connect(path)?;
    server.set_read_timeout(Some(ANSWER_LIMIT))?;
    server.read_exact(&mut greeting)?;
    // The client's flags, the option's magic number, its number (a list), no data.
    server.write_all(b"\0\0\0\x03IHAVEOPT\0\0\0\x03\0\0\0\0")?;
    server.read_exact(&mut head)?;
    let [.., a, b, c, d] = head;
    let mut name = vec![0; u32::from_be_bytes([a, b, c, d]) as usize];
    Ok(server.read_exact(&mut name)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// To a listener of the test's own.
    #[test]
    fn every_way_connects() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("monitor.sock");
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
        let path = path.to_str().expect("UTF-8");
        let ways = [
            "connect",
            "connect-thread",
            "connect-non-blocking",
            "connect-descriptor",
            "connect-io-uring",
        ];
        // Where a sandbox takes rings away.
        let ring = Ring::new(0).is_ok();
        for way in ways
            .into_iter()
            .filter(|way| ring || !way.ends_with("uring"))
        {
            if let Err(Failed::Refused(error)) = run(&[way, path]) {
                panic!("{way}: {error}");
            }
            listener.accept().expect("somebody has connected");
        }
    }
}
