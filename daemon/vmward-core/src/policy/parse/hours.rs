//! Time-of-day windows.

use super::{Checker, read::Object};
use crate::policy::{
    hours::{Hours, Zone},
    json::{Node, Value},
    suggest,
};

const HOURS_KEYS: [&str; 4] = ["days", "from", "to", "zone"];
/// Monday is bit 0.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY_SETS: [(&str, u8); 3] = [
    ("weekdays", 0b001_1111),
    ("weekends", 0b110_0000),
    ("daily", 0b111_1111),
];
/// The farthest from Greenwich that a zone may be, in minutes.
const OFFSET_MIN_MAX: i16 = 14 * 60;

impl Checker {
    pub(super) fn hours(&mut self, rule: &Object<'_>) -> Vec<Hours> {
        let mut all: Vec<Hours> = Vec::new();
        let Some(node) = rule.get("hours") else {
            return all;
        };
        let items = self.list(node, "hours");
        if items.is_empty() && matches!(node.value, Value::Array(_)) {
            let help = "leave it out: without it any time will do";
            self.at_node(node, "\"hours\" is empty".to_owned(), Some(help));
        }
        for item in items {
            let Some(hours) = self.window_of_day(item) else {
                continue;
            };
            if all.len() < 64 && all.contains(&hours) {
                let message = "this window is there twice".to_owned();
                self.at_node(item, message, Some("remove one of the two"));
            }
            all.push(hours);
        }
        all
    }

    fn window_of_day(&mut self, item: &Node) -> Option<Hours> {
        let object = self.object(item, "a window of \"hours\"", &HOURS_KEYS)?;
        let days = match object.get("days") {
            Some(node) => self.days(node),
            None => Some(0b111_1111),
        };
        let from = self.required(&object, "from", "\"from\": \"09:00\"");
        let from_min = from.and_then(|node| self.time(node, "from"));
        let to = self.required(&object, "to", "\"to\": \"17:30\"");
        let to_min = to.and_then(|node| self.time(node, "to"));
        let zone = match object.get("zone") {
            Some(node) => self.zone(node),
            None => Some(Zone::Utc),
        };
        Some(Hours {
            days: days?,
            from_min: from_min?,
            to_min: to_min?,
            zone: zone?,
        })
    }

    fn days(&mut self, node: &Node) -> Option<u8> {
        let Value::Array(items) = &node.value else {
            return self.day_set(node);
        };
        if items.is_empty() {
            let message = "\"days\" is empty: no call would ever pass".to_owned();
            self.at_node(node, message, Some("leave it out for every day"));
        }
        let mut days = 0;
        for item in items {
            let words: Vec<(&str, u8)> = DAYS.iter().copied().zip((0..7).map(|n| 1 << n)).collect();
            let day = self.word(item, "days", &words)?;
            if days & day != 0 {
                let message = "this day is there twice".to_owned();
                self.at_node(item, message, Some("remove one of the two"));
            }
            days |= day;
        }
        Some(days)
    }

    /// A word for several days.
    fn day_set(&mut self, node: &Node) -> Option<u8> {
        let names = DAY_SETS.map(|(name, _)| name);
        if let Value::String(text) = &node.value
            && suggest::meant("days", text, &names).is_none()
            && let Some(day) = suggest::meant("days", text, &DAYS)
        {
            let help = format!("write a list of days: [{day:?}]");
            self.none_of(node, "days", &names, "", Some(&help));
            return None;
        }
        self.word(node, "days", &DAY_SETS)
    }

    /// `HH:MM` as the minute of the day.
    fn time(&mut self, node: &Node, key: &str) -> Option<u16> {
        let text = self.string(node, key)?;
        let minute = clock(text).filter(|(hour, minute)| *hour < 24 && *minute < 60);
        if let Some((hour, minute)) = minute {
            return Some(hour * 60 + minute);
        }
        // The end of a day is the beginning of the next.
        if text == "24:00" && key == "to" {
            return Some(0);
        }
        let last = if key == "to" { "24:00" } else { "23:59" };
        let message = format!("{key:?} must be a time from \"00:00\" to {last:?}, found {text:?}");
        self.at_node(node, message, Some("write hours and minutes: \"09:00\""));
        None
    }

    fn zone(&mut self, node: &Node) -> Option<Zone> {
        let text = self.string(node, "zone")?;
        let zone = match (text, text.get(..1), text.get(1..)) {
            ("utc", ..) => Some(Zone::Utc),
            ("local", ..) => Some(Zone::Local),
            (_, Some("+"), Some(time)) => offset(time, 1),
            (_, Some("-"), Some(time)) => offset(time, -1),
            _ => None,
        };
        if zone.is_none() {
            let message = format!(
                "\"zone\" must be \"utc\", \"local\" or an offset such as \"+02:00\", found {text:?}"
            );
            let help = suggest::nearest(text, &["utc", "local"])
                .map(|word| format!("did you mean {word:?}?"));
            let names = "zones have no names here; \"local\" is the host's, with its summer time";
            self.at_node(node, message, help.as_deref().or(Some(names)));
        }
        zone
    }
}

/// Two digits, a colon, two digits.
fn clock(text: &str) -> Option<(u16, u16)> {
    let (hour, minute) = text.split_once(':')?;
    let two = |part: &str| {
        let digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| part.parse().ok()).flatten()
    };
    Some((two(hour)?, two(minute)?))
}

fn offset(time: &str, sign: i16) -> Option<Zone> {
    let (hour, minute) = clock(time).filter(|(_, minute)| *minute < 60)?;
    let minutes = i16::try_from(hour * 60 + minute).ok()?;
    (minutes <= OFFSET_MIN_MAX).then_some(Zone::Offset(sign * minutes))
}
