//! Looks again and again at the files under guard, on a thread of its own: there
//! are several of each VM, and nobody who waits for a decision waits for them.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::KernelError;
use crate::clock;

/// Longer than this without a look, and it is told.
const LATE_NS: u64 = 60_000_000_000;

/// The thread; it ends when this is dropped.
pub(super) struct Keeper {
    orders: SyncSender<()>,
    last: Arc<Mutex<Last>>,
}

/// The last look.
struct Last {
    done_ns: u64,
    error: Option<KernelError>,
}

impl Keeper {
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(
        look: impl FnMut() -> Result<(), KernelError> + Send + 'static,
    ) -> io::Result<Keeper> {
        let (orders, due) = sync_channel(1);
        let last = Arc::new(Mutex::new(Last {
            done_ns: now_ns(),
            error: None,
        }));
        let shared = Arc::clone(&last);
        std::thread::Builder::new()
            .name("keeper".to_owned())
            .spawn(move || keep(look, &due, &shared))?;
        Ok(Keeper { orders, last })
    }

    /// Has it look. Where an order waits already, that one will do.
    pub(super) fn wake(&self) {
        let _waits = self.orders.try_send(());
    }

    /// What went wrong since this was asked last.
    ///
    /// # Errors
    /// A look failed, or the last one is long ago.
    pub(super) fn fault(&self, now_ns: u64) -> Result<(), KernelError> {
        let mut last = lock(&self.last);
        if let Some(error) = last.error.take() {
            return Err(error);
        }
        let late_ns = now_ns.saturating_sub(last.done_ns);
        if late_ns > LATE_NS {
            let seconds = late_ns / 1_000_000_000;
            return Err(KernelError::Unkept { seconds });
        }
        Ok(())
    }
}

fn keep(mut look: impl FnMut() -> Result<(), KernelError>, due: &Receiver<()>, last: &Mutex<Last>) {
    while due.recv().is_ok() {
        let outcome = look();
        let mut last = lock(last);
        last.done_ns = now_ns();
        last.error = outcome.err().or(last.error.take());
    }
}

fn now_ns() -> u64 {
    u64::try_from(clock::boot_ns()).unwrap_or(0)
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn a_look_that_failed_is_told_once_and_one_that_hangs_is_told_when_it_is_late() {
        let (begun, begins) = channel();
        let (end, ends) = channel();
        let keeper = Keeper::start(move || {
            begun.send(()).unwrap();
            ends.recv().unwrap()
        });
        let keeper = keeper.unwrap();
        let now = now_ns();
        keeper.wake();
        begins.recv_timeout(PATIENCE).unwrap();
        assert!(keeper.fault(now).is_ok());
        let late = keeper.fault(now + 2 * LATE_NS).unwrap_err();
        assert!(matches!(late, KernelError::Unkept { .. }), "{late}");
        // The next look begins when this one has been noted.
        keeper.wake();
        end.send(Err(KernelError::NoProbes)).unwrap();
        begins.recv_timeout(PATIENCE).unwrap();
        let failed = keeper.fault(now).unwrap_err();
        assert!(matches!(failed, KernelError::NoProbes), "{failed}");
        assert!(keeper.fault(now).is_ok());
        end.send(Ok(())).unwrap();
    }
}
