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

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use vmward_abi::{VmState, event_kind, finishing_cause, role};

use super::room;
use super::unix::{self, HEAD_LEN, Message, starts};
use crate::emit::{Report, emit};
use crate::lsm::commands;
use crate::maps::{VM_STATES, is_active, offset};
use crate::scope::{Vm, guarded};
use crate::task::{Task, current_tgid, forget, number, read};
use crate::verdict::Attempt;

/// How libvirt names the monitor socket of a domain.
const MONITOR_NAME: [u8; 13] = *b"/monitor.sock";

/// Everything that is sent on a Unix socket: by QEMU, by libvirt to QEMU, by
/// others to QEMU.
///
/// match-proto: security/security.c:int security_socket_sendmsg(struct socket *sock, struct msghdr *msg, int size)
#[lsm(hook = "socket_sendmsg")]
pub fn socket_sendmsg(ctx: LsmContext) -> i32 {
    let earlier: i32 = ctx.arg(3);
    if earlier != 0 {
        return earlier;
    }
    let socket = ctx.arg::<*const u8>(0) as u64;
    let Some(sk) = unix::sock_of(socket) else {
        return 0;
    };
    let size: i32 = ctx.arg(2);
    let message = Message {
        header: ctx.arg::<*const u8>(1) as u64,
        size: size as u32,
    };
    let verdict = commands::on_send(unix::peer(sk), message.header, message.size);
    if verdict != commands::NOT_A_VMS {
        return verdict;
    }
    watch_monitor(sk, message.header, message.size);
    super::rpc::watch(socket, message.header, message.size)
}

/// What a VM says. A frame of its own, as in [`commands::on_send`].
#[inline(never)]
fn watch_monitor(sk: u64, header: u64, size: u32) {
    let Some(vm) = guarded(Task::current(), current_tgid()) else {
        return;
    };
    if vm.row.role == role::VM {
        forget(&vm);
        vmward_watch_monitor(&raw const vm, sk, number(header), size);
    }
}

/// The rest of [`watch_monitor`], verified by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_watch_monitor(vm: *const Vm, sk: u64, header: u64, size: u32) -> i32 {
    // SAFETY: null or alive.
    if let Some(vm) = unsafe { vm.as_ref() } {
        // What it can do is done; nobody is to be told.
        let _ = heard(vm, sk, Message { header, size });
    }
    0
}

/// `None` leaves early: not its monitor, nothing of interest.
#[inline(always)]
fn heard(vm: &Vm, sk: u64, message: Message) -> Option<()> {
    if !is_active() || !is_monitor(vm, sk) {
        return None;
    }
    let state = VM_STATES.get_ptr_mut(vm.tgid)?;
    remember_peer(sk, state);
    let said = match room::enter() {
        Some(room) => message
            .copy_head(&mut room.head)
            .map(|_| vmward_classify(&raw const room.head)),
        None => None,
    };
    room::leave();
    // SAFETY: a field of a live map value; only this VM's monitor writes it.
    let before = unsafe { (*state).finishing };
    match said? {
        NOTHING => {}
        RUNS => {
            // SAFETY: as above.
            unsafe { (*state).finishing = before & finishing_cause::GIVEN_UP };
            if before & finishing_cause::OVER != 0 {
                say(vm, event_kind::RESUMED, 0);
            }
        }
        cause => {
            // SAFETY: as above.
            unsafe { (*state).finishing = before | cause };
            if before & cause == 0 {
                say(vm, event_kind::FINISHING, cause);
            }
        }
    }
    Some(())
}

fn say(vm: &Vm, kind: u32, cause: u32) {
    let attempt = Attempt {
        signal: cause,
        ..Attempt::new(0, 0)
    };
    emit(vm, &attempt, &Report::of(kind));
}

/// Is this the accepted end of libvirt's monitor socket? The path is the
/// listener's, given by libvirt when it bound it; a guest has no say in it. By its
/// name alone it could be a server of QEMU's that somebody has started there.
fn is_monitor(vm: &Vm, sk: u64) -> bool {
    unix::path_tail(sk) == Some(MONITOR_NAME) && unix::is_monitor(vm, unix::bound_to(sk))
}

/// Notes the process that connected to the monitor.
fn remember_peer(sk: u64, state: *mut VmState) -> Option<()> {
    let pid: u64 = read(sk, offset!(sock_peer_pid))?;
    let tgid: u32 = read(pid, offset!(pid_numbers) + offset!(upid_nr))?;
    // SAFETY: fields of a live map value; only this VM's monitor writes them.
    unsafe {
        if (*state).deputy_pid_ptr != pid {
            // Another libvirt keeps what the one before had done with.
            (*state).finishing &= !finishing_cause::GIVEN_UP;
        }
        (*state).deputy_tgid = tgid;
        (*state).deputy_pid_ptr = pid;
    }
    Some(())
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
/// escaped. Verified by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_classify(head: *const [u8; HEAD_LEN]) -> u32 {
    // SAFETY: null or alive.
    match unsafe { head.as_ref() }.map_or(Said::Nothing, classify) {
        Said::Nothing => NOTHING,
        Said::Runs => RUNS,
        Said::Over(cause) => cause,
    }
}

/// [`Said`] as a number; others are causes.
const NOTHING: u32 = 0;
const RUNS: u32 = u32::MAX;

#[inline(always)]
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
        // Sixty places, and what follows is walked once.
        forget(&at);
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
