//! What an administrator has without vmward: an audit rule that records the
//! same system calls. Set over netlink, since `auditctl` may not be installed;
//! a thread takes the records, as auditd does, and drops them.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow, bail};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto,
    setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

// linux/audit.h, linux/netlink.h
const AUDIT_SET: u16 = 1001;
const AUDIT_ADD_RULE: u16 = 1011;
const AUDIT_DEL_RULE: u16 = 1012;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST_ACK: u16 = 1 | 4;
const FILTER_EXIT: u32 = 4;
const ALWAYS: u32 = 2;
const MASK_WORDS: usize = 64;
/// After the mask: fields, values and their flags, and the length of no text.
const REST_WORDS: usize = 3 * 64 + 1;
/// `audit_status`: mask, enabled, failure, pid, and seven more.
const STATUS_WORDS: usize = 11;
const STATUS_ENABLED: u32 = 1;
const STATUS_PID: u32 = 4;

const CALLS: [i64; 6] = [
    libc::SYS_kill,
    libc::SYS_write,
    libc::SYS_pwrite64,
    libc::SYS_sendto,
    libc::SYS_open,
    libc::SYS_openat,
];

/// The rule, in force.
pub(crate) struct Rule {
    socket: Arc<OwnedFd>,
    end: Arc<AtomicBool>,
    taker: JoinHandle<()>,
}

impl Rule {
    pub(crate) fn set() -> Result<Self> {
        let socket = netlink()?;
        status(&socket, STATUS_ENABLED, 1).context("auditing cannot be switched on")?;
        status(&socket, STATUS_PID, std::process::id()).context("another takes the records")?;
        request(&socket, AUDIT_ADD_RULE, &rule()?).context("the rule was not taken")?;
        let socket = Arc::new(socket);
        let end = Arc::new(AtomicBool::new(false));
        let (from, ended) = (Arc::clone(&socket), Arc::clone(&end));
        let taker = thread::spawn(move || {
            let mut record = [0; 16384];
            while !ended.load(Ordering::Relaxed) {
                // What it says does not matter, and a time-out is no end.
                let _size = recv(from.as_raw_fd(), &mut record, MsgFlags::empty());
            }
        });
        Ok(Self { socket, end, taker })
    }

    pub(crate) fn remove(self) -> Result<()> {
        self.end.store(true, Ordering::Relaxed);
        let ended = self.taker.join();
        ended.map_err(|_panic| anyhow!("the thread that takes records panicked"))?;
        request(&self.socket, AUDIT_DEL_RULE, &rule()?).context("the rule does not go")?;
        status(&self.socket, STATUS_PID, 0)?;
        status(&self.socket, STATUS_ENABLED, 0)
    }
}

fn netlink() -> Result<OwnedFd> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkAudit,
    )
    .context("no audit socket")?;
    setsockopt(
        &socket,
        sockopt::ReceiveTimeout,
        &TimeVal::milliseconds(200),
    )?;
    Ok(socket)
}

fn rule() -> Result<Vec<u32>> {
    let mut mask = [0u32; MASK_WORDS];
    for call in CALLS {
        let call = usize::try_from(call)?;
        let word = mask.get_mut(call / 32).context("a system call's number")?;
        *word |= 1 << (call % 32);
    }
    let mut words = vec![FILTER_EXIT, ALWAYS, 0];
    words.extend(mask);
    words.extend([0; REST_WORDS]);
    Ok(words)
}

fn status(socket: &OwnedFd, which: u32, value: u32) -> Result<()> {
    let mut words = [0; STATUS_WORDS];
    words[0] = which;
    words[if which == STATUS_ENABLED { 1 } else { 3 }] = value;
    request(socket, AUDIT_SET, &words)
}

/// Sends a request and waits for its acknowledgement.
fn request(socket: &OwnedFd, kind: u16, words: &[u32]) -> Result<()> {
    let payload: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let mut message = u32::try_from(16 + payload.len())?.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(NLM_F_REQUEST_ACK.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(payload);
    let kernel = NetlinkAddr::new(0, 0);
    sendto(socket.as_raw_fd(), &message, &kernel, MsgFlags::empty())?;
    let mut answer = [0; 16384];
    // Records may come before the answer, up to what the kernel has queued.
    for _ in 0..100_000 {
        let size = match recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty()) {
            Err(Errno::ENOBUFS) => continue,
            other => other?,
        };
        let word = |at: usize| {
            let bytes = answer.get(at..at + 4)?;
            bytes.try_into().ok().map(i32::from_ne_bytes)
        };
        if size < 20 || u16::from_ne_bytes([answer[4], answer[5]]) != NLMSG_ERROR {
            continue;
        }
        return match word(16) {
            Some(0) => Ok(()),
            Some(code) => Err(Errno::from_raw(-code).into()),
            None => bail!("the kernel's answer is too short"),
        };
    }
    bail!("the kernel does not answer")
}
