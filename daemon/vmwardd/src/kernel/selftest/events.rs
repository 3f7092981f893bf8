//! What must have come out of the kernel's ring about the canary.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::failed;
use crate::kernel::events::{EVENTS_MAX, EventReader};
use crate::kernel::{CANARY_UUID, EventKind, Kernel, KernelError};

/// How long the events of the canary may take to be there. One that the kernel is
/// still writing, on a processor that has other work, holds up all behind it.
const EVENTS_WAIT: Duration = Duration::from_secs(5);

/// The one signal that the kernel itself sends the canary.
const SIGXFSZ: u32 = 25;

/// Every kind of event must have come, and none may have been lost.
pub(super) fn check(kernel: &mut Kernel) -> Result<Vec<String>, KernelError> {
    let Some(reader) = kernel.reader.as_mut() else {
        return Ok(vec![
            "the event reader was taken before the self-test".to_owned(),
        ]);
    };
    let deadline = Instant::now() + EVENTS_WAIT;
    let mut seen = Seen::default();
    loop {
        seen.take(reader);
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || seen.missing().next().is_none() {
            return Ok(seen.wrong());
        }
        wait_for_events(reader, left)?;
    }
}

fn wait_for_events(reader: &EventReader, limit: Duration) -> Result<(), KernelError> {
    let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(reader.as_fd(), PollFlags::POLLIN)], limit) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(failed("wait for its events")(error.into())),
    }
}

/// What came of the canary.
#[derive(Default)]
struct Seen {
    kinds: Vec<EventKind>,
    kernel_signals: Vec<u32>,
}

impl Seen {
    /// Takes what is there now; others' events stay for the daemon.
    fn take(&mut self, reader: &mut EventReader) {
        let mut others = Vec::new();
        // More may wait where somebody floods the ring; the rest is read later.
        let room = reader.kept_len() + EVENTS_MAX;
        let _more = reader.drain(room, |event| match event {
            Ok(event) if event.vm_uuid == CANARY_UUID => {
                if event.kind == EventKind::KernelSignal {
                    self.kernel_signals.push(event.signal);
                }
                self.kinds.push(event.kind);
            }
            other => others.push(other),
        });
        for event in others {
            reader.keep(event);
        }
    }

    fn missing(&self) -> impl Iterator<Item = EventKind> {
        [
            EventKind::Refused,
            EventKind::LeaseClaimed,
            EventKind::HostRule,
            EventKind::HostRuleUsedUp,
            EventKind::KernelSignal,
            EventKind::Finishing,
            EventKind::Resumed,
            EventKind::FinishingKill,
            EventKind::Exited,
        ]
        .into_iter()
        .filter(|kind| !self.kinds.contains(kind))
    }

    fn wrong(&self) -> Vec<String> {
        // What a user sends is the wall's to judge, and no kernel signal.
        let mistaken = self.kernel_signals.iter().filter(|one| **one != SIGXFSZ);
        let mistaken =
            mistaken.map(|signal| format!("signal {signal} was taken for the kernel's own"));
        let missing = self
            .missing()
            .map(|kind| format!("no event {kind:?} came from the kernel"));
        mistaken.chain(missing).collect()
    }
}
