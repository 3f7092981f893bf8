//! The rules of one tool, which become one rule here.

use serde_json::{Map, Value, json};

mod conditions;
mod pattern;

use conditions::not_told;

use super::{
    Note,
    limits::{self, Counter},
    reader::{Reader, get},
    yaml::{Entry, Node},
};

const RULE_KEYS: [&str; 7] = [
    "name",
    "action",
    "rate_limit",
    "conditions",
    "state",
    "on_deny",
    "approval_timeout",
];
/// One rule of Intercept.
struct Source<'a> {
    line: usize,
    name: String,
    entries: &'a [Entry],
    on_deny: Option<String>,
}

/// What becomes of a tool's rules.
#[derive(Default)]
struct Draft {
    /// Where it will stand in our policy.
    pointer: String,
    names: Vec<String>,
    /// The line and message of the rule that denies every call.
    deny: Option<(usize, Option<String>)>,
    approval: Option<Approval>,
    require: Vec<Value>,
    limits: Vec<Value>,
    /// Messages of the rules with a limit, with their lines.
    limit_messages: Vec<(usize, String)>,
    /// Conditions that cannot be carried over.
    lost: Vec<Note>,
}

struct Approval {
    reason: Option<String>,
    timeout_s: Option<u64>,
}

/// The rule for a tool, as JSON.
pub(super) fn tool(
    reader: &mut Reader,
    tool: &str,
    pointer: String,
    node: &Node,
) -> Map<String, Value> {
    let what = format!("the tool {tool:?}");
    let entries = reader.map(node, &what).unwrap_or_default();
    reader.known(entries, &["rules"], &what);
    let list = get(entries, "rules").and_then(|rules| reader.list(rules, "\"rules\""));
    let mut sources = Vec::new();
    for item in list.unwrap_or_default() {
        sources.extend(source(reader, item));
    }
    let mut draft = Draft {
        pointer,
        ..Draft::default()
    };
    for source in &sources {
        draft.add(reader, tool, source);
    }
    draft.finish(reader, tool)
}

fn source<'a>(reader: &mut Reader, item: &'a Node) -> Option<Source<'a>> {
    let entries = reader.map(item, "a rule")?;
    reader.known(entries, &RULE_KEYS, "a rule");
    let name = reader.text_at(entries, "name");
    if name.is_none() {
        reader.error(item.line, "the rule has no \"name\"");
    }
    Some(Source {
        line: item.line,
        name: name?,
        entries,
        on_deny: reader.text_at(entries, "on_deny"),
    })
}

impl Draft {
    fn add(&mut self, reader: &mut Reader, tool: &str, source: &Source<'_>) {
        let has = |key| get(source.entries, key).is_some_and(|node| !node.is_null());
        self.names.push(source.name.clone());
        let action = reader.text_at(source.entries, "action");
        if has("approval_timeout") && action.as_deref() != Some("require_approval") {
            let message = "\"approval_timeout\" means nothing without action: require_approval";
            reader.error(source.line, message);
        }
        match action.as_deref() {
            None | Some("evaluate") => self.evaluate(reader, tool, source),
            Some("deny") => {
                if has("conditions") || has("rate_limit") || has("state") {
                    let message = "a rule that denies every call cannot have conditions, a \
                                   rate_limit or state; a condition that must hold needs no action";
                    reader.error(source.line, message);
                }
                self.deny(reader, source);
            }
            Some("require_approval") => self.require_approval(reader, tool, source),
            Some(other) => {
                let message = format!(
                    "\"action\" must be evaluate, deny or require_approval, found {other:?}"
                );
                reader.error(source.line, message);
            }
        }
    }

    fn deny(&mut self, reader: &mut Reader, source: &Source<'_>) {
        let (_, told) = self.deny.get_or_insert((source.line, None));
        let Some(message) = &source.on_deny else {
            return;
        };
        let told = told.get_or_insert_with(|| message.clone());
        if told != message {
            reader.note(source.line, not_told(message, "does"));
        }
    }

    fn require_approval(&mut self, reader: &mut Reader, tool: &str, source: &Source<'_>) {
        let timeout = get(source.entries, "approval_timeout").filter(|node| !node.is_null());
        let timeout_s = timeout.and_then(|node| {
            let text = reader.text(node, "\"approval_timeout\"")?;
            let seconds = seconds(&text);
            self.place(reader, "approval_timeout", node.line);
            if seconds.is_none() {
                let message = format!(
                    "\"approval_timeout\" must be whole seconds, such as 15m or 1h30m; found {text:?}"
                );
                reader.error(node.line, message);
            }
            seconds
        });
        if let Some(conditions) = get(source.entries, "conditions").filter(|node| !node.is_null()) {
            let message = "the conditions for when to ask are not carried over: every call of the \
                           tool asks for approval";
            reader.note(conditions.line, message);
        }
        if let Some(state) = get(source.entries, "state").filter(|node| !node.is_null()) {
            let message = "the counter of a rule that asks for approval is not carried over";
            reader.note(state.line, message);
        }
        if get(source.entries, "rate_limit").is_some_and(|node| !node.is_null()) {
            self.rate_limit(reader, tool, source);
        }
        if self.approval.is_some() {
            let message = format!(
                "the approval of the rule {:?} is one with that of an earlier rule, whose reason \
                 and timeout stand",
                source.name
            );
            reader.note(source.line, message);
            return;
        }
        self.place(reader, "reason", source.line);
        let reason = source.on_deny.clone();
        self.approval = Some(Approval { reason, timeout_s });
    }

    fn evaluate(&mut self, reader: &mut Reader, tool: &str, source: &Source<'_>) {
        let part = |key| get(source.entries, key).filter(|node| !node.is_null());
        if part("rate_limit").is_some() {
            if part("conditions").is_some() || part("state").is_some() {
                let message = "\"rate_limit\" stands for conditions and state; write it in a rule \
                               of its own";
                reader.error(source.line, message);
            }
            self.rate_limit(reader, tool, source);
            return;
        }
        let counter = part("state").map(|node| (node.line, Counter::read(reader, tool, node)));
        let conditions = part("conditions");
        let conditions = conditions.and_then(|node| reader.list(node, "\"conditions\""));
        let conditions = conditions.unwrap_or_default();
        if conditions.is_empty() {
            let message = format!(
                "the rule {:?} has no condition and does nothing",
                source.name
            );
            reader.error(source.line, message);
        }
        let limits = self.limits.len();
        for condition in conditions {
            let counter = counter.as_ref().and_then(|(_, counter)| counter.as_ref());
            self.condition(reader, tool, source, counter, condition);
        }
        if let Some((line, Some(counter))) = &counter
            && self.limits.len() == limits
        {
            let message = format!(
                "the counter {:?} is counted and nothing limits it; it is left out",
                counter.name
            );
            reader.note(*line, message);
        }
    }

    fn rate_limit(&mut self, reader: &mut Reader, tool: &str, source: &Source<'_>) {
        let node = get(source.entries, "rate_limit");
        if let Some((counter, max)) = node.and_then(|node| limits::rate(reader, tool, node)) {
            self.limit(reader, tool, source, &counter, max);
        }
    }

    fn limit(
        &mut self,
        reader: &mut Reader,
        tool: &str,
        source: &Source<'_>,
        counter: &Counter,
        max: u64,
    ) {
        let limit = counter.limit(max);
        if self
            .limits
            .iter()
            .any(|other| other["counter"] == limit["counter"])
        {
            let message = format!("the counter {:?} is there twice in {tool:?}", counter.name);
            reader.error(source.line, message);
        }
        limits::explain(reader, source.line);
        let part = format!("limits/{}", self.limits.len());
        self.place(reader, &part, source.line);
        self.limits.push(limit);
        if let Some(message) = &source.on_deny {
            self.limit_messages.push((source.line, message.clone()));
        }
    }

    /// This part of the rule comes from that line.
    fn place(&self, reader: &mut Reader, part: &str, line: usize) {
        let pointer = format!("{}/{part}", self.pointer);
        reader.places.push((pointer, line));
    }

    fn finish(mut self, reader: &mut Reader, tool: &str) -> Map<String, Value> {
        let mut rule = Map::new();
        let mut put = |key: &str, value: Option<Value>| {
            rule.extend(value.map(|value| (key.to_owned(), value)));
        };
        put(
            "description",
            text((!self.names.is_empty()).then(|| self.names.join("; "))),
        );
        if let Some((line, reason)) = self.deny.take() {
            reader
                .places
                .push((format!("{}/reason", self.pointer), line));
            if self.approval.is_some() || !self.require.is_empty() || !self.limits.is_empty() {
                let message = format!(
                    "this denies every call of {tool:?}; its other rules are never reached and are \
                     left out"
                );
                reader.note(line, message);
            }
            put("action", Some(json!("deny")));
            put("reason", text(reason));
            return rule;
        }
        // Without them more calls would pass.
        reader.errors.append(&mut self.lost);
        let on_deny = self.limit_message(reader, tool);
        if let Some(approval) = self.approval.take() {
            put("action", Some(json!("require_approval")));
            put("reason", text(approval.reason));
            put("approval_timeout", approval.timeout_s.map(Value::from));
        }
        put("on_deny", text(on_deny));
        put("require", list(self.require));
        put("limits", list(self.limits));
        rule
    }

    /// Limits have no message of their own here, only the whole rule has. It is
    /// carried over where nothing else could be denied with it.
    fn limit_message(&self, reader: &mut Reader, tool: &str) -> Option<String> {
        let (_, first) = self.limit_messages.first()?;
        let alone = self.limits.len() == self.limit_messages.len()
            && self.limit_messages.iter().all(|(_, other)| other == first)
            && self
                .require
                .iter()
                .all(|other| other["on_deny"].is_string());
        if alone {
            let line = self.limit_messages.first().map_or(1, |(line, _)| *line);
            self.place(reader, "on_deny", line);
            return Some(first.clone());
        }
        for (line, message) in &self.limit_messages {
            let message = format!(
                "the message {message:?} is not carried over: {tool:?} has several conditions or \
                 limits, and vmward says which of them denied"
            );
            reader.note(*line, message);
        }
        None
    }
}

fn text(text: Option<String>) -> Option<Value> {
    text.map(Value::String)
}

fn list(items: Vec<Value>) -> Option<Value> {
    (!items.is_empty()).then_some(Value::Array(items))
}

/// A duration as Go writes it, such as `1h30m`, in whole seconds.
fn seconds(text: &str) -> Option<u64> {
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (count, tail) = rest.split_at(digits);
        let unit = tail.chars().next()?;
        let factor = match unit {
            'h' => 3600,
            // `ms` is milliseconds.
            'm' if !tail.starts_with("ms") => 60,
            's' => 1,
            _ => return None,
        };
        let part = count.parse::<u64>().ok()?.checked_mul(factor)?;
        total = total.checked_add(part)?;
        rest = tail.get(unit.len_utf8()..)?;
    }
    (total > 0).then_some(total)
}
