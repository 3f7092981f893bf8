//! Who is at the other end of a connection, by what the kernel says and never
//! by what the caller says.
//!
//! `SO_PEERCRED` names the process that connected. Its number may have gone to
//! another process since, so a pidfd of the peer (`SO_PEERPIDFD`, Linux 6.5 and
//! newer) is asked, after `/proc/PID` was opened, whether the peer still lives;
//! from then on the open handle answers. On older kernels a peer that ends
//! between connecting and being accepted could be mistaken for the process that
//! got its number; its credentials could not.

pub mod account;
mod groups;

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use vmward_core::grant::Credentials;
use vmward_core::ids;
use vmward_wire::v1::Holder;

use crate::process::life::has_ended;
use crate::process::{self, ProcHandle, Stat};
use crate::secure_file::read_bounded;

/// Most wrappers (`sudo` in `sudo` ...) that are skipped on the way to the
/// shell.
const WRAPPERS_MAX: usize = 4;
/// Commands that stand between a shell and the command typed into it.
const WRAPPERS: [&str; 4] = ["sudo", "su", "doas", "run0"];
/// Whose are the user ids that no account has.
const SUBORDINATE_IDS: &str = "/etc/subuid";
/// Longest such file.
const SUBORDINATE_BYTES_MAX: u64 = 1024 * 1024;

/// The process at the other end.
#[derive(Debug)]
pub struct Peer {
    handle: ProcHandle,
    /// Number and start time.
    pub process: ids::Process,
    /// Effective user id when it connected.
    pub uid: u32,
    /// Command name when it connected.
    pub comm: String,
    /// The executable.
    pub exe: Option<String>,
    /// Its groups when it connected: the primary one, then the others.
    pub gids: Vec<u32>,
    /// The unit of the system's own service manager.
    pub unit: Option<String>,
    /// The user who logged in, whatever user it became later.
    pub loginuid: Option<u32>,
}

/// Why a peer cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The kernel does not tell.
    #[error("Failed to read the peer's credentials")]
    Credentials(#[source] nix::Error),
    /// The process that connected has ended; whoever speaks now got the
    /// connection from it.
    #[error(
        "the process {pid} that opened this connection has ended; open a connection of your own"
    )]
    Gone {
        /// Its number.
        pid: u32,
    },
    /// Anyone with such a range becomes, in a user namespace, any of its ids and
    /// keeps his groups: each would come with a quota of its own.
    #[error(
        "uid {uid} is one of the subordinate ids of {owner}, which have no quota of their own; ask \
         from outside the user namespace"
    )]
    SubordinateId {
        /// The peer's.
        uid: u32,
        /// To whom it was given, as the file names him.
        owner: String,
    },
    /// `/etc/subuid` is there and cannot be read, so nobody's quota is known.
    #[error("Failed to read {SUBORDINATE_IDS}")]
    SubordinateIds(#[source] std::io::Error),
    /// The lease would cover half the host.
    #[error(
        "the caller's parent is {comm} (pid {pid}), which would let every process under it use \
         the lease; ask with \"holder\": \"caller\" and go on in that process"
    )]
    HolderTooWide {
        /// The parent.
        pid: u32,
        /// Its name.
        comm: String,
    },
}

impl Peer {
    /// Identifies the other end of a connected Unix socket.
    ///
    /// # Errors
    /// The peer has ended, or the kernel does not tell.
    pub fn of<S: AsFd>(socket: &S) -> Result<Peer, IdentityError> {
        let credentials =
            getsockopt(socket, PeerCredentials).map_err(IdentityError::Credentials)?;
        let pid = u32::try_from(credentials.pid()).unwrap_or(0);
        let gone = IdentityError::Gone { pid };
        let Some(handle) = ProcHandle::open(pid) else {
            return Err(gone);
        };
        if let Some(pidfd) = peer_pidfd(socket)
            && has_ended(&pidfd)
        {
            return Err(gone);
        }
        let Some(Stat { process, comm, .. }) = handle.stat() else {
            return Err(gone);
        };
        let uid = credentials.uid();
        if let Some(owner) = subordinate_owner(uid).map_err(IdentityError::SubordinateIds)? {
            return Err(IdentityError::SubordinateId { uid, owner });
        }
        Ok(Peer {
            process,
            uid,
            comm,
            exe: handle.exe(),
            loginuid: handle.loginuid(),
            gids: groups::of_peer(socket, credentials.gid()).map_err(IdentityError::Credentials)?,
            unit: handle
                .cgroup()
                .as_deref()
                .and_then(process::system_unit_of_cgroup),
            handle,
        })
    }

    /// What a grant may be tied to.
    pub fn credentials(&self) -> Credentials<'_> {
        Credentials {
            uid: self.uid,
            gids: &self.gids,
            unit: self.unit.as_deref(),
        }
    }

    /// The process that will hold the lease. The caller itself is known since it
    /// connected: where it has ended meanwhile, nobody can use its lease, and
    /// nothing is read for it here. A parent is looked up now, and must be one
    /// whose descendants are a task of the caller, not the host's.
    ///
    /// # Errors
    /// Where the parent is wanted: the caller has ended, or its parent is an
    /// init or user manager.
    pub fn holder(&self, wanted: Holder) -> Result<ids::Process, IdentityError> {
        match wanted {
            Holder::Caller => Ok(self.process),
            Holder::Parent => {
                let stat = self.handle.stat().ok_or(IdentityError::Gone {
                    pid: self.process.pid,
                })?;
                parent_holder(&self.handle, stat.parent)
            }
        }
    }
}

/// To whom a user id was given as a subordinate one.
fn subordinate_owner(uid: u32) -> std::io::Result<Option<String>> {
    if uid == 0 {
        return Ok(None);
    }
    match read_bounded(Path::new(SUBORDINATE_IDS), SUBORDINATE_BYTES_MAX) {
        Ok(text) => Ok(owner_in(&text, uid)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Each line of the file reads `owner:first:count`.
fn owner_in(text: &str, uid: u32) -> Option<String> {
    text.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let (owner, first, count) = (fields.next()?, fields.next()?, fields.next()?);
        let first: u32 = first.parse().ok()?;
        let count: u32 = count.parse().ok()?;
        let offset = uid.checked_sub(first)?;
        (offset < count).then(|| owner.to_owned())
    })
}

/// Goes up from `child`, whose parent was `parent`, past `sudo` and its like to
/// the process that stays.
fn parent_holder(child: &ProcHandle, parent: u32) -> Result<ids::Process, IdentityError> {
    let mut pid = parent;
    let mut below: Option<ProcHandle> = None;
    for _ in 0..=WRAPPERS_MAX {
        let too_wide = |comm: &str| IdentityError::HolderTooWide {
            pid,
            comm: comm.to_owned(),
        };
        if pid <= 1 {
            return Err(too_wide("init"));
        }
        let Some(handle) = ProcHandle::open(pid) else {
            return Err(IdentityError::Gone { pid });
        };
        let Some(stat) = handle.stat() else {
            return Err(IdentityError::Gone { pid });
        };
        // It may have ended, and another process got its number, before it was
        // opened; then the child has another parent now.
        let still = below.as_ref().unwrap_or(child).stat();
        if still.is_none_or(|child| child.parent != pid) {
            return Err(IdentityError::Gone { pid });
        }
        if stat.comm == "systemd" {
            return Err(too_wide(&stat.comm));
        }
        // Anyone can take the name; only a wrapper that became root is one.
        let is_wrapper =
            WRAPPERS.contains(&stat.comm.as_str()) && handle.effective_uid() == Some(0);
        if !is_wrapper {
            return Ok(stat.process);
        }
        pid = stat.parent;
        below = Some(handle);
    }
    Err(IdentityError::HolderTooWide {
        pid,
        comm: "a chain of wrappers".to_owned(),
    })
}

/// A pidfd of the peer, where this kernel gives one.
#[expect(
    unsafe_code,
    reason = "no safe wrapper knows SO_PEERPIDFD; two calls, checked"
)]
fn peer_pidfd<S: AsFd>(socket: &S) -> Option<OwnedFd> {
    let mut raw: libc::c_int = -1;
    let mut len = libc::socklen_t::try_from(size_of::<libc::c_int>()).ok()?;
    // SAFETY: both pointers are to live locals of the size that `len` states.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERPIDFD,
            (&raw mut raw).cast(),
            &raw mut len,
        )
    };
    if outcome != 0 || raw < 0 {
        return None;
    }
    // SAFETY: the kernel has just made this descriptor for us and no one else
    // owns it.
    Some(unsafe { OwnedFd::from_raw_fd(raw) })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    fn connected() -> (tempfile::TempDir, UnixStream, UnixStream) {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("s")).unwrap();
        let client = UnixStream::connect(dir.path().join("s")).unwrap();
        let (server, _) = listener.accept().unwrap();
        (dir, client, server)
    }

    #[test]
    fn the_peer_is_the_process_that_connected() {
        let (_dir, _client, server) = connected();
        let peer = Peer::of(&server).unwrap();
        assert_eq!(peer.process.pid, std::process::id());
        assert_eq!(peer.uid, nix::unistd::geteuid().as_raw());
        let mut gids: Vec<u32> = nix::unistd::getgroups()
            .unwrap()
            .into_iter()
            .map(nix::unistd::Gid::as_raw)
            .collect();
        gids.insert(0, nix::unistd::getegid().as_raw());
        assert_eq!(peer.gids, gids);
        assert_eq!(peer.holder(Holder::Caller).unwrap(), peer.process);
    }

    #[test]
    fn a_parent_that_is_init_cannot_hold_a_lease() {
        let own = ProcHandle::open(std::process::id()).unwrap();
        let error = parent_holder(&own, 1).unwrap_err().to_string();
        assert!(
            error.contains("would let every process under it"),
            "{error}"
        );
    }

    #[test]
    fn the_parent_holds_the_lease_when_asked_for() {
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let handle = ProcHandle::open(child.id()).unwrap();
        let stat = handle.stat().unwrap();
        assert_eq!(
            parent_holder(&handle, stat.parent).unwrap().pid,
            std::process::id(),
            "the child's parent is this test"
        );
        // A process that merely has the number that the parent had.
        let stranger = parent_holder(&handle, child.id()).unwrap_err();
        assert!(matches!(stranger, IdentityError::Gone { .. }), "{stranger}");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_subordinate_id_belongs_to_its_owner() {
        let text = "alice:100000:65536\n\nbob:165536:2\nmallory:x:y\n";
        assert_eq!(owner_in(text, 1000), None);
        assert_eq!(owner_in(text, 99_999), None);
        assert_eq!(owner_in(text, 100_000).as_deref(), Some("alice"));
        assert_eq!(owner_in(text, 165_535).as_deref(), Some("alice"));
        assert_eq!(owner_in(text, 165_537).as_deref(), Some("bob"));
        assert_eq!(owner_in(text, 165_538), None);
    }

    #[test]
    fn a_connection_inherited_from_a_dead_process_is_refused() {
        // A shell connects (through Python's socket module), keeps the
        // connection open in a child, and ends.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let script = "import socket,os,sys\n\
            s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n\
            if os.fork()==0:\n  s.recv(1)\n";
        let mut parent = std::process::Command::new("python3")
            .args(["-c", script])
            .arg(&path)
            .spawn()
            .unwrap();
        let (server, _) = listener.accept().unwrap();
        parent.wait().unwrap();
        let error = Peer::of(&server).unwrap_err();
        assert!(matches!(error, IdentityError::Gone { .. }), "{error}");
    }
}
