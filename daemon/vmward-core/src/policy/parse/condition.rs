//! Conditions: predicates and the schema of the arguments.

use std::collections::BTreeMap;

use super::{Checker, read::Object};
use crate::policy::{
    ERRORS_MAX,
    args_schema::{self, ArgsSchema, Mistake},
    json::{Node, Value},
    predicate::{Part, Path, Predicate},
};

const PREDICATE_KEYS: [&str; 4] = ["path", "op", "value", "on_deny"];

/// Most patterns, in conditions and in schemas: each may take milliseconds to
/// compile, and memory for as long as the policy is in force.
const PATTERNS_MAX: usize = 500;
/// Most rules with an `args_schema`, for the same reason.
const SCHEMAS_MAX: usize = 500;

/// The conditions that were read, with the place of each.
#[derive(Default)]
pub(super) struct Seen {
    /// By what they say: path, operator, value.
    by_text: BTreeMap<String, String>,
}

impl Checker {
    /// `require`, `deny_if` or `when`. `seen`: shared by the lists of a rule.
    pub(super) fn predicates(
        &mut self,
        owner: &Object<'_>,
        key: &str,
        pointer: &str,
        seen: &mut Seen,
    ) -> Vec<Predicate> {
        let mut predicates = Vec::new();
        let items = owner.get(key).map(|node| self.list(node, key));
        for (index, item) in items.unwrap_or_default().iter().enumerate() {
            let pointer = format!("{pointer}/{key}/{index}");
            predicates.extend(self.predicate(item, pointer, seen));
        }
        predicates
    }

    fn predicate(&mut self, item: &Node, pointer: String, seen: &mut Seen) -> Option<Predicate> {
        let object = self.object(item, "a condition", &PREDICATE_KEYS)?;
        let path = self.required(&object, "path", "a place, such as \"path\": \"args.force\"");
        let path = path.and_then(|node| self.path(node, "path"));
        let op = self.required(&object, "op", "an operator, such as \"op\": \"eq\"");
        let op = op.and_then(|node| self.string(node, "op"));
        let on_deny = object
            .get("on_deny")
            .and_then(|node| self.text(node, "on_deny"));
        let json = match object.get("value") {
            Some(node) => Some(self.json(node)?),
            None => None,
        };
        let (path, op) = (path?, op?);
        let patterns = usize::from(op == "regex");
        if !self.patterns(patterns, object.place("op")) || patterns > 0 && self.has_enough() {
            return None;
        }
        let text = format!("{} {op} {json:?}", path.text());
        if let Some(first) = seen.by_text.get(&text) {
            let message = format!("this condition is there already, in {first}");
            self.at_node(item, message, Some("remove one of the two"));
        } else {
            seen.by_text.insert(text, pointer.clone());
        }
        match Predicate::new(pointer, path, op, json.as_ref(), on_deny) {
            Ok(predicate) => {
                let place = object.place("value");
                self.places
                    .insert(predicate.pointer.clone(), (place.start, place.end));
                if let Some(bytes) = predicate.tried_on() {
                    let message = format!(
                        "the pattern is so large that a call with more than {bytes} bytes there is \
                         denied without trying it"
                    );
                    let help = "make its repetitions shorter";
                    self.warn(object.place("value"), message, help);
                }
                if let Some(text) = predicate.wildcard() {
                    let message =
                        format!("{op:?} compares the whole of it: {text:?} stands for itself");
                    let help = "use \"regex\", as in \"value\": \"web-.*\"";
                    self.warn(object.place("value"), message, help);
                }
                Some(predicate)
            }
            Err(error) => {
                let place = match error.part {
                    Part::Op => object.place("op"),
                    Part::Value => object.place("value"),
                };
                self.at_node(place, error.message, error.help.as_deref());
                None
            }
        }
    }

    /// A place in the call.
    pub(super) fn path(&mut self, node: &Node, key: &str) -> Option<Path> {
        let text = self.string(node, key)?;
        Path::parse(text)
            .map_err(|message| self.at_node(node, message, None))
            .ok()
    }

    /// A place in the arguments.
    pub(super) fn args_path(&mut self, node: &Node, key: &str) -> Option<Path> {
        let path = self.path(node, key)?;
        if root(path.text()) == "args" {
            return Some(path);
        }
        let message = format!(
            "{key:?} must be a place in the arguments, found {:?}",
            path.text()
        );
        let example = match key {
            "vm" => "such as \"args.name\"",
            _ => "such as \"args.count\"",
        };
        self.at_node(node, message, Some(example));
        None
    }

    /// Are there as many mistakes as are ever shown? Then nothing more is compiled:
    /// a pattern that is too large takes longest.
    fn has_enough(&mut self) -> bool {
        let has_enough = self.findings.len() >= ERRORS_MAX;
        self.unread |= has_enough;
        has_enough
    }

    /// Is there room for as many patterns more? The first that finds none is told.
    fn patterns(&mut self, more: usize, place: &Node) -> bool {
        let told = self.patterns > PATTERNS_MAX;
        self.patterns += more;
        let has_room = more == 0 || self.patterns <= PATTERNS_MAX;
        if !told && !has_room {
            let message = format!("a policy has at most {PATTERNS_MAX} patterns");
            self.at_node(place, message, Some("join some with \"|\""));
        }
        has_room
    }

    /// Is there room for one more schema, with all its patterns?
    fn room_for(&mut self, schema: &serde_json::Value, place: &Node) -> bool {
        self.schemas += 1;
        if self.schemas > SCHEMAS_MAX {
            if self.schemas == SCHEMAS_MAX + 1 {
                let message = format!("a policy has at most {SCHEMAS_MAX} \"args_schema\"");
                let help = "leave them out where conditions say enough";
                self.at_node(place, message, Some(help));
            }
            return false;
        }
        self.patterns(args_schema::patterns(schema), place)
    }

    pub(super) fn args_schema(&mut self, node: &Node) -> Option<ArgsSchema> {
        if !matches!(node.value, Value::Object(_)) {
            let message = format!(
                "\"args_schema\" must be a JSON Schema, which is an object, found {}",
                node.value.kind()
            );
            self.at_node(node, message, None);
            return None;
        }
        let source = self.json(node)?;
        if !self.room_for(&source, node) || self.has_enough() {
            return None;
        }
        match ArgsSchema::compile(&source) {
            Ok(schema) => Some(schema),
            Err(mistakes) => {
                for Mistake { place, message } in mistakes {
                    let at = match place.as_str() {
                        "" => String::new(),
                        place => format!("at {place}: "),
                    };
                    let message = format!("\"args_schema\" is no valid JSON Schema: {at}{message}");
                    self.at_node(node.nearest(&place), message, None);
                }
                None
            }
        }
    }
}

/// The first step of a path in either form.
pub(super) fn root(path: &str) -> &str {
    let (path, end) = match path.strip_prefix('/') {
        Some(pointer) => (pointer, '/'),
        None => (path, '.'),
    };
    path.split(end).next().unwrap_or(path)
}
