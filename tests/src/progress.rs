//! Does a guest make progress? Its own word for it, on its serial line.

use std::fs;
use std::time::{Duration, Instant};

use crate::guest::Guest;
use crate::wait;

/// A guest that has not ticked for so long has stalled: fifteen ticks.
const STALL: Duration = Duration::from_secs(3);

/// What a guest has printed since its domain started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How often it has booted.
    pub boots: usize,
    /// How often it has ticked since its first boot.
    pub ticks: usize,
}

impl Progress {
    /// What the guest has printed so far; nothing where it never ran.
    pub fn of(guest: &Guest) -> Self {
        let bytes = fs::read(guest.line("serial")).unwrap_or_default();
        // The BIOS may print dots before.
        let start = bytes.iter().position(|byte| *byte == b'B');
        let own = String::from_utf8_lossy(start.map_or(&[], |start| &bytes[start..]));
        let count = |wanted| own.matches(wanted).count();
        Self {
            boots: count('B'),
            ticks: count('.'),
        }
    }
}

/// How often the guest has ticked by what its domain printed since it was started:
/// a guest that was restored says nowhere that it has booted.
fn ticks_of_domain(guest: &Guest) -> usize {
    let bytes = fs::read(guest.line("serial")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).matches('.').count()
}

/// A guest that was restored, migrated or reverted makes progress.
///
/// # Panics
/// When it does not tick within thirty seconds.
#[track_caller]
pub fn assert_goes_on(guest: &Guest) {
    let goal = ticks_of_domain(guest) + 3;
    let what = format!("{} to go on", guest.name);
    wait::until(&what, Duration::from_secs(30), || {
        (ticks_of_domain(guest) >= goal).then_some(())
    });
}

/// The guest ticks three times within `limit`.
pub fn ticks_within(guest: &Guest, limit: Duration) -> bool {
    let goal = Progress::of(guest).ticks + 3;
    wait::within(limit, || (Progress::of(guest).ticks >= goal).then_some(())).is_some()
}

/// The guest stops ticking within `limit`, for three seconds.
pub fn stalls_within(guest: &Guest, limit: Duration) -> bool {
    let mut last = (Progress::of(guest), Instant::now());
    wait::within(limit, || {
        let now = Progress::of(guest);
        if now != last.0 {
            last = (now, Instant::now());
        }
        (last.1.elapsed() >= STALL).then_some(())
    })
    .is_some()
}
