//! Time-of-day windows.
//!
//! A window that crosses midnight belongs to the day on which it begins:
//! `fri 22:00-06:00` is Friday evening and the Saturday morning after it.

use crate::clock::NS_PER_S;

const MINUTES_A_DAY: i64 = 24 * 60;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// 1 January 1970 was a Thursday, and Monday is day 0.
const WEEKDAY_OF_EPOCH: i64 = 3;

/// Some hours of some days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours {
    /// Seven bits, Monday is bit 0.
    pub days: u8,
    /// Minute of the day at which it begins.
    pub from_min: u16,
    /// Minute of the day before which it ends; not later than the beginning
    /// means on the next day, so that `from == to` is 24 hours.
    pub to_min: u16,
    /// Whose clock.
    pub zone: Zone,
}

/// Whose clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// Universal time.
    Utc,
    /// The host's.
    Local,
    /// East of Greenwich, in minutes.
    Offset(i16),
}

impl Hours {
    /// Does an instant fall into it? `wall_ns`: nanoseconds since 1970 in
    /// universal time. `local_offset_s`: what the host's zone adds to universal
    /// time at that instant.
    pub fn contain(&self, wall_ns: i64, local_offset_s: i32) -> bool {
        let offset_s = match self.zone {
            Zone::Utc => 0,
            Zone::Local => i64::from(local_offset_s),
            Zone::Offset(minutes) => i64::from(minutes) * 60,
        };
        let minutes = (wall_ns.div_euclid(NS_PER_S) + offset_s).div_euclid(60);
        let day = minutes.div_euclid(MINUTES_A_DAY);
        let minute = minutes.rem_euclid(MINUTES_A_DAY);
        let (from, to) = (i64::from(self.from_min), i64::from(self.to_min));
        if from < to {
            self.has_day(day) && (from..to).contains(&minute)
        } else {
            (self.has_day(day) && minute >= from) || (self.has_day(day - 1) && minute < to)
        }
    }

    /// As in `mon-fri 09:00-17:30 utc`.
    pub fn describe(&self) -> String {
        let time = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        format!(
            "{} {}-{} {}",
            self.day_names(),
            time(self.from_min),
            time(self.to_min),
            self.zone.name()
        )
    }

    /// Is this day, counted from 1970, one of its days?
    fn has_day(&self, day: i64) -> bool {
        self.days >> (day + WEEKDAY_OF_EPOCH).rem_euclid(7) & 1 == 1
    }

    /// Neighbouring days are joined: `mon-wed,fri`.
    fn day_names(&self) -> String {
        let mut runs: Vec<(&str, &str)> = Vec::new();
        let mut joins = false;
        for (bit, name) in DAYS.into_iter().enumerate() {
            let has = self.days >> bit & 1 == 1;
            match runs.last_mut() {
                Some((_, last)) if has && joins => *last = name,
                _ if has => runs.push((name, name)),
                _ => {}
            }
            joins = has;
        }
        let text = runs.into_iter().map(|(first, last)| {
            if first == last {
                first.to_owned()
            } else {
                format!("{first}-{last}")
            }
        });
        text.collect::<Vec<_>>().join(",")
    }
}

impl Zone {
    /// The word in the policy: `utc`, `local` or an offset such as `+02:00`.
    pub fn name(self) -> String {
        match self {
            Self::Utc => "utc".to_owned(),
            Self::Local => "local".to_owned(),
            Self::Offset(minutes) => {
                let sign = if minutes < 0 { '-' } else { '+' };
                let minutes = minutes.unsigned_abs();
                format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
            }
        }
    }
}

#[cfg(test)]
mod tests;
