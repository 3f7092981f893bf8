//! Conditions: on the arguments they become `require`, on a counter a limit.

use serde_json::{Value, json};

use super::{Draft, Source, pattern};
use crate::policy::import::{
    Note,
    limits::{self, Counter},
    reader::{Reader, get},
    yaml::Node,
};

const OPS: [&str; 11] = [
    "eq", "neq", "in", "not_in", "lt", "lte", "gt", "gte", "regex", "contains", "exists",
];

const TYPES: &str = "values are compared with their types here: \"5\" and 5 are different. \
                     Intercept takes them for the same. This holds for every neq and not_in";
const NULL: &str = "an argument that is null counts as present here and as missing to Intercept. \
                    This holds for every \"exists\"";

impl Draft {
    pub(super) fn condition(
        &mut self,
        reader: &mut Reader,
        tool: &str,
        source: &Source<'_>,
        counter: Option<&Counter>,
        node: &Node,
    ) {
        let Some(entries) = reader.map(node, "a condition") else {
            return;
        };
        reader.known(entries, &["path", "op", "value"], "a condition");
        let path = reader.text_at(entries, "path").unwrap_or_default();
        let op = reader.text_at(entries, "op").unwrap_or_default();
        let Some(&op) = OPS.iter().find(|known| **known == op) else {
            let message = format!("\"op\" must be one of {}; found {op:?}", OPS.join(", "));
            reader.error(node.line, message);
            return;
        };
        let Some(value) = get(entries, "value") else {
            reader.error(node.line, "the condition has no \"value\"");
            return;
        };
        if let Some(read) = path.strip_prefix("state.") {
            match (limited(reader, tool, counter, read), op) {
                (Some(counter), "lt" | "lte") => {
                    if let Some(max) = limits::max(reader, value, op) {
                        if tool == "*" {
                            reader.of_all_tools.push(counter.clone());
                        }
                        self.limit(reader, tool, source, &counter, max);
                    }
                }
                _ => self.lost.push(Note::new(node.line, lost(&path, op))),
            }
        } else if path.len() > "args.".len() && path.starts_with("args.") {
            self.predicate(reader, source, &path, op, value);
        } else {
            let message = format!("\"path\" must begin with args. or state.; found {path:?}");
            reader.error(node.line, message);
        }
    }

    fn predicate(
        &mut self,
        reader: &mut Reader,
        source: &Source<'_>,
        path: &str,
        op: &'static str,
        node: &Node,
    ) {
        let value = match node.json() {
            Ok(value) => value,
            Err(error) => return reader.errors.push(error),
        };
        let fits = match op {
            "in" | "not_in" => value.is_array(),
            "lt" | "lte" | "gt" | "gte" => value.is_number(),
            "exists" => value.is_boolean(),
            "regex" => value.is_string(),
            _ => true,
        };
        if !fits {
            let message = format!("{op} cannot be used with the value {value}");
            return reader.error(node.line, message);
        }
        let value = match (op, value) {
            ("regex", Value::String(pattern)) => match pattern::of_go(&pattern) {
                Ok(pattern) => json!(anywhere(&pattern)),
                Err(message) => return self.lost.push(Note::new(node.line, message)),
            },
            (_, value) => value,
        };
        match op {
            "exists" => reader.note_once(node.line, NULL),
            "neq" | "not_in" => {
                reader.note_once(node.line, TYPES);
                // To Intercept no condition holds on what is missing; ours on
                // these two does.
                self.place_next(reader, node.line);
                self.push(path, "exists", &json!(true), source);
            }
            _ => {}
        }
        self.place_next(reader, node.line);
        if let Some(message) = self.push(path, op, &value, source) {
            reader.note(source.line, not_told(message, "asks for"));
        }
    }

    /// The next condition comes from this line.
    fn place_next(&self, reader: &mut Reader, line: usize) {
        let part = format!("require/{}", self.require.len());
        self.place(reader, &part, line);
    }

    /// Asks for it once. Returns the message that nobody will be told, where an earlier
    /// rule asks for the same with another.
    fn push<'a>(
        &mut self,
        path: &str,
        op: &str,
        value: &Value,
        source: &'a Source<'_>,
    ) -> Option<&'a str> {
        let message = source.on_deny.as_deref();
        let mut all = self.require.iter_mut();
        let same = all
            .find(|other| other["path"] == path && other["op"] == op && other["value"] == *value);
        if let Some(same) = same {
            let message = message?;
            if same.get("on_deny").is_none() {
                same["on_deny"] = json!(message);
            }
            return Some(message).filter(|message| same["on_deny"] != **message);
        }
        let mut predicate = json!({ "path": path, "op": op, "value": value });
        if let Some(message) = message {
            predicate["on_deny"] = json!(message);
        }
        self.require.push(predicate);
        None
    }
}

/// What is said of a rule's message that has no place.
pub(super) fn not_told(message: &str, does: &str) -> String {
    format!(
        "the message {message:?} is not carried over: an earlier rule {does} the same, and its \
         message stands"
    )
}

/// The counter that a condition reads, where a limit on it counts the same calls:
/// the rule's own, or one of `*` that is limited there.
fn limited(reader: &Reader, tool: &str, own: Option<&Counter>, read: &str) -> Option<Counter> {
    let (owner, name) = read.split_once('.')?;
    let mine = if tool == "*" { "_global" } else { tool };
    if let Some(own) = own.filter(|own| owner == mine && own.name == name) {
        return Some(own.clone());
    }
    let mut shared = reader.of_all_tools.iter();
    let shared = shared.find(|shared| owner == "_global" && shared.name == name);
    shared.cloned()
}

fn lost(path: &str, op: &str) -> String {
    format!(
        "cannot be carried over: the condition {path} {op} (only lt and lte are limits, on the \
         rule's own counter or on one that a rule of \"*\" limits)"
    )
}

/// Our patterns match the whole text, those of Intercept any part of it.
fn anywhere(pattern: &str) -> String {
    // By a flag, an anchor may be that of a line, which is in the middle of the text.
    let has_flags = pattern.contains("(?");
    let is_whole = !has_flags && !pattern.contains('|');
    let begins = is_whole && pattern.starts_with('^');
    let ends = is_whole && pattern.ends_with('$') && !pattern.ends_with("\\$");
    let before = if begins { "" } else { "(?s:.*)" };
    let after = if ends { "" } else { "(?s:.*)" };
    if is_whole {
        format!("{before}{pattern}{after}")
    } else {
        format!("{before}(?:{pattern}){after}")
    }
}
