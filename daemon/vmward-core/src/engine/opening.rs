//! When a time-of-day window opens next.

use crate::{
    clock::{LocalTime, NS_PER_S},
    policy::hours::{Hours, Zone},
};

const DAY_S: i64 = 86_400;

/// The first instant after `wall_ns` at which a call falls into one of the windows,
/// of which none is open, in nanoseconds since 1970; `None` where none has a day.
/// `local`: the host's zone at `wall_ns`. A second change of it within a week of the
/// first, which no zone makes, is not foreseen.
pub(super) fn next_opening(hours: &[Hours], wall_ns: i64, local: LocalTime) -> Option<i64> {
    let zone = |hours: &Hours| match hours.zone {
        Zone::Utc => LocalTime::fixed(0),
        Zone::Local => local,
        Zone::Offset(minutes) => LocalTime::fixed(i32::from(minutes) * 60),
    };
    hours
        .iter()
        .filter_map(|window| opening(window, wall_ns, zone(window)))
        .min()
}

/// It opens where it begins, or where the zone's clock is put forward or back into
/// it. A beginning that the clock leaves out does not come; of one that comes twice,
/// each counts.
fn opening(hours: &Hours, wall_ns: i64, zone: LocalTime) -> Option<i64> {
    let begins = beginning(hours, wall_ns.saturating_add(1), zone.offset_s);
    let Some(change) = zone.next else {
        return begins;
    };
    let before = begins.filter(|begins_ns| *begins_ns < change.at_ns);
    let after = || {
        if hours.contain(change.at_ns, change.offset_s) {
            return Some(change.at_ns);
        }
        beginning(hours, change.at_ns, change.offset_s)
    };
    before.or_else(after)
}

/// The first beginning from `from_ns` on by a clock that is never put forward or back.
fn beginning(hours: &Hours, from_ns: i64, offset_s: i32) -> Option<i64> {
    let offset_s = i64::from(offset_s);
    let today = (from_ns.div_euclid(NS_PER_S) + offset_s).div_euclid(DAY_S);
    (today..=today + 7).find_map(|day| {
        // 1 January 1970 was a Thursday; Monday is bit 0.
        let weekday = (day + 3).rem_euclid(7);
        let second = day * DAY_S + i64::from(hours.from_min) * 60 - offset_s;
        let begins_ns = second.checked_mul(NS_PER_S)?;
        let opens = hours.days >> weekday & 1 == 1 && begins_ns >= from_ns;
        opens.then_some(begins_ns)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::{OffsetChange, parse_rfc3339, rfc3339};

    #[test]
    fn the_next_opening_is_the_nearest_one_in_its_own_zone() {
        let window = |days, from_min, zone| Hours {
            days,
            from_min,
            to_min: 0,
            zone,
        };
        // Monday 2026-11-23T01:32:42Z.
        let now = 1_795_397_562 * NS_PER_S;
        let weekdays = 0b1_1111;
        for (hours, expected) in [
            (
                vec![window(weekdays, 540, Zone::Utc)],
                "2026-11-23T09:00:00.000Z",
            ),
            (
                vec![window(weekdays, 60, Zone::Utc)],
                "2026-11-24T01:00:00.000Z",
            ),
            (vec![window(1, 60, Zone::Utc)], "2026-11-30T01:00:00.000Z"),
            (
                vec![window(weekdays, 540, Zone::Local)],
                "2026-11-23T08:00:00.000Z",
            ),
            (
                vec![window(1 << 6, 1200, Zone::Offset(-360))],
                "2026-11-23T02:00:00.000Z",
            ),
            (
                vec![window(1, 60, Zone::Utc), window(1 << 2, 0, Zone::Utc)],
                "2026-11-25T00:00:00.000Z",
            ),
        ] {
            let opens_ns = next_opening(&hours, now, LocalTime::fixed(3600)).expect("it opens");
            assert_eq!(rfc3339(opens_ns), expected, "{hours:?}");
        }
        let never = [window(0, 0, Zone::Utc)];
        assert_eq!(next_opening(&never, now, LocalTime::fixed(0)), None);
    }

    /// New York in 2026, which goes from -5 to -4 hours on 8 March and back on 1
    /// November, each time at 02:00 by the clock that ends then.
    fn new_york(change: &str, offset_s: i32) -> LocalTime {
        LocalTime {
            offset_s: -9 * 3600 - offset_s,
            next: Some(OffsetChange {
                at_ns: parse_rfc3339(change).expect("a time"),
                offset_s,
            }),
        }
    }

    const MONDAY: u8 = 1;
    const SUNDAY: u8 = 1 << 6;
    /// Days, when the window begins and ends there, now, when it opens.
    type Row = (u8, &'static str, &'static str, &'static str);

    #[track_caller]
    fn check(zone: LocalTime, rows: &[Row]) {
        let minute = |text: &str| {
            let (hours, minutes) = text.split_once(':').expect("a time of day");
            hours.parse::<u16>().expect("hours") * 60 + minutes.parse::<u16>().expect("minutes")
        };
        for (days, window, now, expected) in rows {
            let (from, to) = window.split_once('-').expect("from and to");
            let hours = Hours {
                days: *days,
                from_min: minute(from),
                to_min: minute(to),
                zone: Zone::Local,
            };
            let now_ns = parse_rfc3339(now).expect("a time");
            let opens_ns = next_opening(&[hours], now_ns, zone);
            assert_eq!(opens_ns, parse_rfc3339(expected), "{window} {now}");
        }
    }

    #[test]
    fn where_the_clock_is_put_forward_the_later_one_tells_what_opens_after_it() {
        let evening = "2026-03-07T23:00:00Z";
        check(
            new_york("2026-03-08T07:00:00Z", -4 * 3600),
            &[
                (SUNDAY, "09:00-17:00", evening, "2026-03-08T13:00:00Z"),
                (MONDAY, "09:00-17:00", evening, "2026-03-09T13:00:00Z"),
                // Before the change it is as before.
                (SUNDAY, "01:30-04:00", evening, "2026-03-08T06:30:00Z"),
                // A beginning that does not come: as soon as the clock stands there,
                (SUNDAY, "02:30-04:00", evening, "2026-03-08T07:00:00Z"),
                // or a week later.
                (SUNDAY, "02:10-02:50", evening, "2026-03-15T06:10:00Z"),
                (
                    SUNDAY,
                    "02:10-02:50",
                    "2026-03-02T23:00:00Z",
                    "2026-03-15T06:10:00Z",
                ),
            ],
        );
    }

    #[test]
    fn where_the_clock_is_put_back_each_beginning_counts() {
        let (evening, between) = ("2026-10-31T23:00:00Z", "2026-11-01T05:45:00Z");
        check(
            new_york("2026-11-01T06:00:00Z", -5 * 3600),
            &[
                (SUNDAY, "09:00-17:00", evening, "2026-11-01T14:00:00Z"),
                (SUNDAY, "01:30-01:40", evening, "2026-11-01T05:30:00Z"),
                (SUNDAY, "01:30-01:40", between, "2026-11-01T06:30:00Z"),
                // Back into a window that was over.
                (SUNDAY, "00:00-01:30", between, "2026-11-01T06:00:00Z"),
            ],
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn it_is_the_first_minute_that_falls_into_a_window(
            days in 1_u8..128,
            from_min in 0_u16..1440,
            to_min in 0_u16..1440,
            offsets in (-48..56_i32, -4..5_i32),
            now_min in 0_i64..20_000,
            change_min in 0_i64..20_000,
        ) {
            const MINUTE_NS: i64 = 60 * NS_PER_S;
            let window = Hours { days, from_min, to_min, zone: Zone::Local };
            let offset_s = offsets.0 * 900;
            let next = OffsetChange {
                at_ns: change_min * MINUTE_NS,
                offset_s: offset_s + offsets.1 * 900,
            };
            let zone = LocalTime { offset_s, next: Some(next) };
            let is_open = |minute: i64| {
                let at_ns = minute * MINUTE_NS;
                window.contain(at_ns, zone.at(at_ns).offset_s)
            };
            prop_assume!(!is_open(now_min));
            let first = (now_min..now_min + 15 * 1440).find(|minute| is_open(*minute));
            let now_ns = now_min * MINUTE_NS;
            let opens_ns = next_opening(std::slice::from_ref(&window), now_ns, zone.at(now_ns));
            prop_assert_eq!(opens_ns, first.map(|minute| minute * MINUTE_NS));
        }
    }
}
