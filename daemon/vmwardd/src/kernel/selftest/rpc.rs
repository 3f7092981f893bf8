//! Calls to libvirt, on a socket of the self-test's own that is named as
//! libvirt's is.

use std::io::{self, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use nix::errno::Errno;

use super::process::Canary;
use super::{Findings, failed};
use crate::kernel::{CANARY_UUID, Kernel, KernelError};

/// As libvirt names it; the programs know it by that.
const SOCKET: &str = "libvirt-sock";
const REMOTE_PROGRAM: u32 = 0x2000_8086;
/// `REMOTE_PROC_DOMAIN_DESTROY`, `REMOTE_PROC_DOMAIN_GET_INFO` and
/// `REMOTE_PROC_DOMAIN_SET_LIFECYCLE_ACTION`.
const DESTROY: u32 = 12;
const GET_INFO: u32 = 16;
const SET_LIFECYCLE_ACTION: u32 = 390;

pub(super) fn attack(
    _kernel: &mut Kernel,
    canary: &mut Canary,
    findings: &mut Findings,
) -> Result<(), KernelError> {
    let path = canary.dir.join(SOCKET);
    let _listener = UnixListener::bind(&path).map_err(failed("listen as libvirt does"))?;
    let mut client = UnixStream::connect(&path).map_err(failed("connect as to libvirt"))?;
    findings.allowed("a question to libvirt", call(&mut client, GET_INFO));
    findings.refused("a stop by a call to libvirt", call(&mut client, DESTROY));
    findings.refused(
        "arming a stop by a call to libvirt",
        call(&mut client, SET_LIFECYCLE_ACTION),
    );
    Ok(())
}

/// One call about the canary, in one write, as libvirt's client library sends
/// it.
fn call(client: &mut UnixStream, procedure: u32) -> Result<(), Errno> {
    let mut body: Vec<u8> = Vec::new();
    // Program, version, procedure, type, serial, status; the name's length.
    for word in [REMOTE_PROGRAM, 1, procedure, 0, 1, 0, 6] {
        body.extend(word.to_be_bytes());
    }
    body.extend(*b"canary\0\0");
    body.extend(CANARY_UUID);
    // No number, for a domain that does not run; then arguments.
    for word in [u32::MAX, 0, 0, 0] {
        body.extend(word.to_be_bytes());
    }
    let len = u32::try_from(body.len() + 4).unwrap_or_default();
    let mut message = len.to_be_bytes().to_vec();
    message.extend(body);
    client
        .write_all(&message)
        .map_err(|e: io::Error| Errno::from_raw(e.raw_os_error().unwrap_or_default()))
}
