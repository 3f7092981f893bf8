//! The groups that a peer had when it connected.

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

/// Most groups that Linux gives a process.
const GROUPS_MAX: usize = 65_536;
/// Room for the first question; most processes have fewer.
const GROUPS_FIRST: usize = 64;

/// The primary group and the supplementary ones, by `SO_PEERGROUPS`.
pub(super) fn of_peer<S: AsFd>(socket: &S, primary: u32) -> nix::Result<Vec<u32>> {
    let mut groups = vec![0; GROUPS_FIRST];
    let count = match ask(socket, &mut groups) {
        Err(Errno::ERANGE) => {
            groups.resize(GROUPS_MAX, 0);
            ask(socket, &mut groups)?
        }
        other => other?,
    };
    groups.truncate(count);
    groups.insert(0, primary);
    groups.shrink_to_fit();
    Ok(groups)
}

/// How many groups the kernel wrote into `room`.
#[expect(
    unsafe_code,
    reason = "no safe wrapper knows SO_PEERGROUPS; one call, checked"
)]
fn ask<S: AsFd>(socket: &S, room: &mut [libc::gid_t]) -> nix::Result<usize> {
    let mut bytes = libc::socklen_t::try_from(size_of_val(room)).map_err(|_error| Errno::EINVAL)?;
    // SAFETY: `room` is writable for the `bytes` bytes that are stated, any
    // bytes are valid ids, and both pointers are used during the call only.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            room.as_mut_ptr().cast(),
            &raw mut bytes,
        )
    };
    Errno::result(outcome)?;
    let bytes = usize::try_from(bytes).map_err(|_error| Errno::EINVAL)?;
    Ok(bytes / size_of::<libc::gid_t>())
}
