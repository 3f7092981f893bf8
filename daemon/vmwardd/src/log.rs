//! Logging: to journald with its fields where systemd connected it, otherwise
//! to standard error.

use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Sets logging up for the whole process. `VMWARD_LOG` filters, as in
/// `VMWARD_LOG=debug`.
pub fn init() {
    let filter = EnvFilter::try_from_env("VMWARD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    if stderr_is_journal()
        && let Ok(journal) = tracing_journald::layer()
    {
        let outcome = registry.with(journal).try_init();
        debug_assert!(outcome.is_ok(), "logging is set up once");
        return;
    }
    let text = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let outcome = registry.with(text).try_init();
    debug_assert!(outcome.is_ok(), "logging is set up once");
}

/// `JOURNAL_STREAM` names the device and inode of the stream that systemd
/// made; it is inherited, so only a match says that this stderr is still it.
fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let Ok(meta) = std::fs::metadata("/proc/self/fd/2") else {
        return false;
    };
    stream == format!("{}:{}", meta.dev(), meta.ino())
}

/// Lets through one message an interval and counts the others: what a VM or a
/// client can trigger, it can flood.
#[derive(Debug)]
pub struct Throttle {
    interval_ns: i64,
    next_ns: i64,
    suppressed: u64,
}

impl Throttle {
    /// One message each `interval_s` seconds.
    pub fn new(interval_s: i64) -> Throttle {
        Throttle {
            interval_ns: interval_s.saturating_mul(1_000_000_000),
            next_ns: i64::MIN,
            suppressed: 0,
        }
    }

    /// `Some(n)`: log now, and say that `n` such messages were left out.
    pub fn pass(&mut self, boot_ns: i64) -> Option<u64> {
        if boot_ns < self.next_ns {
            self.suppressed = self.suppressed.saturating_add(1);
            return None;
        }
        self.next_ns = boot_ns.saturating_add(self.interval_ns);
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttle_passes_one_an_interval_and_counts_the_rest() {
        let mut throttle = Throttle::new(1);
        assert_eq!(throttle.pass(0), Some(0));
        assert_eq!(throttle.pass(10), None);
        assert_eq!(throttle.pass(20), None);
        assert_eq!(throttle.pass(1_000_000_000), Some(2));
    }
}
