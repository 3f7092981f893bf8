//! Orders to the kernel by netlink. Fail mode: closed.
//!
//! Its own auditing can be told to end the host when a record is lost, and then be given
//! no room for one. And connections of anybody's can be cut, such as a VM's to its disk:
//! whose it is that is meant, does not show.

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use vmward_abi::{WORD_LEN, effect, vector};

use crate::maps::offset;
use crate::objects::host_wall;
use crate::task::{load, read};
use crate::verdict::Attempt;

const NETLINK_SOCK_DIAG: u16 = 4;
const NETLINK_AUDIT: u16 = 9;
/// A `struct nlmsghdr`: length, type, and what is not looked at.
const HEADER: u32 = 16;
/// The type of a message with a `struct audit_status`.
const AUDIT_SET: u16 = 1001;
/// That struct: which fields are meant, `enabled`, `failure`.
const MASK: u64 = 0;
const FAILURE: u64 = 8;
const MEANS_FAILURE: u32 = 2;
const FAIL_PANIC: u32 = 2;
/// The type of a message by which a socket is closed.
const SOCK_DESTROY: u16 = 21;
/// Messages in one packet that are looked at; `auditctl` and `ss` send one at a time.
const MESSAGES_MAX: usize = 16;

/// match-proto: security/security.c:int security_netlink_send(struct sock *sk, struct sk_buff *skb)
#[lsm(hook = "netlink_send")]
pub fn netlink_send(ctx: LsmContext) -> i32 {
    let earlier: i32 = ctx.arg(2);
    if earlier != 0 {
        return earlier;
    }
    // A plain load: everybody's messages come by here.
    let protocol: u16 = load(ctx.arg(0), offset!(sock_protocol));
    let packet = ctx.arg::<*const u8>(1) as u64;
    match protocol {
        NETLINK_AUDIT => try_audit(packet),
        NETLINK_SOCK_DIAG => try_cut(packet),
        _ => 0,
    }
}

fn try_audit(packet: u64) -> i32 {
    static WORD: [u8; WORD_LEN] = *b"audit, failure=panic\0\0\0\0\0\0\0\0\0\0\0\0";
    // What cannot be read is refused as well.
    if holds(packet, AUDIT_SET) == Some(false) {
        return 0;
    }
    host_wall(&Attempt {
        word: WORD.as_ptr() as u64,
        ..Attempt::new(vector::KERNEL_FILE, 0)
    })
}

fn try_cut(packet: u64) -> i32 {
    static WORD: [u8; WORD_LEN] = *b"SOCK_DESTROY\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    if holds(packet, SOCK_DESTROY) == Some(false) {
        return 0;
    }
    host_wall(&Attempt {
        word: WORD.as_ptr() as u64,
        ..Attempt::new(vector::STORAGE, effect::PAUSE)
    })
}

/// Is one of the packet's messages of the kind `wanted`; of auditing's, one that sets a
/// panic? The packet is the kernel's own copy; its messages are told apart as the kernel
/// does.
#[inline(never)]
fn holds(packet: u64, wanted: u16) -> Option<bool> {
    let data: u64 = read(packet, offset!(skb_data))?;
    let mut left: u32 = read(packet, offset!(skb_len))?;
    let mut at = data;
    for _ in 0..MESSAGES_MAX {
        if left < HEADER {
            return Some(false);
        }
        let len: u32 = read(at, 0)?;
        let kind: u16 = read(at, 4)?;
        if len < HEADER || len > left {
            return Some(false);
        }
        if kind == wanted {
            if wanted != AUDIT_SET {
                return Some(true);
            }
            let status = at.wrapping_add(u64::from(HEADER));
            let mask: u32 = read(status.wrapping_add(MASK), 0)?;
            let failure: u32 = read(status.wrapping_add(FAILURE), 0)?;
            if mask & MEANS_FAILURE != 0 && failure == FAIL_PANIC {
                return Some(true);
            }
        }
        let whole = len.wrapping_add(3) & !3;
        at = at.wrapping_add(u64::from(whole));
        left = left.saturating_sub(whole);
    }
    Some(left >= HEADER)
}
