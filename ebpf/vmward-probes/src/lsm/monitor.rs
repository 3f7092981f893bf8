//! What QEMU says on its monitor: who is at the other end, and whether the
//! guest is over. Refuses nothing.
//!
//! QEMU runs with `-no-shutdown`: after a guest's power-off it waits for
//! libvirt's SIGTERM, and after save, dump or migration libvirt ends a process
//! that no longer runs a guest. Refusing those kills would leave a VM hanging
//! in shutdown, or a QEMU that libvirt calls shut off. QEMU itself announces
//! both; only the process at the other end of that monitor may then finish.
//!
//! Reading QEMU's buffer is no race here: the only one who could change it in
//! between is QEMU, which can end itself anyway.

use aya_ebpf::helpers::{bpf_probe_read_user_buf, generated};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use vmward_abi::{VmState, event_kind, finishing_cause, role};

use crate::emit::{Report, emit};
use crate::maps::{SCRATCH, VM_STATES, is_active, offset};
use crate::scope::guarded;
use crate::task::{Task, current_tgid, read};
use crate::verdict::Attempt;

/// How much of a message is looked at: enough for the name of an event and for
/// the head of a status answer.
pub const HEAD_LEN: usize = 256;

const AF_UNIX: u16 = 1;
/// `struct sockaddr_un` before its path.
const SUN_PATH: usize = 2;
/// How libvirt names the monitor socket of a domain.
const MONITOR_NAME: [u8; 13] = *b"/monitor.sock";
const SUN_LEN_MAX: u32 = 110;

/// match-proto: security/security.c:int security_socket_sendmsg(struct socket *sock, struct msghdr *msg, int size)
#[lsm(hook = "socket_sendmsg")]
pub fn socket_sendmsg(ctx: LsmContext) -> i32 {
    let earlier: i32 = ctx.arg(3);
    if earlier != 0 {
        return earlier;
    }
    let size: i32 = ctx.arg(2);
    let socket = ctx.arg::<*const u8>(0) as u64;
    let message = ctx.arg::<*const u8>(1) as u64;
    watch_monitor(socket, message, size as u32);
    super::rpc::watch(socket, message, size as u32)
}

/// `None` leaves early: not a VM, not its monitor, nothing of interest.
fn watch_monitor(socket: u64, message: u64, size: u32) -> Option<()> {
    let tgid = current_tgid();
    let vm = guarded(Task::current(), tgid)?;
    if vm.row.role != role::VM || !is_active() {
        return None;
    }
    let sk: u64 = read(socket, offset!(socket_sk))?;
    if read::<u16>(sk, offset!(sock_family))? != AF_UNIX || !is_monitor(sk)? {
        return None;
    }
    let state = VM_STATES.get_ptr_mut(tgid)?;
    remember_peer(sk, state);
    let head = read_head(message, size)?;
    // SAFETY: a field of a live map value; only this VM's monitor writes it.
    let before = unsafe { (*state).finishing };
    match classify(head) {
        Said::Over(cause) => {
            // SAFETY: as above.
            unsafe { (*state).finishing = before | cause };
            if before & cause == 0 {
                emit(&vm, &said(event_kind::FINISHING, cause));
            }
        }
        Said::Runs => {
            // SAFETY: as above.
            unsafe { (*state).finishing = 0 };
            if before != 0 {
                emit(&vm, &said(event_kind::RESUMED, 0));
            }
        }
        Said::Nothing => {}
    }
    Some(())
}

fn said(kind: u32, cause: u32) -> Report {
    Report::of(
        kind,
        &Attempt {
            signal: cause,
            ..Attempt::new(0, 0)
        },
    )
}

/// Is this the accepted end of libvirt's monitor socket? The path is the
/// listener's, given by libvirt when it bound it; a guest has no say in it.
fn is_monitor(sk: u64) -> Option<bool> {
    let address: u64 = read(sk, offset!(unix_addr))?;
    let len: u32 = read(address, offset!(unix_address_len))?;
    // The length counts the family and, for a bound path, the final NUL.
    if len > SUN_LEN_MAX || (len as usize) < SUN_PATH + MONITOR_NAME.len() + 1 {
        return Some(false);
    }
    let end = offset!(unix_address_name) + len as usize;
    let last: u8 = read(address, end - 1)?;
    let nul = if last == 0 { 1 } else { 0 };
    let tail: [u8; 13] = read(address, end - nul - MONITOR_NAME.len())?;
    Some(tail == MONITOR_NAME)
}

/// Notes the process that connected to the monitor.
fn remember_peer(sk: u64, state: *mut VmState) -> Option<()> {
    let pid: u64 = read(sk, offset!(sock_peer_pid))?;
    let tgid: u32 = read(pid, offset!(pid_numbers) + offset!(upid_nr))?;
    // SAFETY: fields of a live map value; only this VM's monitor writes them.
    unsafe {
        (*state).deputy_tgid = tgid;
        (*state).deputy_pid_ptr = pid;
    }
    Some(())
}

/// The first bytes of what is being sent, zero-filled.
fn read_head(message: u64, size: u32) -> Option<&'static [u8; HEAD_LEN]> {
    let iter = message.wrapping_add(offset!(msghdr_iter) as u64);
    let kind: u8 = read(iter, offset!(iter_type))?;
    let skip: u64 = read(iter, offset!(iter_offset))?;
    let base: u64 = if kind as usize == offset!(iter_type_ubuf) {
        read(iter, offset!(iter_ubuf))?
    } else if kind as usize == offset!(iter_type_iovec) {
        // `struct iovec`: base first.
        read(read(iter, offset!(iter_iov))?, 0)?
    } else {
        return None;
    };
    let room = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: this CPU's own scratch; the program cannot be preempted by
    // another user of it on this CPU.
    let head = unsafe { &mut *room };
    *head = [0; HEAD_LEN];
    let from = base.wrapping_add(skip) as *const u8;
    let take = size as usize;
    if take >= HEAD_LEN {
        // SAFETY: the helper checks the address and fails instead of faulting.
        unsafe { bpf_probe_read_user_buf(from, head) }.ok()?;
    } else {
        // The verifier has to see the bound in the register that it checks;
        // without the volatile read the compiler drops the mask as needless.
        // SAFETY: a local.
        let len = unsafe { core::ptr::read_volatile(&size) } & (HEAD_LEN as u32 - 1);
        // SAFETY: `len` is within the buffer; the helper checks the address.
        let failed =
            unsafe { generated::bpf_probe_read_user(head.as_mut_ptr().cast(), len, from.cast()) };
        if failed != 0 {
            return None;
        }
    }
    Some(head)
}

/// What a message says about the guest.
enum Said {
    Over(u32),
    Runs,
    Nothing,
}

const EVENT_HEAD: &[u8] = b"{\"timestamp\": {\"seconds\": ";
const EVENT_KEY: &[u8] = b"}, \"event\": \"";
const STATUS_HEAD: &[u8] = b"{\"return\": {\"";
/// Where the search for the end of the timestamp ends: two numbers of at most
/// twenty digits and the word between them.
const TIMESTAMP_MAX: usize = EVENT_HEAD.len() + 60;

/// A line that starts with a timestamp is an event: answers start with
/// `return` or `error`, and text that QEMU echoes comes with its quotes
/// escaped.
fn classify(head: &[u8; HEAD_LEN]) -> Said {
    if starts(head, 0, EVENT_HEAD) {
        let mut at = 0;
        #[expect(
            clippy::needless_range_loop,
            reason = "an iterator's bounds are lost on the verifier"
        )]
        for i in EVENT_HEAD.len()..TIMESTAMP_MAX {
            if head[i] == b'}' {
                at = i;
                break;
            }
        }
        if at == 0 || !starts(head, at, EVENT_KEY) {
            return Said::Nothing;
        }
        return event(head, at + EVENT_KEY.len());
    }
    if starts(head, 0, STATUS_HEAD) {
        return status(head);
    }
    Said::Nothing
}

fn event(head: &[u8; HEAD_LEN], at: usize) -> Said {
    if starts(head, at, b"SHUTDOWN\", \"data\": {\"guest\": false") {
        return Said::Over(finishing_cause::HOST_SHUTDOWN);
    }
    if starts(head, at, b"SHUTDOWN\"") {
        return Said::Over(finishing_cause::SHUTDOWN);
    }
    if starts(head, at, b"GUEST_PANICKED\"") {
        return Said::Over(finishing_cause::PANICKED);
    }
    if starts(
        head,
        at,
        b"MIGRATION\", \"data\": {\"status\": \"completed\"",
    ) {
        return Said::Over(finishing_cause::MIGRATED);
    }
    if starts(head, at, b"RESUME\"") {
        return Said::Runs;
    }
    Said::Nothing
}

/// The answer to query-status: `status` first up to QEMU 8.0, `running` before
/// it (with or without `singlestep`) in others.
fn status(head: &[u8; HEAD_LEN]) -> Said {
    const AT: usize = STATUS_HEAD.len() - 1;
    if status_word(head, AT) {
        return status_value(head, AT + STATUS_KEY.len());
    }
    const STOPPED: &[u8] = b"\"running\": false, ";
    const SINGLESTEP: &[u8] = b"\"singlestep\": false, ";
    if starts(head, AT, STOPPED) {
        let at = AT + STOPPED.len();
        if status_word(head, at) {
            return status_value(head, at + STATUS_KEY.len());
        }
        if starts(head, at, SINGLESTEP) && status_word(head, at + SINGLESTEP.len()) {
            return status_value(head, at + SINGLESTEP.len() + STATUS_KEY.len());
        }
    }
    Said::Nothing
}

const STATUS_KEY: &[u8] = b"\"status\": \"";

fn status_word(head: &[u8; HEAD_LEN], at: usize) -> bool {
    starts(head, at, STATUS_KEY)
}

fn status_value(head: &[u8; HEAD_LEN], at: usize) -> Said {
    if starts(head, at, b"shutdown\"")
        || starts(head, at, b"postmigrate\"")
        || starts(head, at, b"guest-panicked\"")
    {
        return Said::Over(finishing_cause::STATUS);
    }
    if starts(head, at, b"running\"") {
        return Said::Runs;
    }
    Said::Nothing
}

/// Does `pattern` stand at `at`? Out of bounds is no.
#[inline(always)]
fn starts(head: &[u8; HEAD_LEN], at: usize, pattern: &[u8]) -> bool {
    if at + pattern.len() > HEAD_LEN {
        return false;
    }
    let mut i = 0;
    while i < pattern.len() {
        // The mask is for the verifier; the check above bounds it already.
        if head[(at + i) & (HEAD_LEN - 1)] != pattern[i] {
            return false;
        }
        i += 1;
    }
    true
}
