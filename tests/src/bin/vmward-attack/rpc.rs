//! libvirt's own protocol, spoken by hand: `destroy` sent in ways that nobody
//! but libvirt can read, and the calls that make a later stop possible.

use std::io::{self, IoSlice, Read, Write};
use std::os::unix::net::UnixStream;

use super::{Failed, rpc_send, uring, usage};

const SOCKET: &str = "/run/libvirt/libvirt-sock";
const REMOTE: u32 = 0x2000_8086;
const CALL: u32 = 0;
const CALL_WITH_FDS: u32 = 4;
const AUTH_LIST: u32 = 66;
const CONNECT_OPEN: u32 = 1;
const GET_VERSION: u32 = 3;
const DESTROY: u32 = 12;
const CREATE_WITH_FLAGS: u32 = 196;
const REVERT_TO_SNAPSHOT: u32 = 192;
/// Longer than anything that looks on would read.
const LONG_NAME: usize = 200_000;

const USAGE: &str = "rpc: plain|bytes|pipelined|iovecs|wrong-name|long-name|with-fds|trailing|\
    sendmmsg|splice|vmsplice|sendfile|io-uring|io-uring-write|two-writes|autodestroy UUID, rpc: revert UUID SNAPSHOT";

/// One that may take so much at once as the attack sends.
struct Client {
    socket: UnixStream,
    serial: u32,
}

pub(crate) fn run(args: &[&str]) -> Result<(), Failed> {
    let (what, uuid, snapshot) = match args {
        [what, uuid] => (*what, *uuid, ""),
        [what, uuid, snapshot] => (*what, *uuid, *snapshot),
        _ => return usage(USAGE),
    };
    let Some(uuid) = parse(uuid) else {
        return usage(USAGE);
    };
    let mut client = Client::open()?;
    let plain = client.call(DESTROY, CALL, &domain(b"x", uuid));
    match what {
        "plain" => client.socket.write_all(&plain)?,
        "bytes" => byte_by_byte(&client.socket, &plain)?,
        "pipelined" => {
            let mut both = client.call(GET_VERSION, CALL, &[]);
            both.extend(plain);
            client.socket.write_all(&both)?;
            client.reply()?;
        }
        "iovecs" => {
            let parts = [&plain[..3], &plain[3..17], &plain[17..]].map(IoSlice::new);
            let sent = client.socket.write_vectored(&parts)?;
            if sent != plain.len() {
                return Err(io::Error::from(io::ErrorKind::WriteZero).into());
            }
        }
        "wrong-name" => client.destroy(b"another", uuid)?,
        "long-name" => client.destroy(&vec![b'A'; LONG_NAME], uuid)?,
        "with-fds" => {
            let mut body = 0_u32.to_be_bytes().to_vec();
            body.extend(domain(b"x", uuid));
            let call = client.call(DESTROY, CALL_WITH_FDS, &body);
            client.socket.write_all(&call)?;
        }
        "trailing" => {
            let mut body = domain(b"x", uuid);
            body.extend(b"JUNKJUNK");
            let call = client.call(DESTROY, CALL, &body);
            client.socket.write_all(&call)?;
        }
        "sendmmsg" => rpc_send::sendmmsg(&client.socket, &plain)?,
        "splice" => rpc_send::splice(&client.socket, &plain)?,
        "sendfile" => rpc_send::sendfile(&client.socket, &plain)?,
        "io-uring" => rpc_send::io_uring(&client.socket, &plain, uring::OP_SEND)?,
        "io-uring-write" => rpc_send::io_uring(&client.socket, &plain, uring::OP_WRITE)?,
        "vmsplice" => rpc_send::vmsplice(&client.socket, &plain)?,
        "two-writes" => {
            client.socket.write_all(&plain[..28])?;
            client.socket.write_all(&plain[28..])?;
        }
        "revert" => {
            let mut body = string(snapshot.as_bytes());
            body.extend(domain(b"x", uuid));
            body.extend(0_u32.to_be_bytes());
            let call = client.call(REVERT_TO_SNAPSHOT, CALL, &body);
            byte_by_byte(&client.socket, &call)?;
        }
        "autodestroy" => {
            let mut body = domain(b"x", uuid);
            body.extend(2_u32.to_be_bytes());
            let call = client.call(CREATE_WITH_FLAGS, CALL, &body);
            client.socket.write_all(&call)?;
        }
        _ => return usage(USAGE),
    }
    Ok(client.reply()?)
}

fn byte_by_byte(mut socket: &UnixStream, bytes: &[u8]) -> io::Result<()> {
    bytes.iter().try_for_each(|byte| socket.write_all(&[*byte]))
}

fn parse(uuid: &str) -> Option<[u8; 16]> {
    let digits: String = uuid.chars().filter(|c| *c != '-').collect();
    u128::from_str_radix(&digits, 16)
        .ok()
        .map(u128::to_be_bytes)
}

/// A domain as the protocol writes it, without a number.
fn domain(name: &[u8], uuid: [u8; 16]) -> Vec<u8> {
    let mut body = string(name);
    body.extend(uuid);
    body.extend(u32::MAX.to_be_bytes());
    body
}

fn string(text: &[u8]) -> Vec<u8> {
    let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
    let mut all = len.to_be_bytes().to_vec();
    all.extend(text);
    all.resize(all.len().next_multiple_of(4), 0);
    all
}

impl Client {
    fn open() -> io::Result<Self> {
        let mut client = Self {
            socket: UnixStream::connect(SOCKET)?,
            serial: 0,
        };
        let auth = client.call(AUTH_LIST, CALL, &[]);
        client.socket.write_all(&auth)?;
        client.reply()?;
        let mut body = 1_u32.to_be_bytes().to_vec();
        body.extend(string(b"qemu:///system"));
        body.extend([0; 4]);
        let open = client.call(CONNECT_OPEN, CALL, &body);
        client.socket.write_all(&open)?;
        client.reply()?;
        Ok(client)
    }

    /// `destroy` of a domain that goes by this name.
    fn destroy(&mut self, name: &[u8], uuid: [u8; 16]) -> io::Result<()> {
        let call = self.call(DESTROY, CALL, &domain(name, uuid));
        self.socket.write_all(&call)
    }

    fn call(&mut self, procedure: u32, kind: u32, body: &[u8]) -> Vec<u8> {
        let len = u32::try_from(body.len() + 28).unwrap_or(u32::MAX);
        let mut all = Vec::new();
        for word in [len, REMOTE, 1, procedure, kind, self.serial, 0] {
            all.extend(word.to_be_bytes());
        }
        all.extend(body);
        self.serial += 1;
        all
    }

    /// libvirt's answer; its words where it is an error.
    fn reply(&mut self) -> io::Result<()> {
        let mut head = [0; 28];
        self.socket.read_exact(&mut head)?;
        let word =
            |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let rest = usize::try_from(word(0))
            .unwrap_or_default()
            .saturating_sub(28);
        let mut body = vec![0; rest];
        self.socket.read_exact(&mut body)?;
        if word(24) == 0 {
            return Ok(());
        }
        let printable = |b: &u8| if (32..127).contains(b) { *b } else { b' ' };
        let text = body.iter().map(printable).collect();
        Err(io::Error::other(
            String::from_utf8(text).unwrap_or_default(),
        ))
    }
}
