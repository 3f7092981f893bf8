//! Signals that the kernel sends the owner of a file upon an event on it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::{Failed, number, perf, usage};

/// Which the library does not name.
const F_SETSIG: i32 = 10;
const F_SETOWN_EX: i32 = 15;
/// `F_OWNER_TID`
const OWNER_TID: i32 = 0;
/// `FIOSETOWN`
const FIOSETOWN: libc::c_ulong = 0x8901;
/// `DN_CREATE | DN_MULTISHOT`
const DN_CREATE: i32 = 4;

pub(crate) fn run(args: &[&str]) -> Result<(), Failed> {
    let (Some(what), who, signal) = (args.first(), number(args, 1)?, number(args, 2)?) else {
        return usage("sigio: WHAT PID SIGNAL");
    };
    match *what {
        "pipe" => pipe(|fd| own(fd, who, signal)),
        "pipe-group" => pipe(|fd| own(fd, group_of(who)?.wrapping_neg(), signal)),
        "pipe-thread" => pipe(|fd| {
            own_thread(fd, who)?;
            arm(fd, signal)
        }),
        "pipe-other-writes" => other_writes(who, signal),
        "socket" => socket(|fd| own(fd, who, signal)),
        "socket-ioctl" => socket(|fd| {
            own_by_ioctl(fd, who)?;
            arm(fd, signal)
        }),
        "tcp" => tcp(who, signal),
        "udp" => udp(who, signal),
        "terminal" => terminal(who, signal),
        "lease" => lease(who, signal),
        "dnotify" => dnotify(who, signal),
        "inotify" => inotify(who, signal),
        "perf" => perf_overflow(who, signal),
        "perf-sigtrap" => perf_sigtrap(who),
        _ => usage("sigio: no such file"),
    }
}

#[expect(unsafe_code, reason = "nix has none of these commands")]
fn control(fd: &impl AsFd, command: i32, argument: i32) -> Result<(), Failed> {
    // SAFETY: the commands used here take integers.
    let done = unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), command, argument) };
    Ok(Errno::result(done).map(drop)?)
}

/// Which signal, and that there be any.
fn arm(fd: &impl AsFd, signal: i32) -> Result<(), Failed> {
    control(fd, F_SETSIG, signal)?;
    control(fd, libc::F_SETFL, libc::O_ASYNC | libc::O_NONBLOCK)
}

fn own(fd: &impl AsFd, who: i32, signal: i32) -> Result<(), Failed> {
    control(fd, libc::F_SETOWN, who)?;
    arm(fd, signal)
}

#[expect(unsafe_code, reason = "no safe wrapper")]
fn own_thread(fd: &impl AsFd, tid: i32) -> Result<(), Failed> {
    let owner = [OWNER_TID, tid];
    // SAFETY: the command reads a type and a number.
    let done = unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), F_SETOWN_EX, &raw const owner) };
    Ok(Errno::result(done).map(drop)?)
}

#[expect(unsafe_code, reason = "no safe wrapper")]
fn own_by_ioctl(fd: &impl AsFd, pid: i32) -> Result<(), Failed> {
    // SAFETY: the request reads a number.
    let done = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), FIOSETOWN, &raw const pid) };
    Ok(Errno::result(done).map(drop)?)
}

#[expect(unsafe_code, reason = "no safe wrapper")]
fn group_of(pid: i32) -> Result<i32, Failed> {
    // SAFETY: takes an integer only.
    Ok(Errno::result(unsafe { libc::getpgid(pid) })?)
}

fn pipe(own: impl Fn(&io::PipeReader) -> Result<(), Failed>) -> Result<(), Failed> {
    let (reader, mut writer) = io::pipe()?;
    own(&reader)?;
    writer.write_all(b"x")?;
    // The end of the last writer would be an event, too.
    drop(reader);
    Ok(())
}

/// The event is another program's, which knows of nothing.
fn other_writes(who: i32, signal: i32) -> Result<(), Failed> {
    let (reader, writer) = io::pipe()?;
    own(&reader, who, signal)?;
    let kept = writer.try_clone()?;
    std::process::Command::new("echo").stdout(writer).status()?;
    drop(reader);
    drop(kept);
    Ok(())
}

fn socket(own: impl Fn(&UnixStream) -> Result<(), Failed>) -> Result<(), Failed> {
    let (ours, mut other) = UnixStream::pair()?;
    own(&ours)?;
    other.write_all(b"x")?;
    drop(ours);
    Ok(())
}

fn tcp(who: i32, signal: i32) -> Result<(), Failed> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    own(&server, who, signal)?;
    client.write_all(b"x")?;
    drop(server);
    Ok(())
}

fn udp(who: i32, signal: i32) -> Result<(), Failed> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    own(&socket, who, signal)?;
    Ok(socket.send_to(b"x", socket.local_addr()?).map(drop)?)
}

#[expect(unsafe_code, reason = "raw system calls")]
fn terminal(who: i32, signal: i32) -> Result<(), Failed> {
    let open = |path: &str| {
        fs::OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOCTTY)
            .open(path)
    };
    let mut master = open("/dev/ptmx")?;
    let fd = master.as_raw_fd();
    let (unlocked, mut number) = (0_i32, 0_i32);
    // SAFETY: each request takes the address of a number.
    Errno::result(unsafe { libc::ioctl(fd, libc::TIOCSPTLCK, &raw const unlocked) })?;
    // SAFETY: as above.
    Errno::result(unsafe { libc::ioctl(fd, libc::TIOCGPTN, &raw mut number) })?;
    let other = open(&format!("/dev/pts/{number}"))?;
    own(&other, who, signal)?;
    master.write_all(b"x\n")?;
    // A worker of the kernel brings it there, and signals before it wakes.
    let mut arrival = libc::pollfd {
        fd: other.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one structure, as said.
    Errno::result(unsafe { libc::poll(&raw mut arrival, 1, 10_000) })?;
    Ok(())
}

/// The lease is broken by opening the file once more.
fn lease(who: i32, signal: i32) -> Result<(), Failed> {
    let path = format!("/var/tmp/vmward-lease-{}", std::process::id());
    File::create(&path)?;
    let read = File::open(&path)?;
    control(&read, libc::F_SETLEASE, libc::F_RDLCK)?;
    own(&read, who, signal)?;
    let breaker = fs::OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&path);
    fs::remove_file(&path)?;
    match breaker {
        Err(e) if e.raw_os_error() == Some(libc::EWOULDBLOCK) => Ok(()),
        other => Ok(other.map(drop)?),
    }
}

fn dnotify(who: i32, signal: i32) -> Result<(), Failed> {
    let path = format!("/var/tmp/vmward-dnotify-{}", std::process::id());
    fs::create_dir(&path)?;
    let dir = File::open(&path)?;
    control(&dir, libc::F_NOTIFY, DN_CREATE)?;
    own(&dir, who, signal)?;
    File::create(format!("{path}/x"))?;
    Ok(fs::remove_dir_all(&path)?)
}

#[expect(unsafe_code, reason = "raw system calls")]
fn inotify(who: i32, signal: i32) -> Result<(), Failed> {
    let path = format!("/var/tmp/vmward-inotify-{}", std::process::id());
    fs::create_dir(&path)?;
    let name = std::ffi::CString::new(path.clone()).map_err(io::Error::other)?;
    // SAFETY: takes an integer only.
    let fd = Errno::result(unsafe { libc::inotify_init1(0) })?;
    // SAFETY: the descriptor was just given, and the name ends with a NUL.
    let watch = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: as above.
    Errno::result(unsafe { libc::inotify_add_watch(fd, name.as_ptr(), libc::IN_CREATE) })?;
    own(&watch, who, signal)?;
    File::create(format!("{path}/x"))?;
    // The end of what is watched would be an event, too.
    drop(watch);
    Ok(fs::remove_dir_all(&path)?)
}

/// A perf event on a thread of somebody else's, that sends the thread a SIGTRAP
/// whenever it gives up the processor.
fn perf_sigtrap(who: i32) -> Result<(), Failed> {
    // type software, config context-switches, period 1, remove_on_exec and sigtrap.
    let mut attr = [0_u64; 16];
    attr[0] = 1;
    attr[1] = 3;
    attr[2] = 1;
    attr[5] = 1 << 36 | 1 << 37;
    let _event = perf::open(attr, who, -1)?;
    // It counts for as long as it is open. What has ended has no program.
    let start = Instant::now();
    let program = format!("/proc/{who}/exe");
    while start.elapsed() < Duration::from_secs(20) && fs::read_link(&program).is_ok() {
        thread::yield_now();
    }
    Ok(())
}

/// A software clock that overflows after a millisecond of work: the signal
/// comes from an interrupt.
#[expect(unsafe_code, reason = "raw system calls")]
fn perf_overflow(who: i32, signal: i32) -> Result<(), Failed> {
    const REFRESH: libc::c_ulong = 0x2402;
    // type software, config cpu-clock, period 1 ms.
    let mut attr = [0_u64; 14];
    attr[0] = 1;
    attr[2] = 1_000_000;
    // wakeup_events 1, after read_format and the flags; disabled at first.
    attr[5] = 1;
    attr[6] = 1;
    let event = perf::open(attr, 0, -1)?;
    own(&event, who, signal)?;
    // SAFETY: takes integers only.
    Errno::result(unsafe { libc::ioctl(event.as_raw_fd(), REFRESH, 1) })?;
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(100) {
        std::hint::spin_loop();
    }
    Ok(())
}
