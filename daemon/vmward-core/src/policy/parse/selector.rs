//! Which VMs, and which effects.

use std::collections::BTreeMap;

use super::{Checker, read::Object};
use crate::{
    effect::Effect,
    policy::{
        json::{Node, Value},
        names::is_pattern,
        selector::Selector,
    },
};

pub(super) const SELECTOR_KEYS: [&str; 3] = ["uuid", "name", "metadata"];

impl Checker {
    /// The keys of a selector, in an object that may have others too.
    pub(super) fn selector(&mut self, object: &Object<'_>) -> Selector {
        if !SELECTOR_KEYS.iter().any(|key| object.get(key).is_some()) {
            let message = format!("{} picks no VM by anything", object.what);
            let help = "add \"uuid\", \"name\" or \"metadata\"; \"name\": \"*\" picks every VM";
            self.at_open(object, message, help);
        }
        let uuid = object.get("uuid").and_then(|node| {
            let text = self.string(node, "uuid")?;
            text.parse()
                .map_err(|error| self.at_node(node, format!("{error}"), None))
                .ok()
        });
        let name = object.get("name").and_then(|node| self.text(node, "name"));
        let labels = object.get("metadata").map(|node| self.labels(node));
        Selector {
            uuid,
            name,
            labels: labels.unwrap_or_default(),
        }
    }

    fn labels(&mut self, node: &Node) -> BTreeMap<String, String> {
        let members = self.members(node, "\"metadata\"").unwrap_or_default();
        if members.is_empty() && matches!(node.value, Value::Object(_)) {
            let message = "\"metadata\" is empty".to_owned();
            self.at_node(
                node,
                message,
                Some("add a label, such as \"tier\": \"prod\""),
            );
        }
        let mut labels = BTreeMap::new();
        for member in members {
            if let Some(text) = self.string(&member.node, &member.key) {
                if is_pattern(text) {
                    let message =
                        format!("a label is compared as a whole: {text:?} stands for itself");
                    self.warn(
                        &member.node,
                        message,
                        "write the whole of each text, in an entry of its own",
                    );
                }
                labels.insert(member.key.clone(), text.to_owned());
            }
        }
        labels
    }

    /// `"all"`, an effect, or a list of effects; `help` for a list of none.
    pub(super) fn effects(&mut self, node: &Node, help: &str) -> Vec<Effect> {
        if matches!(&node.value, Value::String(text) if text == "all") {
            return Effect::ALL.to_vec();
        }
        let words = Effect::ALL.map(|effect| (effect.name(), effect));
        let mut effects = Vec::new();
        for item in self.one_or_more(node, "effects", help) {
            let Some(effect) = self.word(item, "effects", &words) else {
                continue;
            };
            if effects.contains(&effect) {
                let message = format!("the effect {:?} is there twice", effect.name());
                self.at_node(item, message, Some("remove one of the two"));
            } else {
                effects.push(effect);
            }
        }
        effects
    }
}
