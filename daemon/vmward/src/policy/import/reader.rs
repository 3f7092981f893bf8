//! Typed access to the tree, collecting what is wrong and what changes.

use std::collections::BTreeSet;

use super::{
    Note,
    carried::Places,
    limits::Counter,
    yaml::{Entry, Node, Value},
};

#[derive(Default)]
pub(super) struct Reader {
    pub(super) errors: Vec<Note>,
    pub(super) notes: Vec<Note>,
    /// What was said once and holds for the whole file.
    said: BTreeSet<&'static str>,
    pub(super) places: Places,
    /// Counters that a limit on all tools counts, so that a tool's may share them.
    pub(super) of_all_tools: Vec<Counter>,
}

impl Reader {
    pub(super) fn error(&mut self, line: usize, message: impl Into<String>) {
        self.errors.push(Note::new(line, message));
    }

    pub(super) fn note(&mut self, line: usize, message: impl Into<String>) {
        self.notes.push(Note::new(line, message));
    }

    /// A note that the first place stands for.
    pub(super) fn note_once(&mut self, line: usize, message: &'static str) {
        if self.said.insert(message) {
            self.note(line, message);
        }
    }

    /// An empty value is an empty map, as Intercept has it.
    pub(super) fn map<'a>(&mut self, node: &'a Node, what: &str) -> Option<&'a [Entry]> {
        match &node.value {
            Value::Map(entries) => Some(entries),
            _ if node.is_null() => Some(&[]),
            _ => {
                self.error(node.line, format!("{what} must have keys and values"));
                None
            }
        }
    }

    /// An empty value is an empty list, as Intercept has it.
    pub(super) fn list<'a>(&mut self, node: &'a Node, what: &str) -> Option<&'a [Node]> {
        match &node.value {
            Value::List(items) => Some(items),
            _ if node.is_null() => Some(&[]),
            _ => {
                self.error(node.line, format!("{what} must be a list"));
                None
            }
        }
    }

    /// Quotes make no difference, as Intercept has it.
    pub(super) fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        let text = node.scalar();
        if text.is_none() {
            self.error(node.line, format!("{what} must be a text"));
        }
        text.map(ToOwned::to_owned)
    }

    /// The text under a key; none where it is absent or empty.
    pub(super) fn text_at(&mut self, entries: &[Entry], key: &str) -> Option<String> {
        let node = get(entries, key).filter(|node| !node.is_null())?;
        let text = self.text(node, &format!("{key:?}"))?;
        (!text.is_empty()).then_some(text)
    }

    /// Intercept overlooks a key that it does not know: a misspelled limit is
    /// no limit. Here it is an error.
    pub(super) fn known(&mut self, entries: &[Entry], known: &[&str], what: &str) {
        for entry in entries {
            if !known.contains(&entry.key.as_str()) {
                let message = format!(
                    "unknown key {:?} in {what}, which knows {}; Intercept would overlook it",
                    entry.key,
                    known.join(", ")
                );
                self.error(entry.line, message);
            }
        }
    }
}

pub(super) fn get<'a>(entries: &'a [Entry], key: &str) -> Option<&'a Node> {
    let entry = entries.iter().find(|entry| entry.key == key);
    entry.map(|entry| &entry.node)
}
