//! From the kernel's ring buffer to the engine: one OS thread, because each
//! event is completed from `/proc` at once, and because an engine that is behind
//! must slow the reading down, so that the ring, which counts what it drops,
//! fills and not this process's memory. Events come in small portions, so that
//! the engine answers callers between them, and only so many portions are on
//! their way at a time: each takes a credit along that the engine gives back.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::clock;
use crate::counters::{SharedCounters, count};
use crate::engine_task::{EngineHandle, Message};
use crate::kernel::EventReader;
use crate::record::Witnessed;

/// How long a stop may wait for the thread to notice.
const POLL_MS: u16 = 200;
/// How often the engine hears that everything has been read.
const TELL_NS: i64 = 1_000_000_000;
/// Most events of a portion.
const PORTION_MAX: usize = 64;
/// Most portions on their way: one that the engine takes down while the next is
/// completed.
const PORTIONS_MAX: usize = 2;

/// The right to have one portion on its way; dropping it gives it back.
#[derive(Debug)]
pub struct Credit(SyncSender<()>);

#[cfg(test)]
impl Credit {
    pub(crate) fn for_test() -> Credit {
        Credit(sync_channel(1).0)
    }
}

impl Drop for Credit {
    fn drop(&mut self) {
        // There is room, since each credit came out of this very channel; or the
        // reading thread has ended.
        let _unheard = self.0.try_send(());
    }
}

/// The credits that are not on their way.
struct Credits {
    give: SyncSender<()>,
    take: Receiver<()>,
}

impl Credits {
    fn new() -> Credits {
        let (give, take) = sync_channel(PORTIONS_MAX);
        for _ in 0..PORTIONS_MAX {
            // The channel has room for exactly these.
            drop(Credit(give.clone()));
        }
        Credits { give, take }
    }

    /// Waits for a credit; `None` when `stop` came first, so that an engine
    /// that hangs cannot keep the daemon from ending.
    fn wait(&self, stop: &AtomicBool) -> Option<Credit> {
        let poll = Duration::from_millis(POLL_MS.into());
        while !stop.load(Ordering::Acquire) {
            if self.take.recv_timeout(poll).is_ok() {
                return Some(Credit(self.give.clone()));
            }
        }
        None
    }
}

/// The running thread.
#[derive(Debug)]
pub struct EventThread {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl EventThread {
    /// Starts reading.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        reader: EventReader,
        engine: EngineHandle,
        counters: SharedCounters,
    ) -> std::io::Result<EventThread> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("kernel-events".to_owned())
            .spawn(move || read(reader, &engine, &counters, &stopped))?;
        Ok(EventThread { stop, thread })
    }

    /// Ends the reading; what was read is in the engine's queue then, and what
    /// comes later stays in the ring for the next daemon.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Release);
        if self.thread.join().is_err() {
            tracing::error!("the kernel event thread had panicked");
        }
    }
}

fn read(
    mut reader: EventReader,
    engine: &EngineHandle,
    counters: &SharedCounters,
    stop: &AtomicBool,
) {
    let mut told_ns = None;
    let credits = Credits::new();
    // The credit comes first: what was taken from the ring must get through.
    while let Some(credit) = credits.wait(stop) {
        let begun_ns = clock::boot_ns();
        let mut events = Vec::with_capacity(PORTION_MAX);
        let more = reader.drain(PORTION_MAX, |event| match event {
            Ok(event) => events.push(Witnessed::complete(event)),
            Err(unknown) => {
                count(&counters.unknown_events);
                tracing::warn!(?unknown, "the kernel sent an event of an unknown kind");
            }
        });
        if !events.is_empty() && !engine.push(Message::Kernel(events, credit)) {
            return;
        }
        if more {
            continue;
        }
        // Behind the events themselves, so that none of them can seem lost.
        let is_due = |told_ns: i64| begun_ns.saturating_sub(told_ns) >= TELL_NS;
        if told_ns.is_none_or(is_due) {
            told_ns = Some(begun_ns);
            if !engine.push(Message::KernelCaughtUp(begun_ns)) {
                return;
            }
        }
        wait(&reader);
    }
}

#[expect(
    unsafe_code,
    reason = "the reader lends its descriptor only as a number"
)]
fn wait(reader: &EventReader) {
    // SAFETY: the reader owns the descriptor and outlives the borrow.
    let ring = unsafe { BorrowedFd::borrow_raw(reader.as_raw_fd()) };
    let mut fds = [PollFd::new(ring, PollFlags::POLLIN)];
    // An interrupted wait only makes the next look come early.
    let _early = poll(&mut fds, PollTimeout::from(POLL_MS));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_is_behind_stops_the_reading_and_a_stop_ends_the_wait() {
        let (go_on, stop) = (AtomicBool::new(false), AtomicBool::new(true));
        let credits = Credits::new();
        let mut taken: Vec<Credit> = (0..PORTIONS_MAX)
            .map(|_| credits.wait(&go_on).unwrap())
            .collect();
        assert!(credits.take.try_recv().is_err(), "no more than these");
        assert!(credits.wait(&stop).is_none());
        taken.pop();
        assert!(credits.wait(&go_on).is_some(), "the engine took one down");
    }
}
