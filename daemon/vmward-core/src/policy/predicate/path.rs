//! A place in a call: `args.force`, or `/args/a.b/0` where a name has a dot.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::fixed::Fixed;
use crate::policy::{facts::Facts, names::are_alike, suggest};

/// Longest path in bytes.
pub const PATH_BYTES_MAX: usize = 1024;

const ROOTS: [&str; 6] = ["args", "vm", "caller", "tool", "server", "effect"];
const VM_NAMES: [&str; 3] = ["name", "uuid", "labels"];
const CALLER_NAMES: [&str; 5] = ["grant", "uid", "unit", "exe", "agent"];

/// A place in a call. Both ways to write it mean the same; they differ only in
/// the names that they can spell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    text: String,
    place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// Names and indices from the arguments inwards, at least one.
    Args(Vec<String>),
    VmName,
    VmUuid,
    VmLabel(String),
    Grant,
    Uid,
    Unit,
    Exe,
    Agent,
    Tool,
    Server,
    Effect,
}

impl Path {
    /// Reads a path; the error says what is wrong with it and what to do.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > PATH_BYTES_MAX {
            return Err(format!("a path has at most {PATH_BYTES_MAX} bytes"));
        }
        let place = place(&steps(text)?)?;
        Ok(Self {
            text: text.to_owned(),
            place,
        })
    }

    /// The path as the policy has it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What alone can stand there; anything in an argument.
    pub(super) fn fixed(&self) -> Option<Fixed> {
        Some(match &self.place {
            Place::Args(_) => return None,
            Place::Uid => Fixed::Uid,
            Place::Effect => Fixed::Effect,
            Place::VmUuid => Fixed::Uuid,
            Place::Unit => Fixed::Unit,
            Place::Exe => Fixed::Exe,
            Place::VmName
            | Place::VmLabel(_)
            | Place::Grant
            | Place::Agent
            | Place::Tool
            | Place::Server => Fixed::Text,
        })
    }

    /// Is it the same place, however it is written?
    pub(super) fn is_same_place(&self, other: &Self) -> bool {
        self.place == other.place
    }

    /// Is it the tool's name?
    pub(super) fn is_tool(&self) -> bool {
        self.place == Place::Tool
    }

    /// Does something stand there in every call?
    pub(super) fn is_always_there(&self) -> bool {
        matches!(self.place, Place::Grant | Place::Uid | Place::Tool)
    }

    /// What stands there, if anything. A `null` in the arguments stands there.
    pub fn find<'a>(&self, facts: &Facts<'a>) -> Option<Cow<'a, Value>> {
        let text = |text: &str| Some(Cow::Owned(Value::from(text)));
        let vm = facts.vm;
        match &self.place {
            Place::Args(steps) => {
                let (first, rest) = steps.split_first()?;
                let mut value = facts.arguments.get(first)?;
                for step in rest {
                    value = inside(value, step)?;
                }
                Some(Cow::Borrowed(value))
            }
            Place::VmName => text(vm?.name),
            Place::VmUuid => text(vm?.uuid?),
            Place::VmLabel(key) => text(vm?.labels.get(key)?),
            Place::Grant => text(facts.caller.grant),
            Place::Uid => Some(Cow::Owned(Value::from(facts.caller.uid))),
            Place::Unit => text(facts.caller.unit?),
            Place::Exe => text(facts.caller.exe?),
            Place::Agent => text(facts.caller.agent?),
            Place::Tool => text(facts.tool),
            Place::Server => text(facts.server?),
            Place::Effect => text(facts.effect?.name()),
        }
    }

    /// An argument that some server takes for one on this path, and that
    /// [`Path::find`] does not look at, because it is spelled in another way.
    pub fn look_alike<'a>(&self, facts: &Facts<'a>) -> Option<&'a str> {
        let Place::Args(steps) = &self.place else {
            return None;
        };
        let (first, rest) = steps.split_first()?;
        if let Some(name) = alike(facts.arguments, first) {
            return Some(name);
        }
        let mut value = facts.arguments.get(first)?;
        for step in rest {
            if let Some(name) = value.as_object().and_then(|members| alike(members, step)) {
                return Some(name);
            }
            value = inside(value, step)?;
        }
        None
    }
}

/// The name on the way that some server reads as `step` and vmward does not.
fn alike<'a>(members: &'a Map<String, Value>, step: &str) -> Option<&'a str> {
    let mut names = members.keys().map(String::as_str);
    names.find(|name| *name != step && are_alike(name, step))
}

/// One step from a value inwards.
fn inside<'a>(value: &'a Value, step: &str) -> Option<&'a Value> {
    match value {
        Value::Object(members) => members.get(step),
        Value::Array(items) => {
            // One spelling for each index: neither `01` nor `+1`.
            let canonical = step == "0" || !step.starts_with(['0', '+']);
            items.get(step.parse::<usize>().ok().filter(|_| canonical)?)
        }
        _ => None,
    }
}

/// The names in a path, at least one.
fn steps(text: &str) -> Result<Vec<String>, String> {
    if let Some(pointer) = text.strip_prefix('/') {
        return pointer.split('/').map(unescape).collect();
    }
    let names: Vec<String> = text.split('.').map(ToOwned::to_owned).collect();
    if names.iter().any(String::is_empty) {
        let message = format!(
            "the path {text:?} has an empty name in it; write a name with a dot as in \"/args/a.b\""
        );
        return Err(message);
    }
    Ok(names)
}

/// One step of a JSON Pointer (RFC 6901): `~1` is a slash, `~0` a tilde.
fn unescape(step: &str) -> Result<String, String> {
    let mut after_tildes = step.split('~').skip(1);
    if !after_tildes.all(|after| after.starts_with(['0', '1'])) {
        return Err(format!(
            "in the path's step {step:?}, \"~\" must be written \"~0\" and \"/\" be written \"~1\""
        ));
    }
    Ok(step.replace("~1", "/").replace("~0", "~"))
}

fn place(steps: &[String]) -> Result<Place, String> {
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    let place = match steps[..] {
        ["args", _, ..] => {
            let names = steps.iter().skip(1);
            Place::Args(names.map(|name| (*name).to_owned()).collect())
        }
        ["vm", "name"] => Place::VmName,
        ["vm", "uuid"] => Place::VmUuid,
        ["vm", "labels", key] => Place::VmLabel(key.to_owned()),
        ["caller", "grant"] => Place::Grant,
        ["caller", "uid"] => Place::Uid,
        ["caller", "unit"] => Place::Unit,
        ["caller", "exe"] => Place::Exe,
        ["caller", "agent"] => Place::Agent,
        ["tool"] => Place::Tool,
        ["server"] => Place::Server,
        ["effect"] => Place::Effect,
        _ => return Err(explain(&steps)),
    };
    Ok(place)
}

/// Why these steps lead nowhere.
fn explain(steps: &[&str]) -> String {
    match *steps {
        ["args"] => "name the argument, as in \"args.force\"".to_owned(),
        ["vm", "labels"] => "name the label, as in \"vm.labels.tier\"".to_owned(),
        ["vm", "labels", ref key @ ..] => {
            format!(
                "labels hold plain text; write a label with a dot as in \"/vm/labels/{}\"",
                key.join(".")
            )
        }
        ["vm"] => format!("\"vm\" needs one of {}", listed(&VM_NAMES)),
        ["caller"] => format!("\"caller\" needs one of {}", listed(&CALLER_NAMES)),
        ["vm", name] if !VM_NAMES.contains(&name) => unknown(name, "\"vm\"", &VM_NAMES),
        ["caller", name] if !CALLER_NAMES.contains(&name) => {
            unknown(name, "\"caller\"", &CALLER_NAMES)
        }
        [first, ..] if !ROOTS.contains(&first) => unknown(first, "a call", &ROOTS),
        _ => "there is nothing inside it: only arguments have parts".to_owned(),
    }
}

fn unknown(name: &str, whole: &str, known: &[&str]) -> String {
    let guess = match suggest::nearest(name, known) {
        Some(word) => format!("did you mean {word:?}?"),
        None => format!("it has {}", listed(known)),
    };
    format!("{whole} has no {name:?}; {guess}")
}

fn listed(words: &[&str]) -> String {
    words.join(", ")
}

#[cfg(test)]
mod tests;
