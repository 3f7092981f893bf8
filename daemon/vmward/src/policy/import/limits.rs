//! Counters and rate limits.
//!
//! Intercept counts each counter for all callers together and in windows of the
//! calendar, so that twice the maximum fits around a boundary. Ours slide.

use serde_json::{Map, Value, json};

use super::{
    reader::{Reader, get},
    yaml::{Entry, Node},
};

/// Largest `max` and increment of a limit.
const LIMIT_MAX: u64 = 1_000_000;
const WINDOWS: [&str; 3] = ["minute", "hour", "day"];

const SLIDING: &str = "windows slide here: no more than the maximum in any minute, hour or day. \
                       Intercept counts by the calendar, and twice the maximum fits around a \
                       boundary. This holds for every limit";
const HOST_WIDE: &str = "Intercept counts all callers together, which is the scope \"host\" here. \
                         With \"grant\" each caller would have a limit of its own. This holds for \
                         every limit";
const ARGUMENT: &str = "an amount that is missing, negative, zero or not whole denies the call \
                        here; Intercept takes part of it, or takes it off the counter. This holds \
                        for every \"increment_from\"";

/// The `state` of a rule.
#[derive(Clone)]
pub(super) struct Counter {
    /// Of which tool; `all_tools` for that of `*`.
    owner: String,
    pub(super) name: String,
    window: String,
    increment: Option<u64>,
    increment_from: Option<String>,
}

impl Counter {
    /// Reads `state`. None after a mistake.
    pub(super) fn read(reader: &mut Reader, tool: &str, node: &Node) -> Option<Self> {
        let entries = reader.map(node, "\"state\"")?;
        let known = ["counter", "window", "increment", "increment_from"];
        reader.known(entries, &known, "\"state\"");
        let name = reader.text_at(entries, "counter");
        if name.is_none() {
            reader.error(node.line, "\"state\" has no \"counter\"");
        }
        let window = reader.text_at(entries, "window");
        let window = window.filter(|window| WINDOWS.contains(&window.as_str()));
        if window.is_none() {
            let message = "the \"window\" of \"state\" must be minute, hour or day";
            reader.error(node.line, message);
        }
        let increment_from = reader.text_at(entries, "increment_from");
        if let Some(from) = get(entries, "increment_from")
            && increment_from.is_some()
        {
            reader.note_once(from.line, ARGUMENT);
        }
        Some(Self {
            owner: owner(tool),
            name: name?,
            window: window?,
            increment: increment(reader, entries),
            increment_from,
        })
    }

    /// The limit on this counter. Its owner's name keeps the counters of two
    /// tools apart: here, rules that name the same counter share it.
    pub(super) fn limit(&self, max: u64) -> Value {
        let mut limit = Map::new();
        limit.insert(
            "counter".to_owned(),
            json!(format!("{}.{}", self.owner, self.name)),
        );
        limit.insert("window".to_owned(), json!(self.window));
        limit.insert("max".to_owned(), json!(max));
        limit.insert("scope".to_owned(), json!("host"));
        match (&self.increment_from, self.increment) {
            (Some(path), _) => limit.insert("increment_from".to_owned(), json!(path)),
            (None, Some(increment)) => limit.insert("increment".to_owned(), json!(increment)),
            (None, None) => None,
        };
        Value::Object(limit)
    }
}

fn owner(tool: &str) -> String {
    let owner = if tool == "*" { "all_tools" } else { tool };
    owner.to_owned()
}

/// Absent or 0 is 1 to Intercept, and a negative one gives quota back.
fn increment(reader: &mut Reader, entries: &[Entry]) -> Option<u64> {
    let node = get(entries, "increment").filter(|node| !node.is_null())?;
    let increment = whole(node);
    match increment {
        Some(0 | 1) => None,
        Some(2..=LIMIT_MAX) => increment,
        Some(_) | None => {
            let message = format!("\"increment\" must be a whole number from 1 to {LIMIT_MAX}");
            reader.error(node.line, message);
            None
        }
    }
}

/// Reads `rate_limit: 5/hour`.
pub(super) fn rate(reader: &mut Reader, tool: &str, node: &Node) -> Option<(Counter, u64)> {
    let text = reader.text(node, "\"rate_limit\"")?;
    let parsed = text.split_once('/').and_then(|(count, window)| {
        let count: u64 = count.parse().ok().filter(|count| *count > 0)?;
        WINDOWS.contains(&window).then_some((count, window))
    });
    let Some((count, window)) = parsed else {
        let message = format!(
            "\"rate_limit\" must be a number and minute, hour or day, such as 5/hour; found {text:?}"
        );
        reader.error(node.line, message);
        return None;
    };
    let counter = Counter {
        owner: owner(tool),
        name: format!("rate_{window}"),
        window: window.to_owned(),
        increment: None,
        increment_from: None,
    };
    let max = bounded(reader, node.line, count);
    Some((counter, max))
}

/// The maximum that a condition on a counter stands for. None after a mistake.
pub(super) fn max(reader: &mut Reader, node: &Node, op: &str) -> Option<u64> {
    let Some(value) = whole(node) else {
        let message = "the maximum of a counter must be a whole number that is not negative";
        reader.error(node.line, message);
        return None;
    };
    let max = if op == "lt" {
        value.saturating_sub(1)
    } else {
        value
    };
    if max == 0 {
        let message = "this maximum denies every call; write action: \"deny\" instead";
        reader.error(node.line, message);
        return None;
    }
    Some(bounded(reader, node.line, max))
}

/// What holds for every limit, said at the first.
pub(super) fn explain(reader: &mut Reader, line: usize) {
    reader.note_once(line, SLIDING);
    reader.note_once(line, HOST_WIDE);
}

fn bounded(reader: &mut Reader, line: usize, max: u64) -> u64 {
    if max > LIMIT_MAX {
        let message =
            format!("the maximum {max} is more than can be counted: {LIMIT_MAX} is written");
        reader.note(line, message);
    }
    max.min(LIMIT_MAX)
}

fn whole(node: &Node) -> Option<u64> {
    match node.json() {
        Ok(Value::Number(number)) => number.as_u64(),
        _ => None,
    }
}
