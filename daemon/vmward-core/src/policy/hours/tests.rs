//! Windows around midnight, the week's end and 1970, in several zones.

use super::*;

const MONDAY: u8 = 1;
const FRIDAY: u8 = 1 << 4;
const SUNDAY: u8 = 1 << 6;
const WEEKDAYS: u8 = 0b001_1111;
/// Monday 5 January 1970, 00:00 UTC, in minutes since 1970.
const FIRST_MONDAY: i64 = 4 * MINUTES_A_DAY;

fn hours(days: u8, from: &str, to: &str, zone: Zone) -> Hours {
    Hours {
        days,
        from_min: u16::try_from(minute(from)).expect("a time of day"),
        to_min: u16::try_from(minute(to)).expect("a time of day"),
        zone,
    }
}

/// `09:30` as minutes.
fn minute(time: &str) -> i64 {
    let (hours, minutes) = time.split_once(':').expect("a colon");
    hours.parse::<i64>().expect("hours") * 60 + minutes.parse::<i64>().expect("minutes")
}

/// Nanoseconds since 1970 of that time on the `day`th day after 5 January 1970.
fn at(day: i64, time: &str) -> i64 {
    (FIRST_MONDAY + day * MINUTES_A_DAY + minute(time)) * 60 * NS_PER_S
}

#[test]
fn a_window_contains_its_first_minute_and_not_its_end() {
    let hours = hours(WEEKDAYS, "09:00", "17:30", Zone::Utc);
    for (day, time, inside) in [
        (0, "08:59", false),
        (0, "09:00", true),
        (0, "17:29", true),
        (0, "17:30", false),
        (4, "12:00", true),
        (5, "12:00", false),
        (6, "12:00", false),
        (7, "12:00", true),
    ] {
        assert_eq!(hours.contain(at(day, time), 0), inside, "day {day} {time}");
    }
    let end = at(0, "17:30");
    assert!(hours.contain(end - 1, 0), "the last nanosecond");
    assert!(!hours.contain(at(0, "09:00") - 1, 0));
}

#[test]
fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
    let hours = hours(FRIDAY, "22:00", "06:00", Zone::Utc);
    for (day, time, inside) in [
        (4, "05:59", false),
        (4, "21:59", false),
        (4, "22:00", true),
        (4, "23:59", true),
        (5, "00:00", true),
        (5, "05:59", true),
        (5, "06:00", false),
        (5, "22:00", false),
    ] {
        assert_eq!(hours.contain(at(day, time), 0), inside, "day {day} {time}");
    }
}

#[test]
fn the_week_wraps_from_sunday_to_monday() {
    let hours = hours(SUNDAY, "23:00", "01:00", Zone::Utc);
    assert!(hours.contain(at(6, "23:30"), 0));
    assert!(hours.contain(at(7, "00:30"), 0));
    assert!(hours.contain(at(0, "00:30"), 0), "the Sunday before");
    assert!(!hours.contain(at(0, "01:00"), 0));
    assert!(!hours.contain(at(1, "00:30"), 0));
}

#[test]
fn the_same_beginning_and_end_is_24_hours_and_midnight_may_be_written_24_00() {
    for to in ["00:00", "24:00"] {
        let day = hours(MONDAY, "00:00", to, Zone::Utc);
        assert!(day.contain(at(0, "00:00"), 0));
        assert!(day.contain(at(0, "23:59"), 0));
        assert!(!day.contain(at(1, "00:00"), 0));
        assert!(!day.contain(at(0, "00:00") - 1, 0));
    }
    let shift = hours(MONDAY, "09:00", "09:00", Zone::Utc);
    assert!(!shift.contain(at(0, "08:59"), 0));
    assert!(shift.contain(at(0, "09:00"), 0));
    assert!(shift.contain(at(1, "08:59"), 0));
    assert!(!shift.contain(at(1, "09:00"), 0));
}

#[test]
fn each_zone_reads_its_own_clock() {
    // Monday 00:30 at +02:00 is still Sunday 22:30 in universal time.
    let east = hours(MONDAY, "00:00", "01:00", Zone::Offset(120));
    assert!(east.contain(at(-1, "22:30"), 0));
    assert!(!east.contain(at(0, "00:30"), 0));
    // Monday 23:30 at -09:30 is Tuesday 09:00 in universal time.
    let west = hours(MONDAY, "23:00", "24:00", Zone::Offset(-570));
    assert!(west.contain(at(1, "09:00"), 0));
    assert!(!west.contain(at(0, "23:30"), 0));
    // Only the local zone heeds the host's offset.
    let local = hours(MONDAY, "00:00", "01:00", Zone::Local);
    assert!(local.contain(at(-1, "22:30"), 7200));
    assert!(local.contain(at(0, "05:30"), -5 * 3600));
    assert!(!local.contain(at(0, "00:30"), 7200));
    let universal = hours(MONDAY, "00:00", "01:00", Zone::Utc);
    assert!(universal.contain(at(0, "00:30"), 7200));
}

#[test]
fn instants_before_1970_and_at_the_ends_of_time_have_a_weekday_too() {
    let monday = hours(MONDAY, "00:00", "24:00", Zone::Utc);
    // 29 December 1969 was a Monday.
    assert!(monday.contain(at(-7, "12:00"), 0));
    assert!(monday.contain(at(-7, "00:00"), 0));
    assert!(!monday.contain(at(-7, "00:00") - 1, 0));
    assert!(!monday.contain(-1, 0), "31 December 1969, a Wednesday");
    // 23 November 2026 is a Monday.
    let november = 1_795_392_000 * NS_PER_S;
    assert!(monday.contain(november, 0));
    assert!(!monday.contain(november - 1, 0));
    let always = hours(0x7f, "00:00", "00:00", Zone::Local);
    let never = hours(0, "00:00", "00:00", Zone::Local);
    for instant in [i64::MIN, i64::MAX] {
        for offset in [i32::MIN, i32::MAX] {
            assert!(always.contain(instant, offset));
            assert!(!never.contain(instant, offset));
        }
    }
}

#[test]
fn it_describes_itself_as_the_policy_would() {
    let text = |days, from, to, zone| hours(days, from, to, zone).describe();
    assert_eq!(
        text(WEEKDAYS, "09:00", "17:30", Zone::Utc),
        "mon-fri 09:00-17:30 utc"
    );
    assert_eq!(
        text(0b110_0101, "22:00", "06:05", Zone::Local),
        "mon,wed,sat-sun 22:00-06:05 local"
    );
    assert_eq!(
        text(0x7f, "00:00", "24:00", Zone::Offset(-570)),
        "mon-sun 00:00-24:00 -09:30"
    );
    assert_eq!(
        text(SUNDAY, "00:00", "01:00", Zone::Offset(120)),
        "sun 00:00-01:00 +02:00"
    );
}
