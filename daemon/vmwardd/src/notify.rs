//! What the service manager is told. Without one, each call does nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// No single program and no attack of the self-test takes longer.
const START_STEP: Duration = Duration::from_mins(1);

/// The start is over: callers and dependent units may go on.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The start goes on: a service manager whose patience ends sooner waits for
/// [`START_STEP`] more. Loading all programs takes a second, under emulation or
/// on a host that starts everything at once minutes; ended half-way and started
/// again, the daemon would never be there.
pub fn starting() {
    let step = u32::try_from(START_STEP.as_micros()).unwrap_or(u32::MAX);
    send(&[NotifyState::ExtendTimeoutUsec(step)]);
}

/// A reload begins; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(since) => send(&[NotifyState::Reloading, since]),
        Err(error) => {
            tracing::warn!(%error, "cannot read the monotonic clock for the reload notice");
        }
    }
}

/// The stop has begun.
pub fn stopping() {
    send(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// One line for `systemctl status`.
pub fn status(text: &str) {
    send(&[NotifyState::Status(text)]);
}

/// Still alive; send only when the thread that decides has just answered.
pub fn watchdog() {
    send(&[NotifyState::Watchdog]);
}

/// How often [`watchdog`] is due, where the service manager watches: a third of
/// its limit, so that one late answer is no death.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 3)
}

fn send(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot notify the service manager");
    }
}
