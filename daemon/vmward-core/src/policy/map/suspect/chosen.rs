//! The guess by the arguments: a program, a choice, a state, a switch, or the
//! address of an interface that stops.

use serde_json::{Map, Value};

use super::{has_noun, split, stop_word};
use crate::policy::names::are_alike;

/// Arguments that hold a program: whatever stands there could do anything.
const PROGRAMS: &[&str] = &[
    "command",
    "commands",
    "cmd",
    "cmdline",
    "command_line",
    "argv",
    "exec",
    "script",
    "shell",
    "qmp",
    "hmp",
];
/// The same where it is more than one word: `"code": "US"` is none.
const CODES: &[&str] = &["code"];
/// Arguments that choose what is done, alone or at the end of a longer name.
const CHOICES: &[&str] = &["action", "operation", "op", "method", "verb", "signal"];
/// Arguments whose words go to a program.
const WORDS: &[&str] = &["args", "arguments"];
/// Arguments that choose a state, in the same way; for a tool that reads they are
/// a filter.
const STATES: &[&str] = &["state", "status"];
/// The same as a whole name.
const MODES: &[&str] = &[
    "desiredstate",
    "targetstate",
    "powerstate",
    "runstate",
    "mode",
    "run_strategy",
    "runstrategy",
];
/// Arguments that say whether it is to run; a filter as well for a tool that
/// reads.
const SWITCHES: &[&str] = &["power", "powered", "powered_on", "running", "is_running"];
/// Arguments that say which interface is called.
const ADDRESSES: &[&str] = &["path", "url", "uri", "endpoint"];
/// Objects that pick and change nothing.
const FILTERS: &[&str] = &["filter", "filters", "selector", "where"];
/// What a switch has in it for a no.
const NOES: &[&str] = &["0", "false", "no"];
/// As deep as arguments are looked at: `{"params": {"spec": {"running": false}}}`.
const DEPTH: usize = 2;

struct Member<'a> {
    name: &'a str,
    /// As in `desired_state` for `desiredState`.
    whole: String,
    value: &'a Value,
}

impl Member<'_> {
    /// The one of the names that it has.
    fn is(&self, names: &[&'static str]) -> Option<&'static str> {
        let mut names = names.iter().copied();
        names.find(|name| are_alike(self.name, name) || self.whole == *name)
    }

    /// The one that it ends in.
    fn ends(&self, names: &[&'static str]) -> Option<&'static str> {
        let last = self.whole.rsplit('_').next().unwrap_or_default();
        let mut all = names.iter().copied();
        self.is(names).or_else(|| all.find(|name| *name == last))
    }

    /// What is written there: a text, or each text of a list.
    fn text(&self) -> String {
        match self.value {
            Value::String(text) => text.clone(),
            Value::Array(items) => {
                let texts: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
                texts.join(" ")
            }
            _ => String::new(),
        }
    }
}

/// What makes the arguments suspect. `of_vm`: the tool is about a VM. `filters`: it
/// takes a state for a filter.
pub(super) fn why(arguments: &Map<String, Value>, of_vm: bool, filters: bool) -> Option<String> {
    let mut members = Vec::new();
    collect(arguments, DEPTH, &mut members);
    let programs = members.iter().find_map(program);
    if let Some(key) = programs {
        return Some(format!("its argument {key:?} could do anything"));
    }
    let mut each = members.iter();
    each.find_map(|member| {
        choice(member, of_vm, filters)
            .or_else(|| switched_off(member).filter(|_| !filters))
            .or_else(|| address(member).filter(|_| !filters))
    })
}

/// All members, inside others and in lists as well.
fn collect<'a>(object: &'a Map<String, Value>, depth: usize, found: &mut Vec<Member<'a>>) {
    for (name, value) in object {
        let member = Member {
            name,
            whole: split(name).join("_"),
            value,
        };
        let goes_in = depth > 0 && member.is(FILTERS).is_none();
        found.push(member);
        let inside = match value {
            Value::Array(items) if goes_in => items.as_slice(),
            Value::Object(_) if goes_in => std::slice::from_ref(value),
            _ => &[],
        };
        for inside in inside.iter().filter_map(Value::as_object) {
            collect(inside, depth - 1, found);
        }
    }
}

fn program(member: &Member<'_>) -> Option<&'static str> {
    let is_set = !matches!(member.value, Value::Null | Value::Bool(false));
    let code = || {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let is_code = !member.text().chars().all(is_plain);
        member.is(CODES).filter(|_| is_code)
    };
    member.is(PROGRAMS).filter(|_| is_set).or_else(code)
}

fn choice(member: &Member<'_>, of_vm: bool, filters: bool) -> Option<String> {
    let state = || {
        let state = member.ends(STATES).or_else(|| member.is(MODES));
        let state = state.or_else(|| member.is(SWITCHES));
        state.filter(|_| !filters)
    };
    let words = || member.is(WORDS).filter(|_| !filters);
    let key = member.ends(CHOICES).or_else(state).or_else(words)?;
    let text = member.text();
    if !text.is_ascii() && member.ends(CHOICES).is_some() {
        return Some(format!(
            "its argument {key:?} has letters outside of ASCII in it"
        ));
    }
    let chosen = split(&text);
    let of_vm = of_vm || has_noun(&chosen);
    let word = stop_word(&chosen, of_vm).filter(|word| !is_on(key, word))?;
    Some(format!("its argument {key:?} has {word:?} in it"))
}

/// An argument that says that it is not to run.
fn switched_off(member: &Member<'_>) -> Option<String> {
    let is_no = match member.value {
        Value::Bool(on) => !on,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => {
            let text = text.trim();
            NOES.iter().any(|no| no.eq_ignore_ascii_case(text))
        }
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    };
    let key = member.is(SWITCHES).filter(|_| is_no)?;
    Some(format!("its argument {key:?} is off"))
}

/// An address that ends in what is done: `.../status/stop`, and not a file's name.
fn address(member: &Member<'_>) -> Option<String> {
    let key = member.is(ADDRESSES)?;
    let text = member.text();
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let last = text.trim_end_matches('/').rsplit('/').next()?;
    let words = split(last);
    let word = stop_word(&words, false).filter(|_| !last.contains('.'))?;
    Some(format!("its argument {key:?} has {word:?} in it"))
}

/// `"power": "powered"` switches nothing off.
fn is_on(key: &str, word: &str) -> bool {
    SWITCHES.contains(&key) && word == "powered"
}
