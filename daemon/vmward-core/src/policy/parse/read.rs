//! Reading values: what a node must be, and the finding where it is not.

use std::ops::RangeInclusive;

use super::Checker;
use crate::policy::{
    error::Finding,
    json::{Member, Node, Value},
    suggest,
};

/// Longest text that an agent is told, in characters.
pub(in crate::policy) const TEXT_CHARS_MAX: usize = 1000;

/// Keys of the open-source gateway's own format, which is another language.
const FOREIGN_KEYS: [&str; 4] = ["rules", "conditions", "state", "approvals"];

/// An object with the words for it in messages.
pub(super) struct Object<'a> {
    pub(super) node: &'a Node,
    pub(super) members: &'a [Member],
    pub(super) what: String,
}

impl<'a> Object<'a> {
    pub(super) fn member(&self, key: &str) -> Option<&'a Member> {
        self.members.iter().find(|member| member.key == key)
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Node> {
        self.member(key).map(|member| &member.node)
    }

    /// The value of a member, or the object where it has no such member.
    pub(super) fn place(&self, key: &str) -> &'a Node {
        self.get(key).unwrap_or(self.node)
    }
}

/// Each method returns `None` after it has reported why.
impl Checker {
    /// An object that has these keys only.
    pub(super) fn object<'a>(
        &mut self,
        node: &'a Node,
        what: &str,
        known: &[&str],
    ) -> Option<Object<'a>> {
        let members = self.members(node, what)?;
        for member in members {
            if !known.contains(&member.key.as_str()) {
                self.unknown_key(member, what, known);
            }
        }
        Some(Object {
            node,
            members,
            what: what.to_owned(),
        })
    }

    /// An object whose keys are names that the author chooses.
    pub(super) fn members<'a>(&mut self, node: &'a Node, what: &str) -> Option<&'a [Member]> {
        if let Value::Object(members) = &node.value {
            return Some(members);
        }
        let message = format!("{what} must be an object, found {}", node.value.kind());
        self.at_node(node, message, None);
        None
    }

    fn unknown_key(&mut self, member: &Member, what: &str, known: &[&str]) {
        let key = member.key.as_str();
        let help = match suggest::nearest(key, known) {
            Some(word) => format!("did you mean {word:?}?"),
            None if FOREIGN_KEYS.contains(&key) => {
                "\"vmward policy import\" reads the other gateway's format".to_owned()
            }
            None => format!("{what} knows {}", quoted(known)),
        };
        self.at_key(
            member,
            format!("unknown key {key:?} in {what}"),
            Some(&help),
        );
    }

    pub(super) fn required<'a>(
        &mut self,
        object: &Object<'a>,
        key: &str,
        example: &str,
    ) -> Option<&'a Node> {
        let found = object.get(key);
        if found.is_none() {
            let message = format!("{} lacks the key {key:?}", object.what);
            // Point at the opening bracket only: the whole object may be long.
            self.findings.push(Finding {
                start: object.node.start,
                end: object.node.start + 1,
                message,
                help: Some(format!("add {example}")),
            });
        }
        found
    }

    /// A list; empty after a finding.
    pub(super) fn list<'a>(&mut self, node: &'a Node, key: &str) -> &'a [Node] {
        if let Value::Array(items) = &node.value {
            return items;
        }
        let message = format!("{key:?} must be an array, found {}", node.value.kind());
        let help = format!("write [ ... ] around the {}", singular(key));
        self.at_node(node, message, Some(&help));
        &[]
    }

    /// One thing or a list of at least one; `help` for a list of none.
    pub(super) fn one_or_more<'a>(&mut self, node: &'a Node, key: &str, help: &str) -> &'a [Node] {
        match &node.value {
            Value::Array(items) if items.is_empty() => {
                self.at_node(node, format!("{key:?} is empty"), Some(help));
                items
            }
            Value::Array(items) => items,
            _ => std::slice::from_ref(node),
        }
    }

    /// Text that says something.
    pub(super) fn text(&mut self, node: &Node, key: &str) -> Option<String> {
        self.text_or(node, key, "write something there, or leave it out")
    }

    /// Text that says something. `help`: what to do where it says nothing.
    pub(super) fn text_or(&mut self, node: &Node, key: &str, help: &str) -> Option<String> {
        let text = self.string(node, key)?;
        if text.trim().is_empty() {
            self.at_node(node, format!("{key:?} is empty"), Some(help));
            return None;
        }
        let length = text.chars().count();
        if length > TEXT_CHARS_MAX {
            let message =
                format!("{key:?} has {length} characters; at most {TEXT_CHARS_MAX} are told");
            self.at_node(node, message, None);
            return None;
        }
        Some(text.to_owned())
    }

    pub(super) fn string<'a>(&mut self, node: &'a Node, key: &str) -> Option<&'a str> {
        if let Value::String(text) = &node.value {
            return Some(text);
        }
        let message = format!("{key:?} must be a string, found {}", node.value.kind());
        self.at_node(node, message, None);
        None
    }

    pub(super) fn truth(&mut self, node: &Node, key: &str) -> Option<bool> {
        if let Value::Bool(truth) = node.value {
            return Some(truth);
        }
        let message = format!("{key:?} must be true or false, found {}", node.value.kind());
        let help = match &node.value {
            Value::String(text) if text == "true" || text == "false" => {
                Some("write it without quotes")
            }
            _ => None,
        };
        self.at_node(node, message, help);
        None
    }

    /// A whole number. `zero` is what to do where 0 was meant seriously.
    pub(super) fn number(
        &mut self,
        node: &Node,
        key: &str,
        range: &RangeInclusive<u32>,
        zero: Option<&str>,
    ) -> Option<u32> {
        let number = match &node.value {
            Value::Number(text) => text.parse().ok(),
            _ => None,
        };
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let message = format!(
                "{key:?} must be a whole number from {} to {}, found {}",
                range.start(),
                range.end(),
                node.value.kind()
            );
            let is_zero = matches!(&node.value, Value::Number(text) if text == "0");
            self.at_node(node, message, zero.filter(|_| is_zero));
        }
        number
    }

    /// A string that must be one of a few words.
    pub(super) fn word<T: Copy>(
        &mut self,
        node: &Node,
        key: &str,
        words: &[(&str, T)],
    ) -> Option<T> {
        if let Value::String(text) = &node.value
            && let Some((_, meaning)) = words.iter().find(|(word, _)| word == text)
        {
            return Some(*meaning);
        }
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        self.not_a_word(node, key, &names, "");
        None
    }

    /// Says that a value is none of the words; `or` ends their list.
    pub(super) fn not_a_word(&mut self, node: &Node, key: &str, names: &[&str], or: &str) {
        let guess = match &node.value {
            Value::String(text) => suggest::meant(key, text, names),
            Value::Number(text) => names.iter().copied().find(|name| name == text),
            _ => None,
        };
        let help = guess.map(|word| format!("did you mean {word:?}?"));
        self.none_of(node, key, names, or, help.as_deref());
    }

    /// The same with a help of its own.
    pub(super) fn none_of(
        &mut self,
        node: &Node,
        key: &str,
        names: &[&str],
        or: &str,
        help: Option<&str>,
    ) {
        let listed: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
        let listed = match listed.split_last() {
            Some((last, rest)) if or.is_empty() && !rest.is_empty() => {
                format!("{} or {last}", rest.join(", "))
            }
            _ => listed.join(", "),
        };
        let message = format!("{key:?} must be {listed}{or}, found {}", node.value.kind());
        self.at_node(node, message, help);
    }

    /// The same value as other code has it. Numbers that this could change are
    /// refused.
    pub(super) fn json(&mut self, node: &Node) -> Option<serde_json::Value> {
        Some(match &node.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(truth) => (*truth).into(),
            Value::String(text) => text.as_str().into(),
            Value::Number(text) => self.json_number(node, text)?.into(),
            Value::Array(items) => {
                let items: Vec<_> = items.iter().map(|item| self.json(item)).collect();
                items.into_iter().collect::<Option<Vec<_>>>()?.into()
            }
            Value::Object(members) => {
                let mut object = serde_json::Map::new();
                for member in members {
                    object.insert(member.key.clone(), self.json(&member.node)?);
                }
                object.into()
            }
        })
    }

    fn json_number(&mut self, node: &Node, text: &str) -> Option<serde_json::Number> {
        let number: Option<serde_json::Number> = text.parse().ok();
        let is_whole = text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'-');
        // A whole number beyond 64 bits would be rounded.
        let number = number.filter(|number| !is_whole || !number.is_f64());
        if number.is_none() {
            let message = format!("the number {text} is too large to be compared exactly");
            self.at_node(node, message, None);
        }
        number
    }

    pub(super) fn at_key(&mut self, member: &Member, message: String, help: Option<&str>) {
        self.findings.push(Finding {
            start: member.key_start,
            end: member.key_end,
            message,
            help: help.map(ToOwned::to_owned),
        });
    }

    pub(super) fn at_node(&mut self, node: &Node, message: String, help: Option<&str>) {
        self.findings.push(Finding {
            start: node.start,
            end: node.end,
            message,
            help: help.map(ToOwned::to_owned),
        });
    }
}

/// The words in quotes, with commas between them.
pub(super) fn quoted(words: &[&str]) -> String {
    words
        .iter()
        .map(|word| format!("{word:?}"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// What one of the list is called.
fn singular(key: &str) -> &str {
    match key {
        "require" | "deny_if" | "when" => "condition",
        "hide" => "tool",
        "hours" => "window",
        "protected" | "effect_map" => "entry",
        other => other.strip_suffix('s').unwrap_or(other),
    }
}

/// A key as one step of a JSON Pointer.
pub(super) fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
