//! Reaching into a process: ptrace, its memory, its descriptors.

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::mem::offset_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use std::ptr::null_mut;

use nix::errno::Errno;

use super::{Failed, number, usage};

/// More descriptors than QEMU or libvirtd has open in a test.
const FDS_MAX: i32 = 256;
/// What is written over memory: an instruction that ends the process.
const TRAP: u8 = 0xcc;

pub(crate) fn run(args: &[&str]) -> Result<(), Failed> {
    match args {
        ["seize", rest @ ..] => seize(number(rest, 0)?, 0),
        // The kernel ends the process with its tracer, which is this one.
        ["seize-exitkill", rest @ ..] => seize(number(rest, 0)?, libc::PTRACE_O_EXITKILL),
        ["seize-crash", rest @ ..] => crash(number(rest, 0)?),
        ["attach-kill", rest @ ..] => attach_kill(number(rest, 0)?),
        ["detach-stop", rest @ ..] => detach_stop(number(rest, 0)?),
        ["hold", tid] => hold(tid),
        ["held", rest @ ..] => held(number(rest, 0)?),
        ["vm-writev", rest @ ..] => vm_writev(number(rest, 0)?),
        ["proc-mem", pid] => proc_mem(&format!("/proc/{pid}")),
        ["proc-mem", pid, tid] => proc_mem(&format!("/proc/{pid}/task/{tid}")),
        ["open-mem", pid] => open_mem(&format!("/proc/{pid}")).map(drop),
        ["getfd-shutdown", rest @ ..] => shut_down_sockets(number(rest, 0)?),
        ["getfd-quit", pid, vm] => quit(number(&[pid], 0)?, vm),
        _ => usage(
            "tampering: seize|seize-exitkill|attach-kill|detach-stop|vm-writev|open-mem|getfd-shutdown PID | \
             seize-crash|hold TID | proc-mem PID [TID] | getfd-quit PID VM",
        ),
    }
}

#[expect(unsafe_code, reason = "ptrace")]
fn ptrace(request: libc::c_uint, tid: i32, data: i64) -> Result<(), Failed> {
    // SAFETY: none of the requests made here touches memory of ours.
    let done = unsafe { libc::ptrace(request, tid, null_mut::<u8>(), data) };
    Ok(Errno::result(done).map(drop)?)
}

/// Sets a register of a stopped thread, by its place in `user_regs_struct`.
#[expect(unsafe_code, reason = "ptrace")]
fn set_register(tid: i32, register: usize, value: i64) -> Result<(), Failed> {
    // SAFETY: the address is of the other's registers.
    let done = unsafe { libc::ptrace(libc::PTRACE_POKEUSER, tid, register, value) };
    Ok(Errno::result(done).map(drop)?)
}

fn seize(tid: i32, options: i32) -> Result<(), Failed> {
    ptrace(libc::PTRACE_SEIZE, tid, options.into())
}

#[expect(unsafe_code, reason = "waiting for any thread")]
fn wait_stopped(tid: i32) -> Result<(), Failed> {
    // SAFETY: no status is asked for.
    let found = unsafe { libc::waitpid(tid, null_mut(), libc::__WALL) };
    Ok(Errno::result(found).map(drop)?)
}

/// Has a thread go on at address 0. It is in no system call any more: the kernel would
/// step back to begin that anew.
fn crash(tid: i32) -> Result<(), Failed> {
    seize(tid, 0)?;
    ptrace(libc::PTRACE_INTERRUPT, tid, 0)?;
    wait_stopped(tid)?;
    set_register(tid, offset_of!(libc::user_regs_struct, orig_rax), -1)?;
    set_register(tid, offset_of!(libc::user_regs_struct, rip), 0)?;
    ptrace(libc::PTRACE_CONT, tid, 0)
}

fn attach_kill(pid: i32) -> Result<(), Failed> {
    ptrace(libc::PTRACE_ATTACH, pid, 0)?;
    wait_stopped(pid)?;
    ptrace(libc::PTRACE_CONT, pid, libc::SIGKILL.into())
}

/// Lets go of a process with the signal that stops it.
fn detach_stop(pid: i32) -> Result<(), Failed> {
    ptrace(libc::PTRACE_ATTACH, pid, 0)?;
    wait_stopped(pid)?;
    ptrace(libc::PTRACE_DETACH, pid, libc::SIGSTOP.into())
}

/// Has another process stop a thread, and keep it so for as long as it lives.
fn hold(tid: &str) -> Result<(), Failed> {
    let mut holder = Command::new(std::env::current_exe()?)
        .args(["tampering", "held", tid])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut said = String::new();
    if let Some(out) = holder.stdout.take() {
        BufReader::new(out).read_line(&mut said)?;
    }
    match said.trim().parse() {
        Ok(0) => Ok(()),
        Ok(errno) => Err(Errno::from_raw(errno).into()),
        Err(_no_number) => usage("the other process said nothing"),
    }
}

/// Says on standard output how it went: 0, or the error's number.
fn held(tid: i32) -> Result<(), Failed> {
    let stopped = seize(tid, 0)
        .and_then(|()| ptrace(libc::PTRACE_INTERRUPT, tid, 0))
        .and_then(|()| wait_stopped(tid));
    let errno = match &stopped {
        Err(Failed::Refused(error)) => error.raw_os_error().unwrap_or(libc::EIO),
        _ => 0,
    };
    writeln!(io::stdout(), "{errno}")?;
    stopped?;
    // Until the thread is no more.
    while wait_stopped(tid).is_ok() {}
    Ok(())
}

/// The mappings of a process with these permissions: start and length.
fn mappings(pid: i32, permissions: &str) -> io::Result<Vec<(usize, usize)>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let parse = |line: &str| {
        let mut words = line.split(' ');
        let (from, to) = words.next()?.split_once('-')?;
        let from = usize::from_str_radix(from, 16).ok()?;
        let to = usize::from_str_radix(to, 16).ok()?;
        (words.next() == Some(permissions)).then_some((from, to.saturating_sub(from)))
    };
    Ok(maps.lines().filter_map(parse).collect())
}

/// Over everything that the process may write.
#[expect(unsafe_code, reason = "no safe wrapper")]
fn vm_writev(pid: i32) -> Result<(), Failed> {
    let mut bytes = vec![TRAP; 1 << 20];
    for (start, length) in mappings(pid, "rw-p")? {
        let length = length.min(bytes.len());
        let ours = libc::iovec {
            iov_base: bytes.as_mut_ptr().cast(),
            iov_len: length,
        };
        let theirs = libc::iovec {
            iov_base: start as *mut libc::c_void,
            iov_len: length,
        };
        // SAFETY: `ours` lies in `bytes`, which is only read.
        let done =
            unsafe { libc::process_vm_writev(pid, &raw const ours, 1, &raw const theirs, 1, 0) };
        match Errno::result(done) {
            // It has ended already, as it should.
            Err(Errno::EPERM) => return Err(Errno::EPERM.into()),
            _ends => {}
        }
    }
    Ok(())
}

fn open_mem(dir: &str) -> Result<fs::File, Failed> {
    let path = format!("{dir}/mem");
    Ok(OpenOptions::new().read(true).write(true).open(path)?)
}

/// Over all of its code, and over all that it may write itself: a kernel may be built
/// to let nobody but a tracer write where the process may not.
fn proc_mem(dir: &str) -> Result<(), Failed> {
    let mem = open_mem(dir)?;
    let pid = dir.split('/').nth(2).and_then(|pid| pid.parse().ok());
    for permissions in ["r-xp", "rw-p"] {
        // It may have ended half-way.
        for (start, length) in mappings(pid.unwrap_or(0), permissions).unwrap_or_default() {
            let trap = vec![TRAP; length];
            if mem.write_all_at(&trap, start as u64).is_err() {
                break;
            }
        }
    }
    Ok(())
}

/// Every socket that the process has, as one of ours.
#[expect(unsafe_code, reason = "no safe wrapper")]
fn steal_sockets(pid: i32) -> Result<Vec<(i32, OwnedFd)>, Failed> {
    // SAFETY: takes integers only.
    let pidfd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    let mut stolen = Vec::new();
    for fd in 0..FDS_MAX {
        let link = fs::read_link(format!("/proc/{pid}/fd/{fd}"));
        if !link.is_ok_and(|to| to.to_string_lossy().starts_with("socket:")) {
            continue;
        }
        // SAFETY: takes integers only.
        let copy = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd, fd, 0) };
        let copy = i32::try_from(Errno::result(copy)?).unwrap_or(-1);
        // SAFETY: pidfd_getfd just gave it, and nobody else has it.
        stolen.push((fd, unsafe { OwnedFd::from_raw_fd(copy) }));
    }
    Ok(stolen)
}

/// libvirt takes the end of a monitor for the end of its VM.
#[expect(unsafe_code, reason = "no safe wrapper")]
fn shut_down_sockets(pid: i32) -> Result<(), Failed> {
    for (_, socket) in steal_sockets(pid)? {
        // SAFETY: takes integers only.
        let _listening = unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RDWR) };
    }
    Ok(())
}

/// Says "quit" on every monitor connection that the process has.
fn quit(pid: i32, vm: &str) -> Result<(), Failed> {
    use nix::sys::socket::{MsgFlags, UnixAddr, getpeername, send};
    let mut said = false;
    for (_, socket) in steal_sockets(pid)? {
        let peer = getpeername::<UnixAddr>(socket.as_raw_fd()).ok();
        let path = peer.and_then(|peer| peer.path().map(std::path::Path::to_path_buf));
        let is_monitor = path.is_some_and(|path| {
            let path = path.to_string_lossy().into_owned();
            path.ends_with("monitor.sock") && path.contains(vm)
        });
        if is_monitor {
            send(
                socket.as_raw_fd(),
                b"{\"execute\":\"quit\"}\r\n",
                MsgFlags::empty(),
            )?;
            said = true;
        }
    }
    if said {
        return Ok(());
    }
    usage("no monitor connection was found")
}
