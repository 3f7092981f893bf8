//! Reads the YAML policy of the open-source gateway Intercept and writes ours.
//!
//! Nothing is dropped in silence. What Intercept itself would refuse, what it
//! would overlook (an unknown key) and what cannot be read is an error; what
//! means something else here is a note, and so is what has no counterpart, unless
//! more calls would pass without it: that is an error, too. Where a choice is
//! left, the imported policy is the stricter one.
//!
//! | module | holds |
//! | --- | --- |
//! | `yaml` | YAML as a tree with line numbers, bounded |
//! | `reader` | typed access to that tree, collecting what is wrong |
//! | `rules` | the rules of one tool |
//! | `limits` | counters and rate limits |
//! | `carried` | what our own reader refuses of the outcome |

mod carried;
mod limits;
mod reader;
mod rules;
mod yaml;

use std::fmt;

use serde_json::{Map, Value, json};

use limits::Counter;
use reader::{Reader, get};
use yaml::{Entry, Node};

/// Largest YAML file in bytes.
pub(crate) const YAML_BYTES_MAX: usize = 1 << 20;

/// A policy in our language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Imported {
    /// The text of `policy.json`, with a newline at its end.
    pub(crate) policy: String,
    /// What could not be carried over, or means something else here; in the
    /// order of the lines.
    pub(crate) notes: Vec<Note>,
}

/// Something about one line of the YAML.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Note {
    /// From 1.
    pub(crate) line: usize,
    pub(crate) message: String,
}

impl Note {
    fn new(line: usize, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { line, message }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

/// Why nothing was imported: every mistake, in the order of the lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImportErrors(pub(crate) Vec<Note>);

impl std::error::Error for ImportErrors {}

impl fmt::Display for ImportErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, note) in self.0.iter().enumerate() {
            let feed = if index == 0 { "" } else { "\n" };
            write!(f, "{feed}{note}")?;
        }
        Ok(())
    }
}

/// Imports a policy of Intercept.
pub(crate) fn import(yaml: &str) -> Result<Imported, ImportErrors> {
    if yaml.len() > YAML_BYTES_MAX {
        let message = format!(
            "the file has {} bytes; at most {YAML_BYTES_MAX} are read",
            yaml.len()
        );
        return Err(ImportErrors(vec![Note::new(1, message)]));
    }
    let root = yaml::read(yaml).map_err(|error| ImportErrors(vec![error]))?;
    let mut reader = Reader::default();
    let policy = document(&mut reader, &root);
    let Reader {
        mut errors,
        mut notes,
        places,
        ..
    } = reader;
    let policy = Value::Object(policy);
    let text = format!("{policy:#}\n");
    if errors.is_empty() {
        // A policy that nobody could put into force is no outcome.
        errors = carried::refused(&policy, &text, &places);
    }
    if !errors.is_empty() {
        errors.sort();
        return Err(ImportErrors(errors));
    }
    notes.sort();
    Ok(Imported {
        policy: text,
        notes,
    })
}

const TOP_KEYS: [&str; 6] = [
    "version",
    "description",
    "default",
    "hide",
    "tools",
    "approvals",
];

fn document(reader: &mut Reader, root: &Node) -> Map<String, Value> {
    let mut policy = Map::new();
    let Some(entries) = reader.map(root, "the policy") else {
        return policy;
    };
    reader.known(entries, &TOP_KEYS, "the policy");
    version(reader, root, entries);
    policy.insert("version".to_owned(), json!("1"));
    if let Some(text) = reader.text_at(entries, "description") {
        policy.insert("description".to_owned(), json!(text));
    }
    for entry in entries {
        reader.places.push((format!("/{}", entry.key), entry.line));
    }
    let default = default(reader, root, entries);
    policy.insert("default".to_owned(), json!(default));
    let hidden = hidden(reader, entries);
    if !hidden.is_empty() {
        policy.insert("hide".to_owned(), json!(hidden));
    }
    if let Some(approvals) = get(entries, "approvals") {
        reader.note(
            approvals.line,
            "\"approvals\" is not carried over: how people are told and how long a request \
             lives stands in vmward.toml",
        );
    }
    tools(reader, root, entries, &hidden, &mut policy);
    policy
}

fn version(reader: &mut Reader, root: &Node, entries: &[Entry]) {
    match get(entries, "version") {
        None => reader.error(root.line, "there is no \"version\": \"1\" is the one known"),
        Some(node) => {
            if let Some(version) = reader.text(node, "\"version\"")
                && version != "1"
            {
                let message = format!("\"version\" is {version:?}; only \"1\" is known");
                reader.error(node.line, message);
            }
        }
    }
}

fn default(reader: &mut Reader, root: &Node, entries: &[Entry]) -> &'static str {
    let Some(node) = get(entries, "default") else {
        reader.note(
            root.line,
            "there is no \"default\", which means \"allow\" to Intercept; it is written out here. \
             Consider \"deny\": then a tool that nobody thought of stops nothing",
        );
        return "allow";
    };
    match reader.text(node, "\"default\"").as_deref() {
        Some("deny") => "deny",
        Some("allow") | None => "allow",
        Some(other) => {
            let message = format!("\"default\" must be \"allow\" or \"deny\", found {other:?}");
            reader.error(node.line, message);
            "deny"
        }
    }
}

fn hidden(reader: &mut Reader, entries: &[Entry]) -> Vec<String> {
    let Some(node) = get(entries, "hide") else {
        return Vec::new();
    };
    // The documentation also has the bare word.
    if node.scalar() == Some("*") {
        return vec!["*".to_owned()];
    }
    let mut hidden: Vec<String> = Vec::new();
    for item in reader.list(node, "\"hide\"").unwrap_or_default() {
        let Some(tool) = reader.text(item, "a tool in \"hide\"") else {
            continue;
        };
        if tool.trim().is_empty() {
            reader.error(item.line, "a tool in \"hide\" has no name");
        } else if hidden.contains(&tool) {
            reader.error(item.line, format!("{tool:?} is hidden twice"));
        } else {
            let pointer = format!("/hide/{}", hidden.len());
            reader.places.push((pointer, item.line));
            hidden.push(tool);
        }
    }
    hidden
}

fn tools(
    reader: &mut Reader,
    root: &Node,
    entries: &[Entry],
    hidden: &[String],
    policy: &mut Map<String, Value>,
) {
    let mut tools = Map::new();
    let node = get(entries, "tools");
    if node.is_none() {
        reader.error(root.line, "there is no \"tools\"");
    }
    let list = node.and_then(|node| reader.map(node, "\"tools\""));
    let list = list.unwrap_or_default();
    reader.of_all_tools = counters_of_all_tools(list);
    for entry in list {
        let tool = entry.key.as_str();
        if tool.is_empty() {
            reader.error(entry.line, "a tool has no name");
        }
        let pointer = match tool {
            "*" => "/all_tools".to_owned(),
            _ => carried::below("/tools", tool),
        };
        reader.places.push((pointer.clone(), entry.line));
        let rule = rules::tool(reader, tool, pointer, &entry.node);
        if tool == "*" {
            if !rule.is_empty() {
                policy.insert("all_tools".to_owned(), Value::Object(rule));
            }
        } else if hidden.iter().any(|hidden| hidden == tool || hidden == "*") {
            let message =
                format!("the rules of {tool:?} are left out: \"hide\" denies every call of it");
            reader.note(entry.line, message);
        } else {
            tools.insert(tool.to_owned(), Value::Object(rule));
        }
    }
    policy.insert("tools".to_owned(), Value::Object(tools));
}

/// Of a rule that may stand behind those that share its counters. What is wrong
/// with it is said in its turn.
fn counters_of_all_tools(tools: &[Entry]) -> Vec<Counter> {
    let mut unheard = Reader::default();
    if let Some(rule) = get(tools, "*") {
        rules::tool(&mut unheard, "*", String::new(), rule);
    }
    unheard.of_all_tools
}

#[cfg(test)]
mod tests;
