//! Asks the engine again and again whether it lives.
//!
//! While it is silent its callers are denied and the kernel goes on refusing, so
//! a slow disk or a busy host harms nobody for long; a daemon that ended over it
//! would only have to start on the same disk. One that stays silent hangs: the
//! daemon ends, and the service manager starts a new one.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::counters::{Counters, count};
use crate::engine_task::{EngineHandle, Message};
use crate::exit::{Failure, SOFTWARE};
use crate::notify;

/// How often it is asked; more often where the service manager's patience is short.
const PING_EVERY: Duration = Duration::from_secs(5);
/// A silence that is told.
const SLOW: Duration = Duration::from_secs(10);
/// A silence that ends the daemon; shorter than the patience of the service
/// manager, whose watchdog says less about why.
const DEADLINE: Duration = Duration::from_secs(45);

/// Puts the question into the engine's queue; none where that is full.
pub(super) fn ask(engine: &EngineHandle) -> Option<oneshot::Receiver<()>> {
    let (reply, answer) = oneshot::channel();
    engine.offer(Message::Ping(reply)).ok().map(|()| answer)
}

/// Asks until the engine is gone or hangs, and returns that. `ready` is called
/// after the first answer, `alive` after each later one.
pub(super) async fn watch(
    ask: impl Fn() -> Option<oneshot::Receiver<()>>,
    ready: impl FnOnce(),
    alive: impl Fn(),
    counters: &Counters,
) -> Failure {
    let due = notify::watchdog_interval().unwrap_or(PING_EVERY);
    let mut beat = tokio::time::interval(due.min(PING_EVERY));
    // The first is at once.
    beat.tick().await;
    if let Some(answer) = ask()
        && let Err(failure) = wait(answer, counters).await
    {
        return failure;
    }
    ready();
    loop {
        beat.tick().await;
        let Some(answer) = ask() else {
            // A full queue is being worked on; the next beat asks again.
            tracing::warn!("the engine's queue is full");
            continue;
        };
        match wait(answer, counters).await {
            Ok(()) => alive(),
            Err(failure) => return failure,
        }
    }
}

/// Waits for one answer.
///
/// # Errors
/// The engine has ended, or did not answer in time.
async fn wait(mut answer: oneshot::Receiver<()>, counters: &Counters) -> Result<(), Failure> {
    let asked = Instant::now();
    let answered = if let Ok(answered) = timeout(SLOW, &mut answer).await {
        Some(answered)
    } else {
        count(&counters.engine_silences);
        tracing::error!(
            seconds = SLOW.as_secs(),
            "the engine does not answer: callers are denied until it does"
        );
        let answered = timeout(DEADLINE.saturating_sub(SLOW), answer).await.ok();
        if answered.is_some() {
            let seconds = asked.elapsed().as_secs();
            tracing::warn!(seconds, "the engine answers again");
        }
        answered
    };
    let error = match answered {
        Some(Ok(())) => return Ok(()),
        Some(Err(_)) => anyhow::anyhow!("the engine thread has ended"),
        None => anyhow::anyhow!("the engine did not answer for {} s", DEADLINE.as_secs()),
    };
    Err(Failure::new(SOFTWARE, error))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::atomic::Ordering;

    use super::*;

    /// An engine that takes as long as it says for each answer.
    fn slow(times: Vec<Duration>) -> impl Fn() -> Option<oneshot::Receiver<()>> {
        let times = RefCell::new(times.into_iter());
        move || {
            let (reply, answer) = oneshot::channel();
            let time = times.borrow_mut().next();
            if let Some(time) = time {
                tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    // Whoever asked may have given up.
                    let _unheard = reply.send(());
                });
            }
            Some(answer)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_engine_is_told_and_waited_for_and_a_hanging_one_ends_the_daemon() {
        let counters = Counters::default();
        let heard = RefCell::new(Vec::new());
        let times = [1, 44, 9, 46].map(Duration::from_secs).to_vec();
        let (ready, alive) = (
            || heard.borrow_mut().push("ready"),
            || heard.borrow_mut().push("alive"),
        );
        let failure = watch(slow(times), ready, alive, &counters).await;
        assert_eq!(*heard.borrow(), ["ready", "alive", "alive"]);
        assert_eq!(counters.engine_silences.load(Ordering::Relaxed), 2);
        assert_eq!(failure.code, SOFTWARE);
        let text = failure.error.to_string();
        assert_eq!(text, "the engine did not answer for 45 s");
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_is_gone_ends_the_daemon_at_once() {
        let counters = Counters::default();
        let ready = || panic!("nobody answered");
        let failure = watch(slow(Vec::new()), ready, || (), &counters).await;
        let text = failure.error.to_string();
        assert_eq!(text, "the engine thread has ended");
    }
}
