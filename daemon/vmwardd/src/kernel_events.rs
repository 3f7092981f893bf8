//! From the kernel's ring buffer to the engine: one OS thread, because each
//! event is completed from `/proc` at once, and because a full queue must slow
//! the reading down, so that the ring, which counts what it drops, fills and
//! not this process's memory.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::counters::{SharedCounters, count};
use crate::engine_task::{EngineHandle, Message};
use crate::kernel::EventReader;
use crate::record::Witnessed;

/// How long a stop may wait for the thread to notice.
const POLL_MS: u16 = 200;

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
    let mut caught_up = false;
    while !stop.load(Ordering::Acquire) {
        let mut events = Vec::new();
        reader.drain(|event| match event {
            Ok(event) => events.push(Witnessed::complete(event)),
            Err(unknown) => {
                count(&counters.unknown_events);
                tracing::warn!(?unknown, "the kernel sent an event of an unknown kind");
            }
        });
        if !events.is_empty() && !engine.push(Message::Kernel(events)) {
            return;
        }
        if !caught_up {
            caught_up = true;
            if !engine.push(Message::KernelCaughtUp) {
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
