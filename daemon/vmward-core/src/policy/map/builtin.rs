//! The shipped entries: what they are and how one is found.
//!
//! An entry is found by the tool's name alone. The name of the server is the
//! caller's to choose, and often there is none, so nothing may depend on it;
//! where two servers give one name to two things, the table has the harder one.

use std::{
    collections::{BTreeSet, HashMap},
    sync::LazyLock,
};

use serde_json::{Map, Value};

use super::{arguments, table};
use crate::effect::Effect;

/// The entries for one MCP server.
pub(super) struct Server {
    /// `builtin:` and its name.
    pub(super) pointer: &'static str,
    pub(super) entries: &'static [Entry],
}

/// What some tools do under some conditions.
pub(super) struct Entry {
    pub(super) tools: &'static [&'static str],
    /// All must hold.
    pub(super) when: &'static [When],
    pub(super) what: What,
    /// The arguments that name the VM.
    pub(super) vm: &'static [&'static str],
}

/// A condition on the arguments.
#[derive(Clone, Copy)]
pub(super) enum When {
    /// The argument is there and is anything but a plain no.
    Set(&'static str),
    /// One of the words stands there, in one of the ways to write the key.
    Is(&'static str, &'static [&'static str]),
    /// Nothing but one of the words stands there.
    Only(&'static str, &'static [&'static str]),
}

#[derive(Clone, Copy)]
pub(super) enum What {
    /// It stops nothing.
    Nothing,
    Does(Effect),
    /// It could do anything; why.
    Opaque(&'static str),
}

impl When {
    fn holds(self, arguments: &Map<String, Value>) -> bool {
        let is_one_of = |value: &Value, words: &[&str]| {
            let text = value.as_str().unwrap_or_default().trim();
            words.iter().any(|word| word.eq_ignore_ascii_case(text))
        };
        match self {
            Self::Set(key) => arguments::is_set(arguments, key),
            Self::Is(key, words) => {
                arguments::values(arguments, key).any(|value| is_one_of(value, words))
            }
            Self::Only(key, words) => {
                let mut values = arguments::values(arguments, key).peekable();
                values.peek().is_some() && values.all(|value| is_one_of(value, words))
            }
        }
    }
}

/// The first entry for the call, with its server's pointer.
pub(super) fn find(
    tool: &str,
    arguments: &Map<String, Value>,
) -> Option<(&'static str, &'static Entry)> {
    // Every call comes by here, and the table has hundreds of names.
    static BY_TOOL: LazyLock<HashMap<&'static str, Vec<Named>>> = LazyLock::new(by_tool);
    let mut named = BY_TOOL.get(tool)?.iter();
    named
        .find(|(_, entry)| entry.when.iter().all(|when| when.holds(arguments)))
        .copied()
}

/// An entry with its server's pointer.
type Named = (&'static str, &'static Entry);

/// The entries of each tool, in the table's order.
fn by_tool() -> HashMap<&'static str, Vec<Named>> {
    let mut by_tool: HashMap<_, Vec<Named>> = HashMap::new();
    for server in table::SERVERS {
        for entry in server.entries {
            for tool in entry.tools {
                by_tool
                    .entry(*tool)
                    .or_default()
                    .push((server.pointer, entry));
            }
        }
    }
    by_tool
}

/// The effects of a tool all of whose calls have one.
pub(super) fn always(tool: &str) -> Option<Vec<Effect>> {
    let mut effects = Vec::new();
    let entries = table::SERVERS.iter().flat_map(|server| server.entries);
    for entry in entries.filter(|entry| entry.tools.contains(&tool)) {
        let What::Does(effect) = entry.what else {
            return None;
        };
        effects.push(effect);
        if entry.when.is_empty() {
            return Some(effects);
        }
    }
    None
}

/// The tools that some entry gives this effect.
pub(super) fn tools_with(effect: Effect) -> BTreeSet<&'static str> {
    let entries = table::SERVERS.iter().flat_map(|server| server.entries);
    let with = entries.filter(|entry| matches!(entry.what, What::Does(does) if does == effect));
    with.flat_map(|entry| entry.tools).copied().collect()
}

/// Is there an entry for the tool that does not know what it does?
pub(super) fn is_opaque(tool: &str) -> bool {
    let mut entries = table::SERVERS.iter().flat_map(|server| server.entries);
    entries.any(|entry| entry.tools.contains(&tool) && matches!(entry.what, What::Opaque(_)))
}

/// Is there an entry that gives the tool this effect?
pub(super) fn can(tool: &str, effect: Effect) -> bool {
    let mut entries = table::SERVERS.iter().flat_map(|server| server.entries);
    entries.any(|entry| {
        entry.tools.contains(&tool) && matches!(entry.what, What::Does(does) if does == effect)
    })
}
