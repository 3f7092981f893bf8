//! Text to [`Policy`], or every mistake in it.

mod condition;
mod contradictions;
mod effect_map;
mod host;
mod hours;
mod limits;
mod read;
mod rule;
mod selector;

use std::collections::BTreeMap;

pub(super) use host::UID_MAX;
pub(super) use limits::{COUNTER_CHARS_MAX, LIMITS_MAX};
pub(super) use read::TEXT_CHARS_MAX;

use super::{
    Action, Hide, Lint, POLICY_BYTES_MAX, Policy, PolicyErrors, Protected, Rule,
    error::Finding,
    host::HostRule,
    json::{self, Node, Value},
    lint,
    names::is_pattern,
};
use crate::{digest, effect::Effect};
use read::{Object, escape, quoted};

/// What helps against an empty list that need not be there.
const LEAVE_OUT: &str = "leave it out";

const TOP_KEYS: [&str; 11] = [
    "$schema",
    "version",
    "default",
    "description",
    "hide",
    "all_tools",
    "tools",
    "effects",
    "protected",
    "effect_map",
    "host_rules",
];

pub(super) fn parse_bytes(
    bytes: &[u8],
    file: &str,
    builtin: BTreeMap<String, HostRule>,
) -> Result<Policy, PolicyErrors> {
    let error = match str::from_utf8(bytes) {
        Ok(text) => return parse(text, file, builtin),
        Err(error) => error,
    };
    // What comes before the first bad byte stands at the same place here.
    let text = String::from_utf8_lossy(bytes);
    let start = error.valid_up_to();
    let finding = Finding {
        start,
        end: start + char::REPLACEMENT_CHARACTER.len_utf8(),
        message: "the text is not UTF-8 here".to_owned(),
        help: Some("save the file as UTF-8".to_owned()),
    };
    Err(PolicyErrors::new(file, &text, vec![finding]))
}

pub(super) fn parse(
    text: &str,
    file: &str,
    builtin: BTreeMap<String, HostRule>,
) -> Result<Policy, PolicyErrors> {
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
        Ok(root) => checker.policy(&root, text, builtin),
        Err(syntax) => {
            checker.findings.push(syntax);
            None
        }
    };
    match policy {
        Some(mut policy) if checker.findings.is_empty() => {
            let mut findings = lint::find(&policy, &checker.places);
            findings.append(&mut checker.warnings);
            let lints = PolicyErrors::new(file, text, findings);
            policy.lints = lints.errors().iter().cloned().map(Lint).collect();
            Ok(policy)
        }
        _ => Err(PolicyErrors::new(file, text, checker.findings).unread(checker.unread)),
    }
}

/// Where things stand: by JSON Pointer, from byte to byte.
pub(super) type Places = BTreeMap<String, (usize, usize)>;

/// Collects mistakes.
#[derive(Default)]
struct Checker {
    findings: Vec<Finding>,
    /// What is right, and hardly what was meant.
    warnings: Vec<Finding>,
    /// Where a lint may want to point.
    places: Places,
    /// The first use of each counter.
    counters: BTreeMap<String, limits::Use>,
    /// How many patterns there are.
    patterns: usize,
    /// How many rules have an `args_schema`.
    schemas: usize,
    /// A pattern or a schema was not compiled: there were mistakes enough.
    unread: bool,
}

impl Checker {
    fn policy(
        &mut self,
        root: &Node,
        text: &str,
        builtin: BTreeMap<String, HostRule>,
    ) -> Option<Policy> {
        let object = self.object(root, "the policy", &TOP_KEYS)?;
        let version = self.required(&object, "version", "\"version\": \"1\"");
        let version = version.and_then(|node| self.word(node, "version", &[("1", ())]));
        let default = self.required(&object, "default", "\"default\": \"deny\"");
        let default = default.and_then(|node| {
            let place = (node.start, node.end);
            self.places.insert("/default".to_owned(), place);
            self.word(node, "default", &[("allow", true), ("deny", false)])
        });
        for key in ["$schema", "description"] {
            object.get(key).and_then(|node| self.string(node, key));
        }
        let hide = object.get("hide").map(|node| self.hide(node));
        let hide = hide.unwrap_or_default();
        let all_tools = object.get("all_tools").and_then(|node| {
            let pointer = "/all_tools".to_owned();
            self.places.insert(pointer.clone(), (node.start, node.end));
            self.rule(node, "\"all_tools\"", pointer.clone(), &pointer)
        });
        let tools = object.get("tools").map(|node| self.tools(node, &hide));
        let effects = object.get("effects").map(|node| self.effect_rules(node));
        let protected = object.get("protected").map(|node| self.protected(node));
        let effect_map = object.get("effect_map").map(|node| self.effect_map(node));
        let host_rules = match object.get("host_rules") {
            Some(node) => self.host_rules(node, builtin),
            None => builtin,
        };
        version?;
        Some(Policy {
            hash: digest::sha256_hex(text.as_bytes()),
            default_allow: default?,
            lints: Vec::new(),
            hide,
            all_tools,
            tools: tools.unwrap_or_default(),
            effects: effects.unwrap_or_default(),
            protected: protected.unwrap_or_default(),
            effect_map: effect_map.unwrap_or_default(),
            host_rules,
        })
    }

    /// `"*"`, or a list of tools, in which `"*"` stands for all.
    fn hide(&mut self, node: &Node) -> Hide {
        self.places
            .insert("/hide".to_owned(), (node.start, node.end));
        let mut hide = Hide::default();
        let is_star = matches!(&node.value, Value::String(text) if text == "*");
        let items = if is_star {
            std::slice::from_ref(node)
        } else {
            self.list(node, "hide")
        };
        for item in items {
            let Some(tool) = self.text(item, "hide") else {
                continue;
            };
            if tool != "*" {
                let help = "name each tool; \"*\" by itself stands for all";
                self.no_pattern(item, "tool", &tool, help);
            }
            let is_new = if tool == "*" {
                !std::mem::replace(&mut hide.all, true)
            } else {
                hide.tools.insert(tool.clone())
            };
            if !is_new {
                let message = format!("{tool:?} is hidden twice");
                self.at_node(item, message, Some("remove one of the two"));
            }
        }
        hide
    }

    fn tools(&mut self, node: &Node, hide: &Hide) -> BTreeMap<String, Rule> {
        let mut tools = BTreeMap::new();
        for member in self.members(node, "\"tools\"").unwrap_or_default() {
            let tool = member.key.as_str();
            if tool.is_empty() || tool == "*" {
                let message = format!("{tool:?} is not the name of a tool");
                let help = "what no rule names is governed by \"default\", and every tool by \
                            \"all_tools\"";
                self.at_key(member, message, Some(help));
            } else if hide.hides(tool) {
                let message =
                    format!("the rule for {tool:?} is never reached: \"hide\" denies the tool");
                let help = "remove it here or from \"hide\"";
                self.at_key(member, message, Some(help));
            } else if is_pattern(tool) {
                let help = "name each tool; \"effects\" governs whatever has an effect, and \
                            \"all_tools\" every tool";
                self.at_key(member, stands_for_itself("tool", tool), Some(help));
            }
            let pointer = format!("/tools/{}", escape(tool));
            let place = (member.key_start, member.key_end);
            self.places.insert(pointer.clone(), place);
            let what = format!("the rule for {tool:?}");
            if let Some(rule) = self.rule(&member.node, &what, pointer, tool) {
                tools.insert(tool.to_owned(), rule);
            }
        }
        tools
    }

    fn effect_rules(&mut self, node: &Node) -> BTreeMap<Effect, Rule> {
        let names = Effect::ALL.map(Effect::name);
        let mut effects = BTreeMap::new();
        for member in self.members(node, "\"effects\"").unwrap_or_default() {
            let name = member.key.as_str();
            let Some(effect) = Effect::ALL.into_iter().find(|effect| effect.name() == name) else {
                let message = format!("unknown effect {name:?}");
                let help = match super::suggest::nearest(name, &names) {
                    Some(word) => format!("did you mean {word:?}?"),
                    None => format!("the effects are {}", quoted(&names)),
                };
                self.at_key(member, message, Some(&help));
                continue;
            };
            let pointer = format!("/effects/{name}");
            let place = (member.key_start, member.key_end);
            self.places.insert(pointer.clone(), place);
            let what = format!("the rule for the effect {name:?}");
            if let Some(rule) = self.rule(&member.node, &what, pointer.clone(), &pointer) {
                effects.insert(effect, rule);
            }
        }
        effects
    }

    fn protected(&mut self, node: &Node) -> Vec<Protected> {
        let keys: Vec<&str> = selector::SELECTOR_KEYS
            .into_iter()
            .chain(["effects"])
            .chain(rule::RULE_KEYS)
            .collect();
        let mut all = Vec::new();
        for (index, item) in self.list(node, "protected").iter().enumerate() {
            let Some(object) = self.object(item, "an entry of \"protected\"", &keys) else {
                continue;
            };
            let pointer = format!("/protected/{index}");
            let place = (item.start, item.end);
            self.places.insert(pointer.clone(), place);
            let vms = self.selector(&object);
            let effects = object
                .get("effects")
                .map(|node| self.effects(node, LEAVE_OUT));
            let rule = self.rule_body(&object, pointer.clone(), &pointer, Action::Deny);
            self.changes_nothing(&object, &rule);
            all.push(Protected {
                vms,
                effects: effects.unwrap_or_default(),
                rule,
            });
        }
        all
    }

    /// A name that looks as if it stood for several, where each stands for itself.
    fn no_pattern(&mut self, node: &Node, what: &str, name: &str, help: &str) {
        if is_pattern(name) {
            self.at_node(node, stands_for_itself(what, name), Some(help));
        }
    }

    fn warn(&mut self, node: &Node, message: String, help: &str) {
        self.warnings.push(Finding {
            start: node.start,
            end: node.end,
            message,
            help: Some(help.to_owned()),
        });
    }

    /// At the opening bracket only: the whole object may be long.
    fn at_open(&mut self, object: &Object<'_>, message: String, help: &str) {
        self.findings.push(Finding {
            start: object.node.start,
            end: object.node.start + 1,
            message,
            help: Some(help.to_owned()),
        });
    }
}

fn stands_for_itself(what: &str, name: &str) -> String {
    format!("{name:?} is one {what}'s name here, and no {what}'s name has \"*\" or \"?\"")
}
