//! Time, as an argument.

use serde::{Deserialize, Serialize};

/// Nanoseconds in a millisecond.
pub const NS_PER_MS: i64 = 1_000_000;
/// Nanoseconds in a second.
pub const NS_PER_S: i64 = 1_000_000_000;

/// One instant, read from both clocks at once.
///
/// Limits and leases live by `boot_ns`, which no one can set; `wall_ns` dates
/// records for people and carries ages over a reboot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// `CLOCK_BOOTTIME` in nanoseconds. Negative for instants of a former boot.
    pub boot_ns: i64,
    /// `CLOCK_REALTIME` in nanoseconds since 1970.
    pub wall_ns: i64,
}

/// What the host's time zone adds to universal time, as far as it is foreseen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalTime {
    /// Now, in seconds: 7200 in Berlin in summer, -18000 in New York in winter.
    pub offset_s: i32,
    /// When that changes next, such as to summer time.
    pub next: Option<OffsetChange>,
}

/// Another offset, from an instant on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetChange {
    /// The first instant with it, in nanoseconds since 1970.
    pub at_ns: i64,
    /// In seconds.
    pub offset_s: i32,
}

/// Most changes of a zone that are looked at: those of several years.
const CHANGES_MAX: usize = 8;

impl LocalTime {
    /// A zone with this offset now. `changes`: those to come, in their order, of which
    /// some are of the zone's name only.
    pub fn foreseen(offset_s: i32, changes: impl IntoIterator<Item = OffsetChange>) -> Self {
        let mut changes = changes.into_iter().take(CHANGES_MAX);
        let next = changes.find(|change| change.offset_s != offset_s);
        Self { offset_s, next }
    }

    /// A zone that never changes.
    pub fn fixed(offset_s: i32) -> Self {
        let next = None;
        Self { offset_s, next }
    }

    /// As it is at `wall_ns`, which is not before it was asked for.
    #[must_use]
    pub fn at(self, wall_ns: i64) -> Self {
        let changed = self.next.filter(|next| next.at_ns <= wall_ns);
        changed.map_or(self, |changed| Self::fixed(changed.offset_s))
    }
}

/// Nanoseconds as milliseconds, rounded up, so that a caller who waits that
/// long never comes too early. Negative counts as 0.
pub fn ceil_ms(ns: i64) -> u64 {
    u64::try_from(ns.max(0)).unwrap_or(0).div_ceil(1_000_000)
}

/// The instant as RFC 3339 in UTC with milliseconds: `2026-11-23T01:32:42.000Z`.
pub fn rfc3339(wall_ns: i64) -> String {
    let ms_total = wall_ns.div_euclid(NS_PER_MS);
    let ms = ms_total.rem_euclid(1000);
    let seconds = ms_total.div_euclid(1000);
    let of_day = seconds.rem_euclid(86_400);
    let (year, month, day) = civil_date(seconds.div_euclid(86_400));
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// Days since 1970-01-01 as year, month, day of the proleptic Gregorian
/// calendar. Counts in eras of 400 years that begin on 1 March, so that the leap
/// day is the last day of its year.
fn civil_date(days: i64) -> (i64, i64, i64) {
    const DAYS_PER_ERA: i64 = 146_097;
    const DAYS_TO_1970: i64 = 719_468;
    let shifted = days + DAYS_TO_1970;
    let era = shifted.div_euclid(DAYS_PER_ERA);
    let day_of_era = shifted.rem_euclid(DAYS_PER_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Nanoseconds since 1970 of an RFC 3339 text, such as `2026-11-23T09:30:00Z`;
/// `None` where it is none. Fractions beyond nanoseconds are cut.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let zone_at = rest.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = rest.split_at(zone_at);
    let [year, month, day] = numbers(date, '-')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = numbers(time, ':')?;
    let in_range = (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..60).contains(&second);
    let all_digits = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !in_range || !all_digits || !(1..=9999).contains(&year) {
        return None;
    }
    let nanos: i64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let seconds = days_of(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    (seconds - offset_s(zone)?)
        .checked_mul(NS_PER_S)?
        .checked_add(nanos)
}

/// What a zone at the end of an RFC 3339 text adds to universal time.
fn offset_s(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let (sign, clock) = match zone.split_at_checked(1)? {
        ("+", clock) => (1, clock),
        ("-", clock) => (-1, clock),
        _ => return None,
    };
    let [hours, minutes] = numbers(clock, ':')?;
    let in_range = (0..24).contains(&hours) && (0..60).contains(&minutes);
    in_range.then_some(sign * (hours * 3600 + minutes * 60))
}

fn numbers<const N: usize>(text: &str, between: char) -> Option<[i64; N]> {
    let parts: Vec<i64> = text
        .split(between)
        .map(|part| {
            let digits = part.len() <= 4 && part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse().ok().filter(|_| digits)
        })
        .collect::<Option<_>>()?;
    parts.try_into().ok()
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970, the inverse of the calendar above: years begin in March.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_agree_with_known_instants() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (1_795_397_562, "2026-11-23T01:32:42.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(seconds * NS_PER_S), text);
        }
        assert_eq!(rfc3339(1_234_567_890), "1970-01-01T00:00:01.234Z");
    }

    #[test]
    fn an_rfc_3339_text_is_read_back_and_nothing_else_is() {
        for seconds in [0, -1, 951_782_400, 1_709_251_199, 4_107_542_400] {
            let ns = seconds * NS_PER_S + 7_000_000;
            assert_eq!(parse_rfc3339(&rfc3339(ns)), Some(ns));
        }
        let noon = parse_rfc3339("2026-11-23T12:00:00Z");
        assert_eq!(parse_rfc3339("2026-11-23T13:30:00+01:30"), noon);
        assert_eq!(parse_rfc3339("2026-11-23 04:00:00.000-08:00"), noon);
        for wrong in [
            "",
            "2026-11-23",
            "2026-11-23T12:00:00",
            "2026-02-29T12:00:00Z",
            "2026-13-01T12:00:00Z",
            "2026-11-23T24:00:00Z",
            "2026-11-23T12:00:00.Z",
            "2026-11-23T12:00:00+1",
            "2026-11-23T+2:00:00Z",
            "20261123T120000Z",
        ] {
            assert_eq!(parse_rfc3339(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn waits_round_up_and_never_below_zero() {
        assert_eq!(ceil_ms(1), 1);
        assert_eq!(ceil_ms(1_000_000), 1);
        assert_eq!(ceil_ms(1_000_001), 2);
        assert_eq!(ceil_ms(-5), 0);
    }
}
