//! The self-test's victim: a process that plays a VM.
//!
//! `vmwardd --canary DIR` is started by the daemon itself and does what it is
//! told on its standard input, one word a line: `say TEXT` sends TEXT on its
//! monitor, `enter FOLDER` moves to a cgroup, `xfsz` makes the kernel send it a
//! signal. The other words are attempts on the host and on vmward itself; anybody
//! may start a canary, so each of them does no harm where it succeeds. It ends
//! with its input.

use std::ffi::CString;
use std::io::{self, BufRead, IoSlice, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc;
use std::{fs, thread};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, renameat};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, sendmsg, sendto, socket,
};
use nix::unistd::{pivot_root, truncate, unlink};

use super::teach;

/// Name of the monitor socket in the canary's folder: as libvirt names it.
pub(super) const MONITOR: &str = "monitor.sock";

/// The attempts on what is vmward's own.
pub(super) const OWN_WORDS: [&str; 11] = [
    "map",
    "prog",
    "unlink",
    "rename",
    "rmdir",
    "truncate",
    "umount",
    "mount",
    "move-mount",
    "remount",
    "pivot",
];

/// Runs until the input ends.
pub fn run(dir: &Path) -> ExitCode {
    match play(dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            // Nobody else reads this: the daemon shows it when the test fails.
            let _gone = writeln!(io::stderr(), "canary: {e}");
            ExitCode::FAILURE
        }
    }
}

fn play(dir: &Path) -> io::Result<()> {
    let listener = UnixListener::bind(dir.join(MONITOR))?;
    // A second thread to attack: a VM's vCPUs are threads.
    let (tid, got) = mpsc::channel();
    thread::spawn(move || {
        let sent = tid.send(nix::unistd::gettid());
        while sent.is_ok() {
            thread::park();
        }
    });
    let tid = got.recv().map_err(io::Error::other)?;
    let mut out = io::stdout();
    writeln!(out, "ready {tid}")?;
    out.flush()?;
    let (monitor, _) = listener.accept()?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        match line.split_once(' ') {
            Some(("say", text)) => say(&monitor, text)?,
            Some(("enter", cgroup)) => enter(Path::new(cgroup))?,
            _ if line == "xfsz" => provoke_kernel_signal(dir)?,
            Some((word, target)) => {
                tried(&mut out, attempt(word, target)?)?;
                continue;
            }
            None if line == "reboot" => {
                tried(&mut out, reboot())?;
                continue;
            }
            None if line == "audit" => {
                tried(&mut out, panic_of_audit())?;
                continue;
            }
            _ => return Err(io::Error::other(format!("unknown word {line:?}"))),
        }
        writeln!(out, "done")?;
        out.flush()?;
    }
    Ok(())
}

/// Moves to a cgroup, given by its folder.
fn enter(cgroup: &Path) -> io::Result<()> {
    fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string())
}

fn tried(out: &mut io::Stdout, result: Result<(), Errno>) -> io::Result<()> {
    let errno = result.err().map_or(0, |errno| errno as i32);
    writeln!(out, "tried {errno}")?;
    out.flush()
}

/// As QEMU sends: one sendmsg a line.
fn say(monitor: &UnixStream, text: &str) -> io::Result<()> {
    let line = format!("{text}\r\n");
    let parts = [IoSlice::new(line.as_bytes())];
    sendmsg::<()>(monitor.as_raw_fd(), &parts, &[], MsgFlags::empty(), None)?;
    Ok(())
}

/// From now on no file grows by this process. The signal that the kernel sends for a try
/// is ignored, but seen.
#[expect(
    unsafe_code,
    reason = "changing a signal's disposition is unsafe in nix"
)]
fn let_no_file_grow() -> io::Result<()> {
    // SAFETY: ignoring a signal runs no handler.
    unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }?;
    Ok(setrlimit(Resource::RLIMIT_FSIZE, 0, 0)?)
}

/// A write beyond the file size limit: the kernel sends SIGXFSZ.
fn provoke_kernel_signal(dir: &Path) -> io::Result<()> {
    let mut file = fs::File::create(dir.join("xfsz"))?;
    let_no_file_grow()?;
    match file.write(b"x") {
        Err(e) if e.raw_os_error() == Some(libc::EFBIG) => Ok(()),
        other => Err(io::Error::other(format!(
            "the file size limit did not hold: {other:?}"
        ))),
    }
}

/// Tries something; gives what the kernel said.
fn attempt(word: &str, target: &str) -> io::Result<Result<(), Errno>> {
    let path = Path::new(target);
    let number = || target.parse::<u32>().map_err(io::Error::other);
    // Only ever the self-test's own bait: another name could be somebody's pin.
    let bait = || match path.file_name() {
        Some(name) if name == "canary" => Ok(path),
        _ => Err(io::Error::other("that is no bait")),
    };
    Ok(match word {
        "program" => match teach::CALLS.get(number()? as usize) {
            Some(call) => teach::load(*call).and_then(|program| match program {
                Some(_loaded) => Ok(()),
                None => Err(Errno::ENOSYS),
            }),
            None => Err(Errno::EINVAL),
        },
        "map" => by_number(BPF_MAP_GET_FD_BY_ID, number()?),
        "prog" => by_number(BPF_PROG_GET_FD_BY_ID, number()?),
        "unlink" => unlink(bait()?),
        "rename" => renameat(
            AT_FDCWD,
            bait()?,
            AT_FDCWD,
            &path.with_file_name("canary-2"),
        ),
        // Never empty.
        "rmdir" => raw(libc::SYS_rmdir, &[address(&c_path(path)?)]),
        "truncate" => lengthen(path)?,
        // Nobody may ask for both, which the kernel looks at after the permission.
        "umount" => umount2(path, MntFlags::MNT_EXPIRE | MntFlags::MNT_DETACH),
        // No such type of file system, and a mount onto itself.
        "mount" => mount(
            Some("none"),
            path,
            Some("vmward-none"),
            MsFlags::empty(),
            None::<&str>,
        ),
        "move-mount" => {
            let (at, path) = (libc::c_long::from(libc::AT_FDCWD), c_path(path)?);
            let path = address(&path);
            raw(libc::SYS_move_mount, &[at, path, at, path, 0])
        }
        "remount" => remount(&c_path(path)?),
        // Onto itself.
        "pivot" => pivot_root(path, path),
        _ => return Err(io::Error::other(format!("unknown word {word:?}"))),
    })
}

/// Asks for a length that no file here may have: whoever starts a canary says which file
/// it is, and it keeps what is in it. The kernel looks at the limit after the permission.
fn lengthen(path: &Path) -> io::Result<Result<(), Errno>> {
    let_no_file_grow()?;
    Ok(truncate(path, libc::off_t::MAX))
}

/// Gives a file system the options that it has, in the way that has no other hook. The
/// descriptor goes with this process.
fn remount(path: &CString) -> Result<(), Errno> {
    let picked = call(
        libc::SYS_fspick,
        &[libc::AT_FDCWD.into(), address(path), FSPICK_CLOEXEC],
    )?;
    raw(libc::SYS_fsconfig, &[picked, FSCONFIG_CMD_RECONFIGURE])
}

const FSPICK_CLOEXEC: libc::c_long = 1;
const FSCONFIG_CMD_RECONFIGURE: libc::c_long = 7;

const BPF_PROG_GET_FD_BY_ID: libc::c_long = 13;
const BPF_MAP_GET_FD_BY_ID: libc::c_long = 14;

/// Gets a descriptor of a map or a program, and closes it again.
fn by_number(command: libc::c_long, number: u32) -> Result<(), Errno> {
    let attr = [number, 0, 0, 0];
    let got = call(
        libc::SYS_bpf,
        &[command, (&raw const attr) as libc::c_long, 16],
    )?;
    raw(libc::SYS_close, &[got])
}

/// With wrong magic numbers, which the kernel looks at after the permission.
fn reboot() -> Result<(), Errno> {
    raw(libc::SYS_reboot, &[0, 0, 0, 0])
}

/// The kernel's auditing shall end the host when a record is lost. Sets nothing where it
/// is not refused: the kernel looks at `enabled` first, and knows no seven.
fn panic_of_audit() -> Result<(), Errno> {
    const AUDIT_SET: u32 = 1001;
    const REQUEST: u32 = 1;
    const ENABLED_AND_FAILURE: u32 = 1 | 2;
    const FAIL_PANIC: u32 = 2;
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkAudit,
    )?;
    // A header of length, type and flags, sequence and sender; then the status.
    let words = [
        28,
        AUDIT_SET | REQUEST << 16,
        0,
        0,
        ENABLED_AND_FAILURE,
        7,
        FAIL_PANIC,
    ];
    let message: Vec<u8> = words.into_iter().flat_map(u32::to_ne_bytes).collect();
    let kernel = NetlinkAddr::new(0, 0);
    sendto(socket.as_raw_fd(), &message, &kernel, MsgFlags::empty()).map(drop)
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

fn address(path: &CString) -> libc::c_long {
    path.as_ptr() as libc::c_long
}

fn raw(number: libc::c_long, args: &[libc::c_long]) -> Result<(), Errno> {
    call(number, args).map(drop)
}

#[expect(unsafe_code, reason = "a raw system call")]
fn call(number: libc::c_long, args: &[libc::c_long]) -> Result<libc::c_long, Errno> {
    let arg = |at: usize| args.get(at).copied().unwrap_or(0);
    // SAFETY: the callers' pointers are alive; the rest is numbers.
    let result = unsafe { libc::syscall(number, arg(0), arg(1), arg(2), arg(3), arg(4)) };
    Errno::result(result)
}
