//! Text to [`Policy`], or every mistake in it.

use std::collections::BTreeMap;

use super::{
    Action, LIMIT_MAX, LimitRule, POLICY_BYTES_MAX, Policy, PolicyErrors, Rule, Scope, Window,
    error::Finding,
    json::{self, Member, Node, Value},
    rule::Increment,
    suggest,
};
use crate::digest;

const TOP_KEYS: [&str; 3] = ["version", "default", "tools"];
const TOOL_KEYS: [&str; 1] = ["limits"];
const LIMIT_KEYS: [&str; 4] = ["counter", "window", "max", "scope"];
/// Keys of the wider schema, which mean something to other gateways: taking
/// them for unknown words would send the author looking for a misspelling.
const LATER_KEYS: [&str; 9] = [
    "hide",
    "all_tools",
    "require",
    "deny_if",
    "on_deny",
    "action",
    "rate_limit",
    "reason",
    "description",
];

pub(super) fn parse(text: &str, file: &str) -> Result<Policy, PolicyErrors> {
    if text.len() > POLICY_BYTES_MAX {
        let message = format!(
            "the policy has {} bytes; at most {POLICY_BYTES_MAX} are read",
            text.len()
        );
        let finding = Finding {
            start: 0,
            end: 0,
            message,
            help: None,
        };
        return Err(PolicyErrors::new(file, text, vec![finding]));
    }
    let mut checker = Checker::default();
    let policy = match json::read(text, &mut checker.findings) {
        Ok(root) => checker.policy(&root, text),
        Err(syntax) => {
            checker.findings.push(syntax);
            None
        }
    };
    match policy {
        Some(policy) if checker.findings.is_empty() => Ok(policy),
        _ => Err(PolicyErrors::new(file, text, checker.findings)),
    }
}

/// Collects mistakes. Each method returns `None` after it has reported why.
#[derive(Default)]
struct Checker {
    findings: Vec<Finding>,
    /// The first use of each counter: its window and where it stands.
    counters: BTreeMap<String, (Window, String)>,
}

impl Checker {
    fn policy(&mut self, root: &Node, text: &str) -> Option<Policy> {
        let members = self.object(root, "the policy")?;
        self.known_keys(members, &TOP_KEYS, "the policy");
        let version = self.required(root, members, "version", "the policy");
        let version = version.and_then(|node| self.word(node, "version", &[("1", ())]));
        let default = self.required(root, members, "default", "the policy");
        let default = default
            .and_then(|node| self.word(node, "default", &[("allow", true), ("deny", false)]));
        let tools = self.required(root, members, "tools", "the policy");
        let tools = tools.and_then(|node| self.tools(node));
        version?;
        Some(Policy {
            hash: digest::sha256_hex(text.as_bytes()),
            default_allow: default?,
            tools: tools?,
            lints: Vec::new(),
            hide: super::Hide::default(),
            all_tools: None,
            effects: BTreeMap::new(),
            protected: Vec::new(),
            effect_map: Vec::new(),
            host_rules: BTreeMap::new(),
        })
    }

    fn tools(&mut self, node: &Node) -> Option<BTreeMap<String, Rule>> {
        let mut tools = BTreeMap::new();
        for member in self.object(node, "\"tools\"")? {
            if member.key.is_empty() || member.key == "*" {
                let message = format!("{:?} is not the name of a tool", member.key);
                let help = "what no rule names is governed by \"default\"";
                self.at_key(member, message, Some(help));
            }
            let pointer = format!("/tools/{}", escape(&member.key));
            if let Some(rule) = self.tool(member, pointer) {
                tools.insert(member.key.clone(), rule);
            }
        }
        Some(tools)
    }

    fn tool(&mut self, tool: &Member, pointer: String) -> Option<Rule> {
        let what = format!("the rule for {:?}", tool.key);
        let members = self.object(&tool.node, &what)?;
        self.known_keys(members, &TOOL_KEYS, &what);
        let mut limits: Vec<LimitRule> = Vec::new();
        let Some(list) = find(members, "limits") else {
            return Some(Rule {
                limits,
                ..Rule::new(pointer, Action::Allow)
            });
        };
        let Value::Array(entries) = &list.node.value else {
            let message = format!(
                "\"limits\" must be an array, found {}",
                list.node.value.kind()
            );
            self.at_node(&list.node, message, Some("write [ ... ] around the limit"));
            return None;
        };
        for (index, item) in entries.iter().enumerate() {
            let Some(limit) = self.limit(item, format!("{pointer}/limits/{index}")) else {
                continue;
            };
            if limits.iter().any(|other| other.counter == limit.counter) {
                let message = format!(
                    "the counter {:?} is there twice in the limits of {:?}",
                    limit.counter, tool.key
                );
                let help = "give each limit of a tool a counter of its own";
                self.at_member(item, "counter", message, help);
            }
            limits.push(limit);
        }
        Some(Rule {
            limits,
            ..Rule::new(pointer, Action::Allow)
        })
    }

    fn limit(&mut self, item: &Node, pointer: String) -> Option<LimitRule> {
        let members = self.object(item, "a limit")?;
        self.known_keys(members, &LIMIT_KEYS, "a limit");
        let counter = self.required(item, members, "counter", "a limit");
        let counter = counter.and_then(|node| self.counter(node));
        let window = self.required(item, members, "window", "a limit");
        let windows = ["minute", "hour", "day"].map(|word| (word, Window::from_word(word)));
        let window = window
            .and_then(|node| self.word(node, "window", &windows))
            .flatten();
        let max = self
            .required(item, members, "max", "a limit")
            .and_then(|node| self.max(node));
        let scope = self.required(item, members, "scope", "a limit");
        let scope = scope.and_then(|node| self.word(node, "scope", &[("grant", Scope::Grant)]));
        let (counter, window) = (counter?, window?);
        match self.counters.get(&counter) {
            Some((other, place)) if *other != window => {
                let message = format!(
                    "the counter {counter:?} has the window {} here and {} in {place}",
                    window.text(),
                    other.text()
                );
                let help = "use two counters: one counter counts over one window";
                self.at_member(item, "window", message, help);
            }
            Some(_) => {}
            None => {
                self.counters
                    .insert(counter.clone(), (window, pointer.clone()));
            }
        }
        Some(LimitRule {
            pointer,
            counter,
            window,
            max: max?,
            scope: scope?,
            increment: Increment::Fixed(1),
        })
    }

    fn counter(&mut self, node: &Node) -> Option<String> {
        match &node.value {
            Value::String(name) if !name.trim().is_empty() => Some(name.clone()),
            Value::String(_) => {
                let help = "name it after what it counts, such as \"vm_stop_rate\"";
                self.at_node(node, "the counter has no name".to_owned(), Some(help));
                None
            }
            other => {
                let message = format!("\"counter\" must be a string, found {}", other.kind());
                self.at_node(node, message, None);
                None
            }
        }
    }

    fn max(&mut self, node: &Node) -> Option<u32> {
        let number = match &node.value {
            Value::Number(text) => text.parse().ok(),
            _ => None,
        };
        let max = number.filter(|max| (1..=LIMIT_MAX).contains(max));
        if max.is_none() {
            let message = format!(
                "\"max\" must be a whole number from 1 to {LIMIT_MAX}, found {}",
                node.value.kind()
            );
            let is_zero = matches!(&node.value, Value::Number(text) if text == "0");
            let help = "to forbid a tool, leave it out and set \"default\" to \"deny\"";
            self.at_node(node, message, is_zero.then_some(help));
        }
        max
    }

    /// A string that must be one of a few words.
    fn word<T: Copy>(&mut self, node: &Node, key: &str, words: &[(&str, T)]) -> Option<T> {
        if let Value::String(text) = &node.value
            && let Some((_, meaning)) = words.iter().find(|(word, _)| word == text)
        {
            return Some(*meaning);
        }
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let listed: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
        let message = format!(
            "{key:?} must be {}, found {}",
            listed.join(" or "),
            node.value.kind()
        );
        let guess = match &node.value {
            Value::String(text) => suggest::nearest(text, &names),
            Value::Number(text) => names.iter().copied().find(|name| name == text),
            _ => None,
        };
        let help = match (&node.value, key) {
            (Value::Number(seconds), "window") => window_of(seconds).map(ToOwned::to_owned),
            _ => guess.map(|word| format!("did you mean {word:?}?")),
        };
        self.at_node(node, message, help.as_deref());
        None
    }

    fn object<'a>(&mut self, node: &'a Node, what: &str) -> Option<&'a [Member]> {
        if let Value::Object(members) = &node.value {
            return Some(members);
        }
        let message = format!("{what} must be an object, found {}", node.value.kind());
        self.at_node(node, message, None);
        None
    }

    fn required<'a>(
        &mut self,
        node: &Node,
        members: &'a [Member],
        key: &str,
        what: &str,
    ) -> Option<&'a Node> {
        let found = find(members, key).map(|member| &member.node);
        if found.is_none() {
            let message = format!("{what} lacks the key {key:?}");
            // Point at the opening bracket only: the whole object may be long.
            self.findings.push(Finding {
                start: node.start,
                end: node.start + 1,
                message,
                help: Some(format!("add {}", example(key))),
            });
        }
        found
    }

    fn known_keys(&mut self, members: &[Member], known: &[&str], what: &str) {
        for member in members
            .iter()
            .filter(|member| !known.contains(&member.key.as_str()))
        {
            let key = member.key.as_str();
            if LATER_KEYS.contains(&key) {
                let help = match key {
                    "rate_limit" => {
                        "write \"limits\": [{\"counter\": ..., \"window\": \"minute\", \
                         \"max\": 10, \"scope\": \"grant\"}]"
                    }
                    "action" => "leave the tool out and let \"default\" decide",
                    _ => "remove it; the policy is refused rather than enforced in part",
                };
                self.at_key(member, format!("{key:?} is not supported yet"), Some(help));
                continue;
            }
            let help = match suggest::nearest(key, known) {
                Some(word) => format!("did you mean {word:?}?"),
                None => format!("{what} knows {}", quoted(known)),
            };
            self.at_key(
                member,
                format!("unknown key {key:?} in {what}"),
                Some(&help),
            );
        }
    }

    fn at_key(&mut self, member: &Member, message: String, help: Option<&str>) {
        let (start, end) = (member.key_start, member.key_end);
        self.findings.push(Finding {
            start,
            end,
            message,
            help: help.map(ToOwned::to_owned),
        });
    }

    fn at_node(&mut self, node: &Node, message: String, help: Option<&str>) {
        let (start, end) = (node.start, node.end);
        self.findings.push(Finding {
            start,
            end,
            message,
            help: help.map(ToOwned::to_owned),
        });
    }

    /// At the value of a member, or at the object where it has no such member.
    fn at_member(&mut self, item: &Node, key: &str, message: String, help: &str) {
        let member = match &item.value {
            Value::Object(members) => find(members, key).map(|member| &member.node),
            _ => None,
        };
        self.at_node(member.unwrap_or(item), message, Some(help));
    }
}

/// The words in quotes, with commas between them.
fn quoted(words: &[&str]) -> String {
    words
        .iter()
        .map(|word| format!("{word:?}"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn find<'a>(members: &'a [Member], key: &str) -> Option<&'a Member> {
    members.iter().find(|member| member.key == key)
}

/// Other gateways give windows in seconds.
fn window_of(seconds: &str) -> Option<&'static str> {
    match seconds {
        "60" => Some("60 seconds are \"minute\""),
        "3600" => Some("3600 seconds are \"hour\""),
        "86400" => Some("86400 seconds are \"day\""),
        _ => None,
    }
}

fn example(key: &str) -> &'static str {
    match key {
        "version" => "\"version\": \"1\"",
        "default" => "\"default\": \"deny\"",
        "tools" => "\"tools\": {}",
        "counter" => "a name, such as \"counter\": \"vm_stop_rate\"",
        "window" => "\"window\": \"minute\", \"hour\" or \"day\"",
        "max" => "a number, such as \"max\": 10",
        _ => "\"scope\": \"grant\"",
    }
}

/// A key as one step of a JSON Pointer.
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
