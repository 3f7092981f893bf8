//! Looks at libvirt and writes what it says.
//!
//! One thread, because libvirt's calls block. It looks whenever libvirt reports
//! a lifecycle event, when the connection opens or closes, and at least every
//! ten seconds, and writes what it saw as a whole.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use virt::connect::Connect;
use virt::domain::{Domain as VirtDomain, DomainPausedReason, DomainState, DomainStateReason};
use virt::enumutil::Enum;
use virt::error::{Error, ErrorNumber};
use vmward_core::ids::VmUuid;
use vmwardd::inventory::Labels;
use vmwardd::inventory::line::{Line, Seen, SeenRun};

use crate::{events, labels};

/// Look at least this often, event or not.
const RESYNC_EVERY: Duration = Duration::from_secs(10);
/// First and longest pause between two attempts to connect.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// A libvirtd that answers no ping for this long is gone.
const KEEPALIVE_S: i32 = 5;
const KEEPALIVE_COUNT: u32 = 3;
/// Most characters of a reason.
const WHY_CHARS_MAX: usize = 1024;

/// Why a connection is no longer followed.
enum Broken {
    /// libvirt does not answer.
    Libvirt(Error),
    /// Nobody reads any more.
    Reader(io::Error),
}

impl From<Error> for Broken {
    fn from(error: Error) -> Broken {
        Broken::Libvirt(error)
    }
}

/// Looks until nobody reads `out` any more, and says why it cannot be written.
pub(crate) fn watch(uri: &str, out: &mut impl Write) -> io::Error {
    let (waker, wake_ups) = sync_channel(1);
    let mut backoff = BACKOFF_MIN;
    loop {
        let mut looked = false;
        let outcome = open(uri, &waker)
            .map_err(Broken::from)
            .and_then(|connection| {
                let outcome = follow(&connection.0, &wake_ups, out, &mut looked);
                events::unregister(&connection.0, &connection.1);
                outcome
            });
        let told = match outcome {
            // The channel cannot be closed: this thread holds a sender itself.
            Ok(()) => Ok(()),
            Err(Broken::Reader(error)) => Err(error),
            Err(Broken::Libvirt(error)) => write(
                out,
                &Line::Gone {
                    error: cut(&error.to_string()),
                },
            )
            .and_then(|()| out.flush()),
        };
        if let Err(error) = told {
            return error;
        }
        backoff = if looked {
            BACKOFF_MIN
        } else {
            BACKOFF_MAX.min(backoff * 2)
        };
        // A closing callback of the old connection may end the pause early;
        // the next attempt then fails and pauses again.
        let _early = wake_ups.recv_timeout(backoff);
    }
}

fn open(uri: &str, waker: &events::Waker) -> Result<(Connect, events::Callbacks), Error> {
    events::start_loop()?;
    // Read-only: this connection can never stop a VM, whatever goes wrong.
    let connection = Connect::open_read_only(Some(uri))?;
    if let Err(error) = connection.set_keep_alive(KEEPALIVE_S, KEEPALIVE_COUNT) {
        // In-process drivers have no connection to keep alive.
        tracing::debug!(%error, "libvirt keepalive is not available");
    }
    let callbacks = events::register(&connection, waker)?;
    tracing::info!(uri, "connected to libvirt");
    Ok((connection, callbacks))
}

/// Looks again on each wake-up until the connection breaks or nobody reads.
fn follow(
    connection: &Connect,
    wake_ups: &Receiver<()>,
    out: &mut impl Write,
    looked: &mut bool,
) -> Result<(), Broken> {
    loop {
        look(connection, out)?;
        *looked = true;
        match wake_ups.recv_timeout(RESYNC_EVERY) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        if !connection.is_alive()? {
            // Ask for what the library knows about the break.
            connection.lib_version()?;
        }
    }
}

fn look(connection: &Connect, out: &mut impl Write) -> Result<(), Broken> {
    let mut domains = 0;
    for found in connection.list_all_domains(0)? {
        // A domain may vanish between the list and the question; the event
        // about that brings the next look.
        match describe(&found) {
            Ok(seen) => {
                write(out, &Line::Domain(seen)).map_err(Broken::Reader)?;
                domains += 1;
            }
            Err(error) => tracing::debug!(%error, "a domain could not be read"),
        }
    }
    write(out, &Line::Looked { domains })
        .and_then(|()| out.flush())
        .map_err(Broken::Reader)
}

fn write(out: &mut impl Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

/// libvirt's words can hold what a caller made up, at any length.
fn cut(why: &str) -> String {
    why.chars().take(WHY_CHARS_MAX).collect()
}

fn describe(found: &VirtDomain) -> Result<Seen, Error> {
    let (run, paused) = match found.id() {
        None => (SeenRun::Off, None),
        Some(_) => running(found)?,
    };
    let (labels, labels_fault) = match labels::read(found) {
        Ok(labels) => (labels, None),
        Err(fault) => (Labels::new(), Some(cut(&fault))),
    };
    Ok(Seen {
        uuid: VmUuid::from_bytes(*found.uuid()?.as_bytes()),
        name: found.name()?,
        run,
        paused,
        labels,
        labels_fault,
    })
}

/// What it does, and why its guest stands still, where it does.
fn running(found: &VirtDomain) -> Result<(SeenRun, Option<String>), Error> {
    let (state, reason) = match found.state() {
        Ok(state) => state,
        // It ended between the list and the question.
        Err(error) if error.code() == Enum::Known(ErrorNumber::NoDomain) => return Err(error),
        // It stays in the list, where the status shows why it is bare.
        Err(error) => {
            let why = cut(&error.to_string());
            let run = SeenRun::Unknown(format!("libvirt does not tell: {why}"));
            return Ok((run, None));
        }
    };
    let paused = paused(state, reason).map(str::to_owned);
    Ok(match settled(state, reason) {
        Settled::Off => (SeenRun::Off, None),
        Settled::No(why) => (SeenRun::Unsettled(why.to_owned()), None),
        Settled::Yes => (SeenRun::Running, paused),
    })
}

/// Why a guest stands still, by the words of `virsh domstate --reason`; `None` where
/// it runs.
fn paused(state: State, reason: virt::domain::DomainStateReasonEnum) -> Option<&'static str> {
    use DomainPausedReason as Why;
    match state {
        Enum::Known(DomainState::Paused) => {}
        Enum::Known(DomainState::PMSuspended) => return Some("asleep"),
        _ => return None,
    }
    let Enum::Known(DomainStateReason::Paused(Enum::Known(reason))) = reason else {
        return Some("unknown");
    };
    Some(match reason {
        Why::Unknown => "unknown",
        Why::User => "user",
        Why::Migration => "migrating",
        Why::Save => "saving",
        Why::Dump => "dumping",
        Why::IOError => "I/O error",
        Why::Watchdog => "watchdog",
        Why::FromSnapshot => "from snapshot",
        Why::ShuttingDown => "shutting down",
        Why::Snapshot => "creating snapshot",
        Why::Crashed => "crashed",
        Why::StartingUp => "starting up",
        Why::PostCopy => "post-copy",
        Why::PostCopyFailed => "post-copy failed",
        Why::APIError => "api error",
    })
}

enum Settled {
    Yes,
    No(&'static str),
    Off,
}

type State = Enum<DomainState, virt_sys::virDomainState>;

fn settled(state: State, reason: virt::domain::DomainStateReasonEnum) -> Settled {
    let Enum::Known(state) = state else {
        return Settled::No("libvirt reports a state that this version does not know");
    };
    match state {
        DomainState::Running | DomainState::Blocked | DomainState::PMSuspended => Settled::Yes,
        DomainState::Paused => match reason {
            Enum::Known(DomainStateReason::Paused(Enum::Known(DomainPausedReason::StartingUp))) => {
                Settled::No("it is still starting")
            }
            Enum::Known(DomainStateReason::Paused(Enum::Known(DomainPausedReason::Migration))) => {
                Settled::No("it is being migrated")
            }
            _ => Settled::Yes,
        },
        DomainState::Shutdown => Settled::No("it is shutting down"),
        DomainState::Crashed => Settled::No("it has crashed"),
        DomainState::NoState => Settled::No("libvirt knows no state"),
        DomainState::Shutoff => Settled::Off,
    }
}
