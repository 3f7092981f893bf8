//! Which domains this host has, by libvirt, and which processes run them.
//!
//! One OS thread, because libvirt's calls block. It looks whenever libvirt
//! reports a lifecycle event, when the connection opens or closes, and at least
//! every ten seconds, and sends what it saw as a whole. It only ever adds
//! protection: a libvirt that is silent, gone or restarting takes none away;
//! only the end of the QEMU process does, and the kernel sees that itself.

mod deputy;
mod events;
mod helpers;
mod labels;
mod status_xml;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use virt::connect::Connect;
use virt::domain::{Domain as VirtDomain, DomainPausedReason, DomainState, DomainStateReason};
use virt::enumutil::Enum;
use virt::error::{Error, ErrorNumber};
use vmward_core::ids::{Process, VmUuid};

use self::labels::LabelBook;
pub use self::labels::Labels;
use self::status_xml::find_process;

/// Look at least this often, event or not.
const RESYNC_EVERY: Duration = Duration::from_secs(10);
/// First and longest pause between two attempts to connect.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// A libvirtd that answers no ping for this long is gone.
const KEEPALIVE_S: i32 = 5;
const KEEPALIVE_COUNT: u32 = 3;

/// A domain as seen now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// The identity.
    pub uuid: VmUuid,
    /// The name, for people.
    pub name: String,
    /// From its metadata.
    pub labels: Labels,
    /// What it does.
    pub run: Run,
}

/// What a domain does, as far as protection goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// Not running.
    Off,
    /// Its process exists and must not be protected yet, or any more: libvirt
    /// has to be able to clean up a failed start, a failed incoming migration
    /// and a guest that powered off.
    Unsettled(String),
    /// Running; here is the process to protect.
    Running(Process),
    /// Running, but not to be protected; says why.
    Unprotectable(String),
}

/// Processes that are no VMs and hold some.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// libvirt's daemons.
    pub deputies: Vec<Process>,
    /// By the process of a running VM: those whose end is its end.
    pub helpers: BTreeMap<Process, Vec<Process>>,
}

/// What the inventory tells the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// Everything that libvirt knows.
    Domains {
        /// Every domain, running or not.
        domains: Vec<Domain>,
        /// libvirt's own daemon, which may act for a lease holder; 0 unknown.
        deputy_pid: u32,
        /// What is to be guarded beside them.
        beside: Beside,
    },
    /// libvirt cannot be asked; what was seen before still stands.
    Gone {
        /// Why.
        error: String,
    },
}

/// Where to look.
#[derive(Clone, Debug)]
pub struct Source {
    /// libvirt's URI.
    pub uri: String,
    /// The folder with the status files.
    pub run_dir: PathBuf,
}

/// Looks for ever, in its own thread. `tell` returns false when nobody listens
/// any more; the thread then ends.
///
/// # Errors
/// The thread cannot be started.
pub fn start(
    source: Source,
    tell: impl FnMut(Sighting) -> bool + Send + 'static,
) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name("inventory".to_owned())
        .spawn(move || watch(&source, tell))
        .map(drop)
}

fn watch(source: &Source, mut tell: impl FnMut(Sighting) -> bool) {
    let (waker, wake_ups) = sync_channel(1);
    let mut backoff = BACKOFF_MIN;
    let mut labels = LabelBook::default();
    loop {
        let mut seen_any = false;
        let outcome = open(source, &waker).and_then(|connection| {
            let outcome = follow(
                &connection.0,
                source,
                &mut labels,
                &wake_ups,
                &mut |sighting| {
                    seen_any = true;
                    tell(sighting)
                },
            );
            events::unregister(&connection.0, &connection.1);
            outcome
        });
        let Err(error) = outcome else {
            return;
        };
        if !tell(Sighting::Gone {
            error: error.to_string(),
        }) {
            return;
        }
        backoff = if seen_any {
            BACKOFF_MIN
        } else {
            BACKOFF_MAX.min(backoff * 2)
        };
        // A closing callback of the old connection may end the pause early;
        // the next attempt then fails and pauses again.
        let _early = wake_ups.recv_timeout(backoff);
    }
}

fn open(source: &Source, waker: &events::Waker) -> Result<(Connect, events::Callbacks), Error> {
    events::start_loop()?;
    // Read-only: this connection can never stop a VM, whatever goes wrong.
    let connection = Connect::open_read_only(Some(&source.uri))?;
    if let Err(error) = connection.set_keep_alive(KEEPALIVE_S, KEEPALIVE_COUNT) {
        // In-process drivers have no connection to keep alive.
        tracing::debug!(%error, "libvirt keepalive is not available");
    }
    let callbacks = events::register(&connection, waker)?;
    tracing::info!(uri = source.uri, "connected to libvirt");
    Ok((connection, callbacks))
}

/// Looks again on each wake-up until the connection breaks (an error) or
/// nobody listens (no error).
fn follow(
    connection: &Connect,
    source: &Source,
    labels: &mut LabelBook,
    wake_ups: &Receiver<()>,
    tell: &mut impl FnMut(Sighting) -> bool,
) -> Result<(), Error> {
    loop {
        let mut beside = Beside::default();
        let domains = look(connection, source, labels, &mut beside)?;
        beside.deputies = deputy::find();
        if !tell(Sighting::Domains {
            domains,
            deputy_pid: beside.deputies.first().map_or(0, |process| process.pid),
            beside,
        }) {
            return Ok(());
        }
        match wake_ups.recv_timeout(RESYNC_EVERY) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            // This thread holds a sender itself.
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        if !connection.is_alive()? {
            // Ask for what the library knows about the break.
            connection.lib_version()?;
        }
    }
}

fn look(
    connection: &Connect,
    source: &Source,
    labels: &mut LabelBook,
    beside: &mut Beside,
) -> Result<Vec<Domain>, Error> {
    let mut domains = Vec::new();
    for found in connection.list_all_domains(0)? {
        // A domain may vanish between the list and the question; the event
        // about that brings the next look.
        match describe(&found, source, labels) {
            Ok(domain) => {
                if let (Run::Running(vm), Some(id)) = (&domain.run, found.id()) {
                    let helpers = helpers::find(&source.run_dir, id, *vm);
                    beside.helpers.insert(*vm, helpers);
                }
                domains.push(domain);
            }
            Err(error) => tracing::debug!(%error, "a domain could not be read"),
        }
    }
    labels.keep_only(&domains);
    Ok(domains)
}

fn describe(found: &VirtDomain, source: &Source, labels: &mut LabelBook) -> Result<Domain, Error> {
    let uuid = VmUuid::from_bytes(*found.uuid()?.as_bytes());
    let name = found.name()?;
    let run = match found.id() {
        None => Run::Off,
        Some(_) => running(found, source, &name, uuid)?,
    };
    let labels = labels.read(found, uuid, &name);
    Ok(Domain {
        uuid,
        name,
        labels,
        run,
    })
}

fn running(found: &VirtDomain, source: &Source, name: &str, uuid: VmUuid) -> Result<Run, Error> {
    let (state, reason) = match found.state() {
        Ok(state) => state,
        // It ended between the list and the question.
        Err(error) if error.code() == Enum::Known(ErrorNumber::NoDomain) => return Err(error),
        // It stays in the list, where the status shows why it is bare.
        Err(error) => {
            return Ok(Run::Unprotectable(format!(
                "libvirt does not tell: {error}"
            )));
        }
    };
    let run = match settled(state, reason) {
        Settled::Off => Run::Off,
        Settled::No(why) => Run::Unsettled(why.to_owned()),
        Settled::Yes => match find_process(&source.run_dir, name, uuid) {
            Ok(process) => Run::Running(process),
            Err(error) => Run::Unprotectable(error.to_string()),
        },
    };
    Ok(run)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn source(uri: &str) -> Source {
        Source {
            uri: uri.to_owned(),
            run_dir: "/nonexistent".into(),
        }
    }

    #[test]
    fn the_test_driver_s_domain_is_seen_running_and_unprotectable() {
        let (tell, told) = sync_channel(4);
        start(source("test:///default"), move |s| tell.send(s).is_ok()).unwrap();
        let sighting = told.recv_timeout(Duration::from_secs(20)).unwrap();
        let Sighting::Domains { domains, .. } = sighting else {
            panic!("{sighting:?}");
        };
        let domain = domains.iter().find(|domain| domain.name == "test").unwrap();
        assert_eq!(
            domain.uuid.to_string(),
            "6695eb01-f6a4-8304-79aa-97f2502e193f"
        );
        assert!(matches!(domain.run, Run::Unprotectable(_)), "{domain:?}");
    }

    #[test]
    fn labels_in_the_metadata_are_seen_whether_the_domain_runs_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let domain = |name: &str, state: &str, metadata: &str| {
            format!(
                "<domain type='test' xmlns:test='http://libvirt.org/schemas/domain/test/1.0'>\
                 <name>{name}</name><memory>1024</memory><os><type>hvm</type></os>\
                 <metadata><other:x xmlns:other='urn:other' tier='no'/>{metadata}</metadata>\
                 <test:runstate>{state}</test:runstate></domain>"
            )
        };
        let labels = "<vmward:labels xmlns:vmward='urn:vmward:labels:1' tier='prod'/>";
        let (running, off) = ("1", "5");
        let node = format!(
            "<node>{}{}{}</node>",
            domain("db-1", running, labels),
            domain("db-2", off, labels),
            domain("web-1", running, "")
        );
        let path = dir.path().join("node.xml");
        std::fs::write(&path, node).unwrap();
        let (tell, told) = sync_channel(4);
        let uri = format!("test://{}", path.display());
        start(source(&uri), move |s| tell.send(s).is_ok()).unwrap();
        let sighting = told.recv_timeout(Duration::from_secs(20)).unwrap();
        let Sighting::Domains { domains, .. } = sighting else {
            panic!("{sighting:?}");
        };
        let tier = |name: &str| {
            let domain = domains.iter().find(|domain| domain.name == name).unwrap();
            domain.labels.get("tier").cloned()
        };
        assert_eq!(tier("db-1").as_deref(), Some("prod"));
        assert_eq!(tier("db-2").as_deref(), Some("prod"));
        assert_eq!(tier("web-1"), None);
    }

    #[test]
    fn a_libvirt_that_is_not_there_is_reported_and_tried_again() {
        let (tell, told) = sync_channel(4);
        let uri = "qemu+unix:///system?socket=/nonexistent/sock";
        start(source(uri), move |s| tell.send(s).is_ok()).unwrap();
        for _ in 0..2 {
            let sighting = told.recv_timeout(Duration::from_secs(20)).unwrap();
            assert!(matches!(sighting, Sighting::Gone { .. }), "{sighting:?}");
        }
    }
}
