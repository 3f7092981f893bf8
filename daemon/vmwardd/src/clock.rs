//! The one place that reads clocks. Everything else is told the time.

use nix::time::{ClockId, clock_gettime};

/// The time on both clocks, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instants {
    /// `CLOCK_BOOTTIME`: goes on while the host sleeps, and no one can set it.
    pub boot_ns: i64,
    /// `CLOCK_REALTIME`: for people, and for ages across a reboot.
    pub wall_ns: i64,
}

/// Reads both clocks.
pub fn now() -> Instants {
    Instants {
        boot_ns: read(ClockId::CLOCK_BOOTTIME),
        wall_ns: read(ClockId::CLOCK_REALTIME),
    }
}

/// `CLOCK_BOOTTIME` in nanoseconds.
pub fn boot_ns() -> i64 {
    read(ClockId::CLOCK_BOOTTIME)
}

fn read(clock: ClockId) -> i64 {
    // Both clocks exist on every kernel that vmward supports; a failure here
    // could only be answered by guessing the time, and a guess frees quota.
    let time = clock_gettime(clock).expect("the kernel has this clock");
    time.tv_sec()
        .saturating_mul(1_000_000_000)
        .saturating_add(time.tv_nsec())
}

/// The kernel's name for this boot.
pub fn boot_id() -> std::io::Result<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_time_does_not_run_backwards() {
        let first = now();
        let second = now();
        assert!(second.boot_ns >= first.boot_ns);
        assert!(
            first.wall_ns > 1_600_000_000_000_000_000,
            "wall time is in nanoseconds"
        );
    }

    #[test]
    fn boot_id_is_a_uuid() {
        assert_eq!(boot_id().unwrap().len(), 36);
    }
}
