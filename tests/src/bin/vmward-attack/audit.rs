//! Orders to the kernel's own auditing.

use std::io;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

use super::{Failed, number};

const AUDIT_GET: u16 = 1000;
const AUDIT_SET: u16 = 1001;
const NLMSG_ERROR: u32 = 2;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const HEADER: usize = 16;
/// The third field of a `struct audit_status` is meant.
const MEANS_FAILURE: u32 = 2;

/// What becomes of the host when a record is lost: 0 nothing, 1 a line in the kernel's
/// log, 2 a panic. With a second word, behind so many other messages in one packet.
pub(super) fn set_failure(args: &[&str]) -> Result<(), Failed> {
    let failure: u32 = number(args, 0)?;
    let before: usize = if args.len() > 1 { number(args, 1)? } else { 0 };
    let mut packet = Vec::new();
    for _ in 0..before {
        packet.extend(message(AUDIT_GET, REQUEST, &[]));
    }
    packet.extend(message(
        AUDIT_SET,
        REQUEST | ACK,
        &[MEANS_FAILURE, 0, failure],
    ));
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkAudit,
    )?;
    let kernel = NetlinkAddr::new(0, 0);
    sendto(socket.as_raw_fd(), &packet, &kernel, MsgFlags::empty())?;
    acknowledged(socket.as_raw_fd())
}

pub(super) fn message(kind: u16, flags: u16, body: &[u32]) -> Vec<u8> {
    let words = [0, 0].into_iter().chain(body.iter().copied());
    let rest: Vec<u8> = words.flat_map(u32::to_ne_bytes).collect();
    let len = u32::try_from(rest.len() + 8).unwrap_or(0).to_ne_bytes();
    [&len[..], &kind.to_ne_bytes(), &flags.to_ne_bytes(), &rest].concat()
}

/// Waits for the kernel's word on the last message.
pub(super) fn acknowledged(socket: i32) -> Result<(), Failed> {
    let mut answer = [0; 8192];
    loop {
        let got = recv(socket, &mut answer, MsgFlags::empty())?;
        let word = |at: usize| {
            let bytes = answer.get(at..at + 4).filter(|_| at + 4 <= got);
            bytes
                .and_then(|b| b.try_into().ok())
                .map(u32::from_ne_bytes)
        };
        if word(4).map(|kind| kind & 0xffff) != Some(NLMSG_ERROR) {
            continue;
        }
        let code = word(HEADER).ok_or_else(|| io::Error::other("a short answer"))?;
        return match code.cast_signed() {
            0 => Ok(()),
            error => Err(Errno::from_raw(-error).into()),
        };
    }
}
