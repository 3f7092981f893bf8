//! The listening sockets: handed over by systemd, or made here.

use std::io;
use std::net::Shutdown;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Group};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use crate::connection::{self, Service};
use crate::counters::count;
use crate::log::Throttle;
use crate::places::{Place, Places};

/// Clients of the policy socket served at once, of root and of all others each; of the
/// others one more for each account that has none.
pub const CLIENTS_MAX: usize = 64;
/// Most clients of the admin socket, whatever happens at the other.
pub const ADMIN_CLIENTS_MAX: usize = 16;
/// Stack of a client's thread: JSON may nest, boundedly.
const CLIENT_STACK_BYTES: usize = 512 * 1024;
/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Through which socket a client came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// `policy.sock`: whoever is about to run a tool.
    Policy,
    /// `admin.sock`: people.
    Admin,
}

impl Door {
    /// Most clients who come through it at a time.
    pub fn clients_max(self) -> usize {
        match self {
            Door::Policy => Places::most(CLIENTS_MAX),
            Door::Admin => ADMIN_CLIENTS_MAX,
        }
    }

    /// How they are shared out among accounts; the other door is root's alone.
    fn places(self) -> Arc<Places> {
        match self {
            Door::Policy => Places::new(CLIENTS_MAX),
            Door::Admin => Places::new(ADMIN_CLIENTS_MAX),
        }
    }
}

/// Why there are no sockets.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// What systemd handed over is not what the unit files say.
    #[error("Failed to take over the sockets from systemd")]
    Inherit(#[source] io::Error),
    /// systemd handed over a descriptor under a name that means nothing here.
    #[error("systemd handed over a socket named {0:?}; known names are policy and admin")]
    UnknownName(String),
    /// Making a socket failed.
    #[error("Failed to listen on {path}")]
    Bind {
        /// The socket.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Something that is no socket is in the way.
    #[error("{path} exists and is no socket; move it away")]
    InTheWay {
        /// What is in the way.
        path: PathBuf,
    },
}

/// Both listeners.
#[derive(Debug)]
pub struct Listeners {
    /// For callers.
    pub policy: UnixListener,
    /// For root; absent when systemd hands over only the other.
    pub admin: Option<UnixListener>,
    /// Something that is not as it should be, as a sentence.
    pub warning: Option<String>,
}

/// Takes the sockets from systemd, or makes them. Call before any thread is
/// started: the file mode is set through the process's umask.
///
/// # Errors
/// See [`SocketError`].
pub fn listen(policy: &Path, admin: &Path, group: &str) -> Result<Listeners, SocketError> {
    if let Some(inherited) = inherited()? {
        return Ok(inherited);
    }
    let owner_only = Mode::S_IRWXG | Mode::S_IRWXO | Mode::S_IXUSR;
    let with_group = Mode::S_IXGRP | Mode::S_IRWXO | Mode::S_IXUSR;
    let admin = bind(admin, owner_only)?;
    let (gid, warning) = match group_of(group) {
        Ok(gid) => (Some(gid), None),
        Err(warning) => (None, Some(warning)),
    };
    // The mode counts from the first moment, with the group still root's; only
    // then is the group changed. There is no moment with too wide an access.
    let listener = bind(
        policy,
        if gid.is_some() {
            with_group
        } else {
            owner_only
        },
    )?;
    if let Some(gid) = gid {
        give_to_group(policy, gid)?;
    }
    Ok(Listeners {
        policy: listener,
        admin: Some(admin),
        warning,
    })
}

/// The group of the policy socket.
///
/// # Errors
/// There is none of that name: what it means, and what to do.
pub fn group_of(name: &str) -> Result<Gid, String> {
    let found = Group::from_name(name).ok().flatten();
    found.map(|group| group.gid).ok_or_else(|| {
        format!(
            "the group {name} does not exist, so only root may use the policy socket; create it: \
             groupadd --system {name}"
        )
    })
}

fn give_to_group(path: &Path, gid: Gid) -> Result<(), SocketError> {
    nix::unistd::chown(path, None, Some(gid)).map_err(|errno| SocketError::Bind {
        path: path.to_owned(),
        source: errno.into(),
    })
}

fn bind(path: &Path, mask: Mode) -> Result<UnixListener, SocketError> {
    let at_bind = |source| SocketError::Bind {
        path: path.to_owned(),
        source,
    };
    match std::fs::symlink_metadata(path) {
        // The instance lock is held, so nobody listens there any more.
        Ok(meta) if meta.file_type().is_socket() => {
            std::fs::remove_file(path).map_err(at_bind)?;
        }
        Ok(_) => {
            return Err(SocketError::InTheWay {
                path: path.to_owned(),
            });
        }
        Err(_) => {}
    }
    let before = umask(mask);
    let bound = UnixListener::bind(path);
    umask(before);
    bound.map_err(at_bind)
}

fn inherited() -> Result<Option<Listeners>, SocketError> {
    let handed: Vec<(RawFd, String)> = sd_notify::listen_fds_with_names()
        .map_err(SocketError::Inherit)?
        .collect();
    let (mut policy, mut admin) = (None, None);
    for (fd, name) in handed {
        let listener = own(fd).map_err(SocketError::Inherit)?;
        match name.as_str() {
            "policy" => policy = Some(listener),
            "admin" => admin = Some(listener),
            _ => return Err(SocketError::UnknownName(name)),
        }
    }
    Ok(policy.map(|policy| Listeners {
        policy,
        admin,
        warning: None,
    }))
}

#[expect(unsafe_code, reason = "systemd hands descriptors over as bare numbers")]
fn own(fd: RawFd) -> io::Result<UnixListener> {
    // SAFETY: systemd made this descriptor for this process alone
    // (`LISTEN_PID` was checked) and this is the only place that takes it.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    let listener = UnixListener::from(owned);
    // Fails when it is no Unix socket.
    listener.local_addr()?;
    Ok(listener)
}

/// Accepts until `stop` turns true. Each client has a thread and holds a permit;
/// a client too many is told so and let go.
///
/// # Errors
/// An accept failure that will not go away.
pub async fn serve(
    listener: UnixListener,
    door: Door,
    service: Service,
    permits: Arc<Semaphore>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::UnixListener::from_std(listener)?;
    let mut throttle = Throttle::new(10);
    let places = door.places();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => match sort(&error) {
                AcceptFault::Ignore => continue,
                AcceptFault::BackOff => {
                    if let Some(more) = throttle.pass(crate::clock::boot_ns()) {
                        tracing::warn!(%error, more, "cannot accept clients now");
                    }
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                    continue;
                }
                AcceptFault::Fatal => return Err(error),
            },
        };
        let Ok(stream) = blocking(stream) else {
            count(&service.counters.clients_refused);
            continue;
        };
        let place = places.take_for_peer(&stream);
        let permit = Arc::clone(&permits).try_acquire_owned();
        let (Some(place), Ok(permit)) = (place, permit) else {
            count(&service.counters.clients_refused);
            connection::turn_away(&stream);
            continue;
        };
        let place = (place, permit);
        let started = start_client(stream, place, door, &service, &stop);
        if let Err(error) = started {
            count(&service.counters.clients_refused);
            if let Some(more) = throttle.pass(crate::clock::boot_ns()) {
                tracing::warn!(%error, more, "cannot start a thread for a client now");
            }
        }
    }
}

/// Takes a stream out of the runtime: its thread waits by blocking.
fn blocking(stream: tokio::net::UnixStream) -> io::Result<UnixStream> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Serves a client on a thread of its own, which holds the client's place.
///
/// # Errors
/// The system has no thread or descriptor to give.
fn start_client(
    stream: UnixStream,
    place: (Place, OwnedSemaphorePermit),
    door: Door,
    service: &Service,
    stop: &watch::Receiver<bool>,
) -> io::Result<()> {
    let service = service.clone();
    let (stopping, mut stop) = (stop.clone(), stop.clone());
    let runtime = Handle::current();
    let silenced = stream.try_clone()?;
    let (done, mut gone) = oneshot::channel::<()>();
    std::thread::Builder::new()
        .name("client".to_owned())
        .stack_size(CLIENT_STACK_BYTES)
        .spawn(move || {
            connection::serve(&stream, door, service, &stopping, runtime);
            drop((place, done));
        })?;
    tokio::spawn(async move {
        tokio::select! {
            _ = &mut gone => {}
            _ = stop.wait_for(|stop| *stop) => {
                // Wakes a thread that waits for its client's next request; what
                // it is answering now it still answers.
                let _closed_already = silenced.shutdown(Shutdown::Read);
            }
        }
    });
    Ok(())
}

enum AcceptFault {
    Ignore,
    BackOff,
    Fatal,
}

fn sort(error: &io::Error) -> AcceptFault {
    match error.raw_os_error() {
        Some(libc::ECONNABORTED | libc::EINTR | libc::EPERM | libc::EPROTO | libc::EAGAIN) => {
            AcceptFault::Ignore
        }
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => AcceptFault::BackOff,
        _ => AcceptFault::Fatal,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn the_sockets_have_their_modes_and_a_stale_one_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (policy, admin) = (dir.path().join("p.sock"), dir.path().join("a.sock"));
        let own_group = Group::from_gid(nix::unistd::getegid())
            .unwrap()
            .unwrap()
            .name;
        for _ in 0..2 {
            let listeners = listen(&policy, &admin, &own_group).unwrap();
            assert_eq!(listeners.warning, None);
            assert_eq!(mode(&policy), 0o660);
            assert_eq!(mode(&admin), 0o600);
        }
    }

    #[test]
    fn without_the_group_only_the_owner_gets_in_and_it_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let (policy, admin) = (dir.path().join("p.sock"), dir.path().join("a.sock"));
        let listeners = listen(&policy, &admin, "no-such-group-here").unwrap();
        assert_eq!(mode(&policy), 0o600);
        assert!(listeners.warning.unwrap().contains("groupadd"));
    }

    #[test]
    fn a_file_in_the_way_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (policy, admin) = (dir.path().join("p.sock"), dir.path().join("a.sock"));
        std::fs::write(&admin, "precious").unwrap();
        let error = listen(&policy, &admin, "root").unwrap_err();
        assert!(matches!(error, SocketError::InTheWay { .. }), "{error}");
        assert_eq!(std::fs::read_to_string(&admin).unwrap(), "precious");
    }
}
