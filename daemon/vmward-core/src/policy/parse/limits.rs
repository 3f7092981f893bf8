//! Limits: how often.

use std::collections::BTreeSet;

use super::{Checker, read::Object};
use crate::policy::{
    LIMIT_MAX, LimitRule, Scope, Window,
    json::{Node, Value},
    rule::{Increment, WINDOW_SECONDS_MAX},
    suggest,
};

/// Most limits of one rule.
pub(in crate::policy) const LIMITS_MAX: usize = 32;
/// Longest name of a counter, in characters.
pub(in crate::policy) const COUNTER_CHARS_MAX: usize = 128;

const LIMIT_KEYS: [&str; 6] = [
    "counter",
    "window",
    "max",
    "scope",
    "increment",
    "increment_from",
];
const RATE_KEYS: [&str; 3] = ["max", "window", "scope"];
const WINDOW_WORDS: [&str; 4] = ["second", "minute", "hour", "day"];
const OR_SECONDS: &str = " or a number of seconds";
const WEEK_S: u32 = 7 * 86_400;
const ZERO_MAX: &str = "to forbid a tool, write \"action\": \"deny\"";

/// The first use of a counter.
#[derive(Clone, Debug)]
pub(super) struct Use {
    window: Window,
    pointer: String,
}

impl Checker {
    /// `limits` and `rate_limit` of a rule. `name`: of a tool, or the rule's
    /// pointer; the counter of its `rate_limit` is named after it.
    pub(super) fn limits(
        &mut self,
        rule: &Object<'_>,
        pointer: &str,
        name: &str,
    ) -> Vec<LimitRule> {
        let mut limits: Vec<LimitRule> = Vec::new();
        let mut counters = BTreeSet::new();
        let items = rule.get("limits").map(|node| self.list(node, "limits"));
        for (index, item) in items.unwrap_or_default().iter().enumerate() {
            if index == LIMITS_MAX {
                let message = format!("a rule has at most {LIMITS_MAX} limits");
                self.at_node(item, message, None);
                break;
            }
            let Some(limit) = self.limit(item, format!("{pointer}/limits/{index}")) else {
                continue;
            };
            if !counters.insert(limit.counter.clone()) {
                let message = format!(
                    "the counter {:?} is there twice in the limits of {name:?}",
                    limit.counter
                );
                let help = "give each limit of a rule a counter of its own";
                self.at_node(counter_node(item), message, Some(help));
            }
            limits.push(limit);
        }
        if let Some(node) = rule.get("rate_limit")
            && let Some(limit) = self.rate_limit(node, pointer, name)
        {
            if counters.contains(&limit.counter) {
                let message = format!(
                    "\"rate_limit\" counts in {:?}, which \"limits\" has too",
                    limit.counter
                );
                let help = "give the counter in \"limits\" another name";
                self.at_node(node, message, Some(help));
            }
            limits.push(limit);
        }
        limits
    }

    fn limit(&mut self, item: &Node, pointer: String) -> Option<LimitRule> {
        let limit = self.object(item, "a limit", &LIMIT_KEYS)?;
        self.places.insert(pointer.clone(), (item.start, item.end));
        let example = "a name, such as \"counter\": \"vm_stop_rate\"";
        let counter = self.required(&limit, "counter", example);
        let counter = counter.and_then(|node| self.counter(node));
        let window = self.window(&limit);
        let max = self.max(&limit);
        let scope = self.required(&limit, "scope", "\"scope\": \"grant\"");
        let scope = scope.and_then(|node| self.scope(node, &pointer));
        let increment = self.increment(&limit);
        let (counter, window) = (counter?, window?);
        self.one_window(&limit, &counter, window, &pointer);
        let (max, increment) = (max?, increment?);
        if let Increment::Fixed(each) = increment
            && each > max
        {
            let message =
                format!("a call counts {each} and \"max\" is {max}: no call would ever pass");
            self.at_node(limit.place("increment"), message, None);
        }
        Some(LimitRule {
            pointer,
            counter,
            window,
            max,
            scope: scope?,
            increment,
        })
    }

    /// The short form: one counter of the rule's own.
    fn rate_limit(&mut self, node: &Node, rule: &str, name: &str) -> Option<LimitRule> {
        let pointer = format!("{rule}/rate_limit");
        let limit = self.object(node, "\"rate_limit\"", &RATE_KEYS)?;
        self.places.insert(pointer.clone(), (node.start, node.end));
        let window = self.window(&limit);
        let max = self.max(&limit);
        let scope = match limit.get("scope") {
            Some(node) => self.scope(node, &pointer),
            None => Some(Scope::Grant),
        };
        let (counter, window) = (format!("rate:{name}"), window?);
        self.one_window(&limit, &counter, window, &pointer);
        Some(LimitRule {
            pointer,
            counter,
            window,
            max: max?,
            scope: scope?,
            increment: Increment::Fixed(1),
        })
    }

    /// One counter counts over one window, wherever it is named.
    fn one_window(&mut self, limit: &Object<'_>, counter: &str, window: Window, pointer: &str) {
        let first = self
            .counters
            .entry(counter.to_owned())
            .or_insert_with(|| Use {
                window,
                pointer: pointer.to_owned(),
            });
        if first.window == window {
            return;
        }
        let message = format!(
            "the counter {counter:?} has the window {} here and {} in {}",
            window.text(),
            first.window.text(),
            first.pointer
        );
        let help = "use two counters: one counter counts over one window";
        self.at_node(limit.place("window"), message, Some(help));
    }

    fn counter(&mut self, node: &Node) -> Option<String> {
        let name = self.string(node, "counter")?;
        let length = name.chars().count();
        if name.trim().is_empty() {
            let help = "name it after what it counts, such as \"vm_stop_rate\"";
            self.at_node(node, "the counter has no name".to_owned(), Some(help));
        } else if length > COUNTER_CHARS_MAX {
            let message = format!(
                "the counter's name has {length} characters; at most {COUNTER_CHARS_MAX} are allowed"
            );
            self.at_node(node, message, None);
        } else {
            return Some(name.to_owned());
        }
        None
    }

    fn window(&mut self, limit: &Object<'_>) -> Option<Window> {
        let example = "\"window\": \"minute\", \"hour\", \"day\" or a number of seconds";
        let node = self.required(limit, "window", example)?;
        match &node.value {
            Value::String(text) => {
                let window = Window::from_word(text);
                match (window, seconds(text)) {
                    (None, Some(seconds)) => {
                        let help = format!("write {seconds}, the number of seconds");
                        self.none_of(node, "window", &WINDOW_WORDS, OR_SECONDS, Some(&help));
                    }
                    (None, None) => self.not_a_word(node, "window", &WINDOW_WORDS, OR_SECONDS),
                    (Some(_), _) => {}
                }
                window
            }
            Value::Number(_) => {
                let seconds = self.number(node, "window", &(1..=WINDOW_SECONDS_MAX), None)?;
                Window::from_seconds(seconds)
            }
            _ => {
                self.not_a_word(node, "window", &WINDOW_WORDS, OR_SECONDS);
                None
            }
        }
    }

    fn max(&mut self, limit: &Object<'_>) -> Option<u32> {
        let node = self.required(limit, "max", "a number, such as \"max\": 10")?;
        self.number(node, "max", &(1..=LIMIT_MAX), Some(ZERO_MAX))
    }

    fn scope(&mut self, node: &Node, pointer: &str) -> Option<Scope> {
        self.places
            .insert(format!("{pointer}/scope"), (node.start, node.end));
        let words = Scope::ALL.map(|scope| (scope.name(), scope));
        self.word(node, "scope", &words)
    }

    fn increment(&mut self, limit: &Object<'_>) -> Option<Increment> {
        let fixed = limit.get("increment");
        let Some(from) = limit.get("increment_from") else {
            let Some(node) = fixed else {
                return Some(Increment::Fixed(1));
            };
            let help = "a call that counts nothing needs no limit";
            let number = self.number(node, "increment", &(1..=LIMIT_MAX), Some(help));
            return number.map(Increment::Fixed);
        };
        if fixed.is_some() {
            let message = "a limit has \"increment\" or \"increment_from\", not both".to_owned();
            self.at_node(from, message, Some("remove one of the two"));
        }
        let path = self.args_path(from, "increment_from")?;
        Some(Increment::From(path))
    }
}

/// The length in seconds of what is no word of the language, such as `5m`, `60` or
/// `week`, where it could be a window's.
fn seconds(text: &str) -> Option<u32> {
    let text = text.trim();
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = text.strip_suffix(unit)?;
    let number = if number.is_empty() {
        None
    } else {
        Some(number.parse::<u32>().ok()?)
    };
    let each = match (unit.trim(), number) {
        ("", Some(_)) => 1,
        ("week" | "weeks" | "weekly" | "w", _) => WEEK_S,
        (unit, Some(2..)) => {
            Window::from_word(suggest::meant("window", unit, &WINDOW_WORDS)?)?.seconds()
        }
        _ => return None,
    };
    let seconds = each.checked_mul(number.unwrap_or(1))?;
    Window::from_seconds(seconds).map(Window::seconds)
}

fn counter_node(item: &Node) -> &Node {
    let Value::Object(members) = &item.value else {
        return item;
    };
    let counter = members.iter().find(|member| member.key == "counter");
    counter.map_or(item, |member| &member.node)
}
