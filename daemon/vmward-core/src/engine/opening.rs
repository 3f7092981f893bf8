//! When a time-of-day window opens next.

use crate::{
    clock::NS_PER_S,
    policy::hours::{Hours, Zone},
};

const DAY_S: i64 = 86_400;

/// The first instant after `wall_ns` at which one of the windows begins, in
/// nanoseconds since 1970; `None` where none has a day. A change of the host's
/// zone before then is not foreseen.
pub(super) fn next_opening(hours: &[Hours], wall_ns: i64, local_offset_s: i32) -> Option<i64> {
    hours
        .iter()
        .filter_map(|window| opening(window, wall_ns, local_offset_s))
        .min()
}

fn opening(hours: &Hours, wall_ns: i64, local_offset_s: i32) -> Option<i64> {
    let offset_s = match hours.zone {
        Zone::Utc => 0,
        Zone::Local => i64::from(local_offset_s),
        Zone::Offset(minutes) => i64::from(minutes) * 60,
    };
    let today = (wall_ns.div_euclid(NS_PER_S) + offset_s).div_euclid(DAY_S);
    (today..=today + 7).find_map(|day| {
        // 1 January 1970 was a Thursday; Monday is bit 0.
        let weekday = (day + 3).rem_euclid(7);
        let second = day * DAY_S + i64::from(hours.from_min) * 60 - offset_s;
        let begins_ns = second.checked_mul(NS_PER_S)?;
        let opens = hours.days >> weekday & 1 == 1 && begins_ns > wall_ns;
        opens.then_some(begins_ns)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::rfc3339;

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
            let opens_ns = next_opening(&hours, now, 3600).expect("it opens");
            assert_eq!(rfc3339(opens_ns), expected, "{hours:?}");
        }
        assert_eq!(next_opening(&[window(0, 0, Zone::Utc)], now, 0), None);
    }
}
