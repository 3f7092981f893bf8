//! Which tool has which effect.

use std::collections::BTreeMap;

use super::{
    Checker, LEAVE_OUT,
    condition::{Seen, root},
};
use crate::{
    effect::Effect,
    policy::{
        json::{Node, Value},
        map::MapEntry,
        predicate::{Path, Predicate},
    },
};

const ENTRY_KEYS: [&str; 5] = ["server", "tool", "when", "effect", "vm"];
/// What a call stops is only known after the map was asked.
const UNKNOWN_YET: [&str; 2] = ["vm", "effect"];

/// Entries without `when`, by tool and server: nothing comes to what follows.
type Final = BTreeMap<(String, Option<String>), String>;

impl Checker {
    pub(super) fn effect_map(&mut self, node: &Node) -> Vec<MapEntry> {
        let mut entries = Vec::new();
        let mut last = Final::new();
        for (index, item) in self.list(node, "effect_map").iter().enumerate() {
            let pointer = format!("/effect_map/{index}");
            let Some(entry) = self.map_entry(item, pointer) else {
                continue;
            };
            let any = last.get(&(entry.tool.clone(), None));
            let same = last.get(&(entry.tool.clone(), entry.server.clone()));
            if let Some(first) = any.or(same) {
                let message = format!(
                    "this entry is never reached: {first} has no \"when\" and takes every call of {:?}",
                    entry.tool
                );
                let help = "put it before the other entry, or remove one of the two";
                self.at_node(item, message, Some(help));
            } else if is_final(item) {
                let key = (entry.tool.clone(), entry.server.clone());
                last.insert(key, entry.pointer.clone());
            }
            entries.push(entry);
        }
        entries
    }

    fn map_entry(&mut self, item: &Node, pointer: String) -> Option<MapEntry> {
        let object = self.object(item, "an entry of \"effect_map\"", &ENTRY_KEYS)?;
        self.places.insert(pointer.clone(), (item.start, item.end));
        let server = object.get("server").map(|node| {
            let server = self.text(node, "server")?;
            self.no_pattern(
                node,
                "server",
                &server,
                "leave \"server\" out for every server",
            );
            Some(server)
        });
        let tool = self.required(
            &object,
            "tool",
            "the tool's exact name, such as \"tool\": \"stop_vm\"",
        );
        let tool = tool.and_then(|node| {
            let help = "name the tool exactly, such as \"tool\": \"stop_vm\"";
            let tool = self.text_or(node, "tool", help)?;
            self.no_pattern(
                node,
                "tool",
                &tool,
                "name each tool, in an entry of its own",
            );
            Some(tool)
        });
        let when = self.predicates(&object, "when", &pointer, &mut Seen::default());
        if let Some(node) = object.get("when") {
            self.known_before_the_map(node, &when);
        }
        self.never_matches(&object, &when);
        let example = "what the call does, such as \"effect\": \"stop\", or \"none\"";
        let effect = self.required(&object, "effect", example);
        let mut words: Vec<(&str, Option<Effect>)> = Effect::ALL
            .iter()
            .map(|effect| (effect.name(), Some(*effect)))
            .collect();
        words.push(("none", None));
        let effect = effect.and_then(|node| self.word(node, "effect", &words));
        let vm = object.get("vm").map(|node| self.vm_paths(node));
        Some(MapEntry {
            pointer,
            server: match server {
                Some(server) => Some(server?),
                None => None,
            },
            tool: tool?,
            when,
            effect: effect?,
            vm: vm.unwrap_or_default(),
        })
    }

    fn known_before_the_map(&mut self, node: &Node, when: &[Predicate]) {
        for predicate in when {
            let root = root(predicate.path.text());
            if UNKNOWN_YET.contains(&root) {
                let message = format!(
                    "{:?} is not known yet where \"when\" is judged",
                    predicate.path.text()
                );
                let help = "use \"args\", \"server\" or \"caller\"";
                self.at_node(node, message, Some(help));
            }
        }
    }

    fn vm_paths(&mut self, node: &Node) -> Vec<Path> {
        let mut paths: Vec<Path> = Vec::new();
        for item in self.one_or_more(node, "vm", LEAVE_OUT) {
            paths.extend(self.args_path(item, "vm"));
        }
        paths
    }
}

/// Judged by the text: a `when` that could not be read is not none.
fn is_final(item: &Node) -> bool {
    let Value::Object(members) = &item.value else {
        return false;
    };
    let when = members.iter().find(|member| member.key == "when");
    when.is_none_or(|when| matches!(&when.node.value, Value::Array(items) if items.is_empty()))
}
