//! The one place that reads clocks. Everything else is told the time.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use nix::time::{ClockId, clock_gettime};

use crate::process::view;

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
    // What is mounted over that file is no other boot. Containers mount the folder that
    // it is in.
    let text = view::read("sys/kernel/random/boot_id")
        .or_else(|_| std::fs::read_to_string("/proc/sys/kernel/random/boot_id"));
    text.map(|text| text.trim().to_owned())
}

/// What the host's time zone adds to universal time at `wall_ns`, in seconds:
/// 7200 in Berlin in summer, -18000 in New York in winter. 0 where the host
/// names no zone.
pub fn local_offset_s(wall_ns: i64) -> i32 {
    // Read again from the host every few minutes, so that a change of the zone
    // needs no restart.
    offset_s(&TimeZone::system(), wall_ns)
}

fn offset_s(zone: &TimeZone, wall_ns: i64) -> i32 {
    // Every 64-bit count of nanoseconds is within jiff's range of years.
    Timestamp::from_nanosecond(i128::from(wall_ns)).map_or(0, |time| zone.to_offset(time).seconds())
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

    #[test]
    fn the_local_offset_follows_the_zone_and_its_summer_time() {
        const DAY_NS: i64 = 86_400_000_000_000;
        // New York: UTC-5, and UTC-4 from March to November.
        let zone = TimeZone::posix("EST5EDT,M3.2.0,M11.1.0").unwrap();
        let new_year_2026 = 20_454 * DAY_NS;
        assert_eq!(offset_s(&zone, new_year_2026), -18_000);
        assert_eq!(offset_s(&zone, new_year_2026 + 182 * DAY_NS), -14_400);
        assert_eq!(
            offset_s(&TimeZone::posix("<+0530>-5:30").unwrap(), 0),
            19_800
        );
        for extreme in [i64::MIN, i64::MAX] {
            assert_eq!(offset_s(&TimeZone::UTC, extreme), 0);
        }
    }

    #[test]
    fn the_hosts_zone_is_the_one_that_date_uses() {
        let date = std::process::Command::new("date")
            .arg("+%z")
            .output()
            .unwrap();
        let text = String::from_utf8(date.stdout).unwrap();
        let (sign, digits) = text.trim().split_at(1);
        let (hours, minutes) = digits.split_at(2);
        let minutes = 60 * hours.parse::<i32>().unwrap() + minutes.parse::<i32>().unwrap();
        let offset_s = if sign == "-" { -60 } else { 60 } * minutes;
        assert_eq!(local_offset_s(now().wall_ns), offset_s);
    }
}
