//! The one place that reads clocks. Everything else is told the time.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use nix::time::{ClockId, clock_gettime};
use vmward_core::clock::{LocalTime, NS_PER_S, OffsetChange};

use crate::process::view;

/// How long the host's zone is believed before it is asked again.
const BELIEVED_NS: i64 = 10 * NS_PER_S;

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

/// What the host's time zone adds to universal time at `wall_ns`. Nothing where the
/// host names no zone.
pub fn local(wall_ns: i64) -> LocalTime {
    // Every call asks this, and looking for the next change takes longer than judging
    // many a rule.
    static LAST: Mutex<Option<Believed>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    // Read again from the host every few minutes, so that a change of the zone
    // needs no restart.
    believe(&mut last, wall_ns, TimeZone::system)
}

/// What was found of a zone, for these instants.
struct Believed {
    from_ns: i64,
    until_ns: i64,
    local: LocalTime,
}

fn believe(
    last: &mut Option<Believed>,
    wall_ns: i64,
    zone: impl FnOnce() -> TimeZone,
) -> LocalTime {
    let holds = |one: &&Believed| (one.from_ns..one.until_ns).contains(&wall_ns);
    if let Some(believed) = last.as_ref().filter(holds) {
        return believed.local;
    }
    let local = local_of(&zone(), wall_ns);
    let changes_ns = local.next.map_or(i64::MAX, |next| next.at_ns);
    *last = Some(Believed {
        from_ns: wall_ns,
        until_ns: wall_ns.saturating_add(BELIEVED_NS).min(changes_ns),
        local,
    });
    local
}

fn local_of(zone: &TimeZone, wall_ns: i64) -> LocalTime {
    // Every 64-bit count of nanoseconds is within jiff's range of years.
    let Ok(time) = Timestamp::from_nanosecond(i128::from(wall_ns)) else {
        return LocalTime::default();
    };
    let changes = zone.following(time).map(|change| OffsetChange {
        at_ns: i64::try_from(change.timestamp().as_nanosecond()).unwrap_or(i64::MAX),
        offset_s: change.offset().seconds(),
    });
    LocalTime::foreseen(zone.to_offset(time).seconds(), changes)
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

    /// New York: UTC-5, and UTC-4 from March to November.
    fn new_york() -> TimeZone {
        TimeZone::posix("EST5EDT,M3.2.0,M11.1.0").unwrap()
    }

    fn at(time: &str) -> i64 {
        vmward_core::clock::parse_rfc3339(time).unwrap()
    }

    fn zone(offset_s: i32, change: &str, then_s: i32) -> LocalTime {
        LocalTime {
            offset_s,
            next: Some(OffsetChange {
                at_ns: at(change),
                offset_s: then_s,
            }),
        }
    }

    #[test]
    fn the_local_offset_follows_the_zone_and_its_summer_time() {
        let (winter, summer) = (-18_000, -14_400);
        let spring = zone(winter, "2026-03-08T07:00:00Z", summer);
        let autumn = zone(summer, "2026-11-01T06:00:00Z", winter);
        for (time, expected) in [
            ("2026-01-01T00:00:00Z", spring),
            ("2026-03-08T06:59:59Z", spring),
            ("2026-03-08T07:00:00Z", autumn),
            ("2026-11-01T05:59:59Z", autumn),
            (
                "2026-11-01T06:00:00Z",
                zone(winter, "2027-03-14T07:00:00Z", summer),
            ),
        ] {
            assert_eq!(local_of(&new_york(), at(time)), expected, "{time}");
        }
        let india = TimeZone::posix("<+0530>-5:30").unwrap();
        assert_eq!(local_of(&india, 0), LocalTime::fixed(19_800));
        // The clock stays, and only the zone's name changes.
        let renamed = TimeZone::posix("AAA5BBB5,M3.2.0,M11.1.0").unwrap();
        assert_eq!(local_of(&renamed, 0), LocalTime::fixed(winter));
        for extreme in [i64::MIN, i64::MAX] {
            assert_eq!(local_of(&TimeZone::UTC, extreme), LocalTime::default());
        }
    }

    #[test]
    fn what_is_believed_of_the_zone_holds_for_seconds_and_not_over_a_change() {
        let mut last = None;
        let mut asked = 0;
        for (time, offset_s, expected) in [
            ("2026-03-08T06:59:55.000Z", -18_000, 1),
            ("2026-03-08T06:59:59.999Z", -18_000, 1),
            ("2026-03-08T07:00:00.000Z", -14_400, 2),
            ("2026-03-08T07:00:09.999Z", -14_400, 2),
            ("2026-03-08T07:00:10.000Z", -14_400, 3),
            // Set back.
            ("2026-03-08T06:59:59.999Z", -18_000, 4),
        ] {
            let local = believe(&mut last, at(time), || {
                asked += 1;
                new_york()
            });
            assert_eq!((local.offset_s, asked), (offset_s, expected), "{time}");
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
        assert_eq!(local(now().wall_ns).offset_s, offset_s);
    }
}
