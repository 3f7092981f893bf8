//! A TCP connection that somebody else cuts.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, sendto, socket,
};

use super::audit::{acknowledged, message};
use super::{Failed, usage};

const SOCK_DESTROY: u16 = 21;
const REQUEST_AND_ACK: u16 = 1 | 4;
/// `AF_INET`, `IPPROTO_TCP`, and two bytes that say nothing here.
const TCP_OF_IPV4: [u8; 4] = [2, 6, 0, 0];
const ANY: u32 = u32::MAX;

pub(crate) fn run(args: &[&str]) -> Result<(), Failed> {
    match args {
        ["cut"] => cut(),
        _ => usage("connections: cut"),
    }
}

/// Cuts one of its own, by its two ends.
fn cut() -> Result<(), Failed> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let here = TcpStream::connect(listener.local_addr()?)?;
    let _there = listener.accept()?;
    let end = |address: SocketAddr| match address {
        SocketAddr::V4(address) => Ok((address.port(), u32::from(*address.ip()))),
        SocketAddr::V6(_) => Err(io::Error::from(io::ErrorKind::Unsupported)),
    };
    let ((from_port, from), (to_port, to)) = (end(here.local_addr()?)?, end(here.peer_addr()?)?);
    // `struct inet_diag_req_v2`: what, states, ports, addresses, interface, cookie.
    let ports = u32::from_be(u32::from(from_port) << 16 | u32::from(to_port));
    let body = [
        u32::from_ne_bytes(TCP_OF_IPV4),
        ANY,
        ports,
        from.to_be(),
        0,
        0,
        0,
        to.to_be(),
        0,
        0,
        0,
        0,
        ANY,
        ANY,
    ];
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    // Its header's sequence number and sender come first.
    let packet = message(SOCK_DESTROY, REQUEST_AND_ACK, &body);
    sendto(
        socket.as_raw_fd(),
        &packet,
        &NetlinkAddr::new(0, 0),
        MsgFlags::empty(),
    )?;
    acknowledged(socket.as_raw_fd())
}
