//! Attacks on vmward's own maps and programs, and on where their pins are.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::mount::MsFlags;
use nix::sys::ptrace;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use super::{Failed, number, usage};

const BPF_OBJ_GET: libc::c_long = 7;
const BPF_PROG_GET_NEXT_ID: libc::c_long = 11;
const BPF_MAP_GET_NEXT_ID: libc::c_long = 12;
const BPF_PROG_GET_FD_BY_ID: libc::c_long = 13;
const BPF_MAP_GET_FD_BY_ID: libc::c_long = 14;
/// `BPF_F_RDONLY`
const READ_ONLY: u64 = 1 << 3;
const OPEN_TREE_CLONE: libc::c_long = 1;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_long = 4;

pub(crate) fn run(args: &[&str]) -> Result<(), Failed> {
    match args {
        ["map", rest @ ..] => by_number(BPF_MAP_GET_FD_BY_ID, number(rest, 0)?),
        ["program", rest @ ..] => by_number(BPF_PROG_GET_FD_BY_ID, number(rest, 0)?),
        ["each-map"] => each(BPF_MAP_GET_NEXT_ID, BPF_MAP_GET_FD_BY_ID),
        ["each-program"] => each(BPF_PROG_GET_NEXT_ID, BPF_PROG_GET_FD_BY_ID),
        ["pin", path] => by_pin(path, 0),
        ["pin-read-only", path] => by_pin(path, READ_ONLY),
        // By name, without opening it; to the length that it has.
        ["truncate", path] => {
            let length = std::fs::metadata(path)?.len();
            let length = i64::try_from(length).map_err(io::Error::other)?;
            Ok(nix::unistd::truncate(*path, length)?)
        }
        ["traced-start", program @ ..] => traced_start(program),
        ["filtered-start", program @ ..] => filtered_start(program),
        ["said-to-be", path] => said_to_be(path),
        ["move-mount", from, to] => move_mount(from, to),
        ["bind-mount", from, to] => bind_mount(from, to),
        ["remount-read-only", path] => remount_read_only(path),
        ["set-read-only", path] => set_read_only(path),
        ["pivot-root", folder] => pivot_and_back(folder),
        ["old-move-mount", from, to] => {
            let none = None::<&str>;
            Ok(nix::mount::mount(
                Some(*from),
                *to,
                none,
                MsFlags::MS_MOVE,
                none,
            )?)
        }
        _ => usage(
            "own: map ID | program ID | each-map | each-program | pin PATH | pin-read-only PATH | \
             truncate PATH | traced-start PROGRAM... | filtered-start PROGRAM... | said-to-be PATH | move-mount FROM TO | old-move-mount FROM TO | bind-mount FROM TO | \
             remount-read-only PATH | set-read-only PATH | pivot-root FOLDER",
        ),
    }
}

/// Starts a program below a filter of its system calls, which lets all of them pass.
#[expect(unsafe_code, reason = "no safe wrapper")]
fn filtered_start(program: &[&str]) -> Result<(), Failed> {
    let Some((name, args)) = program.split_first() else {
        return usage("own: filtered-start PROGRAM...");
    };
    let allow = libc::sock_filter {
        code: 0x06, // BPF_RET | BPF_K
        jt: 0,
        jf: 0,
        k: libc::SECCOMP_RET_ALLOW,
    };
    let mut instructions = [allow];
    let filter = libc::sock_fprog {
        len: 1,
        filter: instructions.as_mut_ptr(),
    };
    nix::sys::prctl::set_no_new_privs()?;
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the filter lives, and the kernel copies it.
    let set = unsafe { libc::syscall(libc::SYS_seccomp, mode, 0, &raw const filter) };
    Errno::result(set)?;
    Err(Command::new(name).args(args).exec().into())
}

/// Gives every process another root, mounted in `folder`, and the former one back.
fn pivot_and_back(folder: &str) -> Result<(), Failed> {
    let none = None::<&str>;
    let tmpfs = Some("tmpfs");
    nix::mount::mount(tmpfs, folder, tmpfs, MsFlags::empty(), none)?;
    let put_old = format!("{folder}/old");
    let pivoted = std::fs::create_dir(&put_old)
        .map_err(Failed::from)
        .and_then(|()| Ok(nix::unistd::pivot_root(folder, put_old.as_str())?));
    let back = pivoted.and_then(|()| {
        nix::unistd::chdir("/")?;
        let place = format!("/old{folder}");
        Ok(nix::unistd::pivot_root("/old", place.as_str())?)
    });
    nix::mount::umount(folder)?;
    back
}

/// By the newer calls, which name no options at once.
#[expect(unsafe_code, reason = "raw system calls")]
fn remount_read_only(path: &str) -> Result<(), Failed> {
    const SET_FLAG: libc::c_long = 0;
    const RECONFIGURE: libc::c_long = 7;
    let path = std::ffi::CString::new(path).map_err(io::Error::other)?;
    // SAFETY: a path that is alive, only read.
    let fs = unsafe { libc::syscall(libc::SYS_fspick, libc::AT_FDCWD, path.as_ptr(), 0) };
    let fs = Errno::result(fs)?;
    let (flag, none) = (c"ro".as_ptr(), std::ptr::null::<u8>());
    // SAFETY: a name that is alive, only read.
    let set = unsafe { libc::syscall(libc::SYS_fsconfig, fs, SET_FLAG, flag, none, 0) };
    Errno::result(set)?;
    // SAFETY: numbers and null pointers.
    let done = unsafe { libc::syscall(libc::SYS_fsconfig, fs, RECONFIGURE, none, none, 0) };
    Ok(Errno::result(done).map(drop)?)
}

/// One mount alone, by the call that no hook sees.
#[expect(unsafe_code, reason = "a raw system call")]
fn set_read_only(path: &str) -> Result<(), Failed> {
    let path = std::ffi::CString::new(path).map_err(io::Error::other)?;
    // What is set, what is cleared, propagation, users.
    let options: [u64; 4] = [libc::MOUNT_ATTR_RDONLY, 0, 0, 0];
    // SAFETY: a path and options that are alive, only read.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            0,
            options.as_ptr(),
            size_of_val(&options),
        )
    };
    Ok(Errno::result(done).map(drop)?)
}

/// Starts a program as its tracer.
#[expect(unsafe_code, reason = "asks to be traced between fork and exec")]
fn traced_start(program: &[&str]) -> Result<(), Failed> {
    let Some((name, args)) = program.split_first() else {
        return usage("own: traced-start PROGRAM...");
    };
    let mut command = Command::new(name);
    command.args(args);
    // SAFETY: a system call that touches no memory.
    let traced = unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) };
    let mut child = traced.spawn()?;
    // It stops at each start of a program until its tracer has it go on.
    loop {
        match waitpid(Pid::from_raw(child.id().cast_signed()), None)? {
            WaitStatus::Stopped(pid, _) => ptrace::cont(pid, None)?,
            WaitStatus::Exited(_, 0) => return Ok(()),
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => {
                return Err(Failed::Refused(io::Error::from_raw_os_error(libc::EPERM)));
            }
            _ => drop(child.try_wait()?),
        }
    }
}

/// Changes what this process is said to run. Where it may, the kernel asks that the
/// present program be unmapped first, which is what then fails.
#[expect(unsafe_code, reason = "a raw system call")]
fn said_to_be(path: &str) -> Result<(), Failed> {
    let file = std::fs::File::open(path)?;
    // SAFETY: takes numbers.
    let done = unsafe {
        libc::prctl(
            libc::PR_SET_MM,
            libc::PR_SET_MM_EXE_FILE,
            file.as_raw_fd(),
            0,
            0,
        )
    };
    Ok(Errno::result(done).map(drop)?)
}

fn by_number(command: libc::c_long, id: u32) -> Result<(), Failed> {
    bpf(command, &mut [u64::from(id), 0])
}

/// Every one there is, until one is refused: the newest first, since the host's own are
/// older than vmward's.
fn each(next: libc::c_long, open: libc::c_long) -> Result<(), Failed> {
    // Where it looks from in the lower half, what it finds in the upper.
    let mut attr = [0, 0];
    let mut ids = Vec::new();
    loop {
        match bpf(next, &mut attr) {
            Err(Failed::Refused(error)) if error.raw_os_error() == Some(libc::ENOENT) => break,
            found => found?,
        }
        attr = [attr[0] >> 32, 0];
        ids.push(attr[0]);
    }
    for id in ids.into_iter().rev() {
        match bpf(open, &mut [id, 0]) {
            // It has gone since.
            Err(Failed::Refused(error)) if error.raw_os_error() == Some(libc::ENOENT) => {}
            opened => opened?,
        }
    }
    Ok(())
}

fn by_pin(path: &str, flags: u64) -> Result<(), Failed> {
    let path = name(path)?;
    bpf(BPF_OBJ_GET, &mut [path.as_ptr() as u64, flags << 32])
}

fn name(path: &str) -> io::Result<std::ffi::CString> {
    std::ffi::CString::new(path).map_err(io::Error::other)
}

/// The descriptor goes with this process.
#[expect(unsafe_code, reason = "a raw system call")]
fn bpf(command: libc::c_long, attr: &mut [u64; 2]) -> Result<(), Failed> {
    let size = size_of_val(attr);
    // SAFETY: the attribute and what it points to are alive.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), size) };
    Ok(Errno::result(result).map(drop)?)
}

/// By the newer of the kernel's calls for it, which has a hook of its own.
fn move_mount(from: &str, to: &str) -> Result<(), Failed> {
    let (from, to) = (name(from)?, name(to)?);
    move_to(libc::AT_FDCWD.into(), &from, &to, 0)
}

#[expect(unsafe_code, reason = "a raw system call")]
fn bind_mount(from: &str, to: &str) -> Result<(), Failed> {
    let (from, to) = (name(from)?, name(to)?);
    let (call, here) = (libc::SYS_open_tree, libc::AT_FDCWD);
    // SAFETY: the name is alive, only read.
    let tree = unsafe { libc::syscall(call, here, from.as_ptr(), OPEN_TREE_CLONE) };
    move_to(Errno::result(tree)?, c"", &to, MOVE_MOUNT_F_EMPTY_PATH)
}

#[expect(unsafe_code, reason = "a raw system call")]
fn move_to(
    tree: libc::c_long,
    from: &std::ffi::CStr,
    to: &std::ffi::CStr,
    flags: libc::c_long,
) -> Result<(), Failed> {
    let (call, here) = (libc::SYS_move_mount, libc::AT_FDCWD);
    // SAFETY: the names are alive, only read.
    let moved = unsafe { libc::syscall(call, tree, from.as_ptr(), here, to.as_ptr(), flags) };
    Ok(Errno::result(moved).map(drop)?)
}
