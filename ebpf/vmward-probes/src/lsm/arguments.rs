//! Commands that libvirt sends in its daily work, and that stop a guest with
//! other arguments: QEMU waits for a client or at the end of a FIFO, starts a
//! program and is ended by its own sandbox, loses a processor or a disk. Fail
//! mode: closed.
//!
//! libvirt words each of its commands in one way only, member by member. What is
//! worded otherwise is somebody else's, and needs the lease of a command that
//! nobody knows. No string holds what is looked for here: its quotes would be
//! escaped.

use vmward_abi::{COMMAND_LEN, CommandKey, language};

use super::commands::Order;
use super::unix::{HEAD_LEN, place, starts, starts_at};
use crate::maps::COMMANDS;
use crate::task::{forget, opaque};

/// How libvirt's own command begins.
pub const EXECUTE: &[u8] = b"{\"execute\":\"";
/// Where its name stands.
const NAME_AT: usize = EXECUTE.len();

const SET_PROPERTY: &[u8] = b"qom-set\",\"arguments\":{\"path\":\"";
const AFTER_PATH: &[u8] = b"\",\"property\":\"";
/// From libvirt 11.2 on, for the limits of a throttle group alone.
const SET_LIMITS: &[u8] = b"qom-set\",\"arguments\":{\"property\":\"limits\",\"path\":\"";
const ADD_OBJECT: &[u8] = b"object-add\",\"arguments\":{\"qom-type\":\"";
const ADD_SECRET: &[u8] = b"object-add\",\"arguments\":{\"qom-type\":\"secret\",\"id\":\"";
/// One that has its data here is read from no file.
const AFTER_SECRET: &[u8] = b"\",\"data\":\"";
const ADD_NETDEV: &[u8] = b"netdev_add\",\"arguments\":{\"type\":\"";
/// One that libvirt has opened; QEMU opens others by a program.
const OPEN_TAP: &[u8] = b"tap\",\"fd";
/// One that is given no more than its name: what it is given else may start programs.
const PLAIN_USER: &[u8] = b"user\",\"id\":\"";
/// passt, whose socket is not looked for by a name of the network.
const UNIX_STREAM: &[u8] = b"stream\",\"addr\":{\"type\":\"unix\"";
const ADD_CHARDEV: &[u8] = b"chardev-add\",\"arguments\":{\"id\":\"";
const AFTER_CHARDEV: &[u8] = b"\",\"backend\":{\"type\":\"";
const SOCKET: &[u8] = b"socket\"";
/// The front of a socket's wish to wait for a client.
const WAITS: [u8; 8] = *b"\"wait\":t";
const SCREENDUMP: &[u8] = b"screendump\",\"arguments\":{\"filename\":\"";
/// Where libvirt has QEMU write what it then reads itself: older ones in one folder for
/// all domains, later ones in the domain's own.
const CACHE: &[u8] = b"/var/cache/libvirt/qemu";
const OF_DOMAIN: &[u8] = b"/var/lib/libvirt/qemu/domain-";
const SCREEN: &[u8] = b"/qemu.screendump.";
const MEMORY: &[u8] = b"/qemu.mem.";
/// Most bytes of a domain's number and its shortened name.
const DOMAIN_MAX: usize = 96;
const SAVE_MEMORY: &[u8] = b"memsave\",\"arguments\":{\"val\":";
const SAVE_PHYSICAL: &[u8] = b"pmemsave\",\"arguments\":{\"val\":";
const AFTER_VALUE: &[u8] = b"\"size\":";
const AFTER_SIZE: &[u8] = b"\"filename\":\"";
/// No disk at all is one that QEMU does not know to reopen, and ends at.
const REOPEN: &[u8] = b"blockdev-reopen\",\"arguments\":{\"options\":[{\"";
const ACTIVATE: &[u8] = b"blockdev-set-active\",\"arguments\":{\"active\":true}";

/// How long the end of a temporary file's name is.
const SUFFIX_LEN: usize = 6;
/// Most bytes of a number, and what stands around it.
const NUMBER_MAX: usize = 24;
/// Most bytes of a path to an object, or of a name. Each is a step of the verifier's.
const STRING_MAX: usize = 192;

/// What [`vmward_arguments`] says of a command.
pub mod worded {
    /// It does the same whatever its arguments are.
    pub const ANYHOW: i32 = 0;
    /// Like libvirt's own.
    pub const BY_LIBVIRT: i32 = 1;
    /// In some other way.
    pub const OTHERWISE: i32 = 2;
}

/// One of [`worded`], for an order of `size` bytes. Verified by itself.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vmward_arguments(
    head: *const [u8; HEAD_LEN],
    size: u32,
    order: *mut Order,
) -> i32 {
    // SAFETY: null, or this thread's own room; nobody else has a reference to them.
    let (head, order) = match unsafe { (head.as_ref(), order.as_mut()) } {
        (Some(head), Some(order)) => (head, order),
        _ => return opaque(worded::OTHERWISE),
    };
    opaque(match judge(head, size, order) {
        None => worded::ANYHOW,
        Some(true) => worded::BY_LIBVIRT,
        Some(false) => worded::OTHERWISE,
    })
}

/// `None` for a command of which nothing is known here.
#[inline(always)]
fn judge(head: &[u8; HEAD_LEN], size: u32, order: &mut Order) -> Option<bool> {
    let is = |name: &[u8]| starts(head, NAME_AT, name);
    Some(if is(b"qom-set\"") {
        is(SET_LIMITS) || property(head, order)
    } else if is(b"object-add\"") {
        object(head, order)
    } else if is(b"netdev_add\"") {
        let at = NAME_AT + ADD_NETDEV.len();
        is(ADD_NETDEV)
            && (starts(head, at, OPEN_TAP)
                || starts(head, at, UNIX_STREAM)
                || is_plain_user(head, at)
                || is_known(head, at, language::NETDEV, order))
    } else if is(b"chardev-add\"") {
        chardev(head, size, order)
    } else if is(b"screendump\"") {
        is(SCREENDUMP) && is_temporary(head, NAME_AT + SCREENDUMP.len(), SCREEN)
    } else if is(b"memsave\"") {
        is(SAVE_MEMORY) && memory(head, NAME_AT + SAVE_MEMORY.len())
    } else if is(b"pmemsave\"") {
        is(SAVE_PHYSICAL) && memory(head, NAME_AT + SAVE_PHYSICAL.len())
    } else if is(b"blockdev-reopen\"") {
        is(REOPEN)
    } else if is(b"blockdev-set-active\"") {
        is(ACTIVATE)
    } else {
        return None;
    })
}

/// libvirt sets few properties of a running guest.
#[inline(always)]
fn property(head: &[u8; HEAD_LEN], order: &mut Order) -> bool {
    if !starts(head, NAME_AT, SET_PROPERTY) {
        return false;
    }
    let end = quote(head, NAME_AT + SET_PROPERTY.len(), STRING_MAX);
    starts_at(head, end, AFTER_PATH)
        && is_known(head, end + AFTER_PATH.len(), language::PROPERTY, order)
}

#[inline(always)]
fn object(head: &[u8; HEAD_LEN], order: &mut Order) -> bool {
    if starts(head, NAME_AT, ADD_SECRET) {
        let end = quote(head, NAME_AT + ADD_SECRET.len(), STRING_MAX);
        return starts_at(head, end, AFTER_SECRET);
    }
    starts(head, NAME_AT, ADD_OBJECT)
        && is_known(head, NAME_AT + ADD_OBJECT.len(), language::OBJECT, order)
}

#[inline(always)]
fn is_plain_user(head: &[u8; HEAD_LEN], at: usize) -> bool {
    starts(head, at, PLAIN_USER)
        && starts_at(head, quote(head, at + PLAIN_USER.len(), STRING_MAX), b"\"}")
}

/// A socket may only be one that waits for nobody, and has to be seen as a whole
/// for that.
#[inline(always)]
fn chardev(head: &[u8; HEAD_LEN], size: u32, order: &mut Order) -> bool {
    if !starts(head, NAME_AT, ADD_CHARDEV) {
        return false;
    }
    let end = quote(head, NAME_AT + ADD_CHARDEV.len(), STRING_MAX);
    if !starts_at(head, end, AFTER_CHARDEV) {
        return false;
    }
    let at = end + AFTER_CHARDEV.len();
    if starts_at(head, at, SOCKET) {
        return size as usize <= HEAD_LEN && !holds(head, &WAITS);
    }
    is_known(head, at, language::CHARDEV, order)
}

/// What follows the first number of an order to write memory to a file.
#[inline(always)]
fn memory(head: &[u8; HEAD_LEN], at: usize) -> bool {
    let size_at = quote(head, at, NUMBER_MAX);
    if !starts_at(head, size_at, AFTER_VALUE) {
        return false;
    }
    let name_at = quote(head, size_at + AFTER_VALUE.len(), NUMBER_MAX);
    starts_at(head, name_at, AFTER_SIZE) && is_temporary(head, name_at + AFTER_SIZE.len(), MEMORY)
}

/// A temporary file of libvirt's, called `name` and six letters.
#[inline(always)]
fn is_temporary(head: &[u8; HEAD_LEN], at: usize, name: &[u8]) -> bool {
    let at = if starts_at(head, at, CACHE) {
        at + CACHE.len()
    } else if starts_at(head, at, OF_DOMAIN) {
        // No name of a domain has a slash.
        next(head, at + OF_DOMAIN.len(), DOMAIN_MAX, b'/')
    } else {
        return false;
    };
    starts_at(head, at, name) && ends_so(head, at + name.len())
}

/// The end of a temporary file's name, in the same folder.
#[inline(always)]
fn ends_so(head: &[u8; HEAD_LEN], at: usize) -> bool {
    let mut i = 0;
    while i < SUFFIX_LEN {
        if !head[(at + i) & (HEAD_LEN - 1)].is_ascii_alphanumeric() {
            return false;
        }
        i += 1;
    }
    starts_at(head, at + SUFFIX_LEN, b"\"")
}

/// Where the next quote stands, among `most` places from `from` on; the end of
/// the head where there is none.
#[inline(always)]
fn quote(head: &[u8; HEAD_LEN], from: usize, most: usize) -> usize {
    next(head, from, most, b'"')
}

/// The same for any byte.
#[inline(always)]
fn next(head: &[u8; HEAD_LEN], from: usize, most: usize, wanted: u8) -> usize {
    let mut at = HEAD_LEN;
    let mut i = 0;
    while i < most {
        let here = from + i;
        if here >= HEAD_LEN {
            break;
        }
        if head[place(here)] == wanted {
            at = here;
            break;
        }
        i += 1;
    }
    // Many places, and what follows is walked once.
    forget(&at);
    at
}

/// Do these eight bytes stand anywhere?
#[inline(always)]
fn holds(head: &[u8; HEAD_LEN], wanted: &[u8; 8]) -> bool {
    let wanted = u64::from_be_bytes(*wanted);
    let mut last = 0;
    let mut i = 0;
    while i < HEAD_LEN {
        last = last << 8 | u64::from(head[i]);
        if last == wanted {
            return true;
        }
        i += 1;
    }
    false
}

/// Is the word at `at`, up to its quote, in the daemon's table? One that is too
/// long, or goes beyond the head, is in no table.
#[inline(always)]
fn is_known(head: &[u8; HEAD_LEN], at: usize, speaks: u32, order: &mut Order) -> bool {
    order.argument = CommandKey {
        name: [0; COMMAND_LEN],
        language: speaks,
    };
    for i in 0..COMMAND_LEN {
        let c = head[(at + i) & (HEAD_LEN - 1)];
        if c == b'"' {
            break;
        }
        order.argument.name[i] = c;
    }
    // SAFETY: whether it is there is all that is asked.
    unsafe { COMMANDS.get(order.argument) }.is_some()
}
