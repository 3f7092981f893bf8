//! Host rules: the built-in ones, changed by the policy's, and the policy's own.

mod deputy;

use std::collections::BTreeMap;

use super::{
    Checker, LEAVE_OUT,
    read::{Object, escape},
    selector::SELECTOR_KEYS,
};
use crate::policy::{
    RuleMode,
    error::Finding,
    host::{HostRule, Who},
    json::{Member, Node, Value},
    names::{check_unit, is_pattern},
    selector::Selector,
    suggest,
};

const HOST_KEYS: [&str; 9] = [
    "enabled", "unit", "uid", "exe", "effects", "vms", "limits", "mode", "reason",
];
const WHO_KEYS: [&str; 3] = ["unit", "uid", "exe"];
const EFFECTS_EXAMPLE: &str = "\"effects\": [\"stop\"] or \"all\"";
/// The last number means "no user".
pub(in crate::policy) const UID_MAX: u32 = u32::MAX - 1;

impl Checker {
    /// `rules`: the built-in ones.
    pub(super) fn host_rules(
        &mut self,
        node: &Node,
        mut rules: BTreeMap<String, HostRule>,
    ) -> BTreeMap<String, HostRule> {
        let members = self.members(node, "\"host_rules\"").unwrap_or_default();
        let builtin: Vec<String> = rules.keys().cloned().collect();
        for member in members {
            if self.is_misspelt(member, members, &builtin) {
                continue;
            }
            if member.key.trim().is_empty() {
                self.at_key(member, "a host rule has no name".to_owned(), None);
            }
            let builtin = rules.get(&member.key).cloned();
            if let Some(rule) = self.host_rule(member, builtin) {
                rules.insert(member.key.clone(), rule);
            }
        }
        self.unreachable_host_rules(members, &rules);
        rules
    }

    /// Is a built-in rule meant? One that has what a rule of its own needs is taken
    /// for such a one, and a warning.
    fn is_misspelt(&mut self, member: &Member, all: &[Member], builtin: &[String]) -> bool {
        let name = &member.key;
        let names: Vec<&str> = builtin.iter().map(String::as_str).collect();
        let Some(near) = suggest::nearest(name, &names).filter(|near| near != name) else {
            return false;
        };
        let Value::Object(keys) = &member.node.value else {
            return false;
        };
        if all.iter().any(|other| other.key == near) {
            return false;
        }
        let has = |key: &str| keys.iter().any(|member| member.key == key);
        let help = format!("did you mean {near:?}?");
        if has("effects") && WHO_KEYS.into_iter().any(has) {
            let message = format!(
                "the host rule {name:?} is one of its own, and the built-in {near:?} stays as it is"
            );
            self.warnings.push(Finding {
                start: member.key_start,
                end: member.key_end,
                message,
                help: Some(help),
            });
            return false;
        }
        let message =
            format!("there is no built-in host rule {name:?}, and a new one says who may do what");
        self.at_key(member, message, Some(&help));
        true
    }

    fn host_rule(&mut self, member: &Member, builtin: Option<HostRule>) -> Option<HostRule> {
        let what = format!("the host rule {:?}", member.key);
        let object = self.object(&member.node, &what, &HOST_KEYS)?;
        let pointer = format!("/host_rules/{}", escape(&member.key));
        self.places
            .insert(pointer.clone(), (member.key_start, member.key_end));
        if builtin.is_none() {
            self.required(&object, "effects", EFFECTS_EXAMPLE);
            if !WHO_KEYS.iter().any(|key| object.get(key).is_some()) {
                let message = format!("{what} says for nobody");
                let help = "add \"unit\", \"uid\" or \"exe\"";
                self.at_open(&object, message, help);
            }
        }
        let no_effects = match builtin {
            Some(_) => LEAVE_OUT.to_owned(),
            None => format!("write {EFFECTS_EXAMPLE}"),
        };
        let mut rule = builtin.unwrap_or(HostRule {
            pointer: String::new(),
            enabled: true,
            who: Who::default(),
            effects: Vec::new(),
            vms: Vec::new(),
            limits: Vec::new(),
            mode: RuleMode::Enforce,
            reason: None,
        });
        if let Some(node) = object.get("enabled") {
            rule.enabled = self.truth(node, "enabled")?;
        }
        self.who(&object, &mut rule.who);
        if let Some(node) = object.get("effects") {
            rule.effects = self.effects(node, &no_effects);
        }
        if let Some(node) = object.get("vms") {
            rule.vms = self.selectors(node);
        }
        if object.get("limits").is_some() {
            rule.limits = self.limits(&object, &pointer, &member.key);
        }
        if object.get("mode").is_some() {
            rule.mode = self.mode(&object, &pointer);
        }
        if let Some(node) = object.get("reason") {
            rule.reason = self.text(node, "reason");
        }
        Some(HostRule { pointer, ..rule })
    }

    /// Each key that is there replaces what the rule had of that kind.
    fn who(&mut self, object: &Object<'_>, who: &mut Who) {
        if let Some(node) = object.get("unit") {
            who.units = self.each(node, "unit", Self::unit);
        }
        if let Some(node) = object.get("uid") {
            who.uids = self.each(node, "uid", Self::uid);
        }
        if let Some(node) = object.get("exe") {
            who.exes = self.each(node, "exe", Self::exe);
        }
    }

    fn each<T>(
        &mut self,
        node: &Node,
        key: &str,
        mut read: impl FnMut(&mut Self, &Node) -> Option<T>,
    ) -> Vec<T> {
        let items = self.one_or_more(node, key, LEAVE_OUT);
        items.iter().filter_map(|item| read(self, item)).collect()
    }

    fn uid(&mut self, item: &Node) -> Option<u32> {
        let uid = self.number(item, "uid", &(0..=UID_MAX), None)?;
        if uid != 0 {
            return Some(uid);
        }
        let message =
            "uid 0 would let every process of root pass, and libvirtd for whoever asks it";
        let help = "name the unit or the program instead";
        self.at_node(item, message.to_owned(), Some(help));
        None
    }

    fn unit(&mut self, item: &Node) -> Option<String> {
        let unit = self.text(item, "unit")?;
        if let Err((message, help)) = check_unit(&unit) {
            self.at_node(item, message, Some(&help));
            return None;
        }
        self.no_deputy(item, unit)
    }

    fn exe(&mut self, item: &Node) -> Option<String> {
        let exe = self.text(item, "exe")?;
        if exe.starts_with('/') {
            if is_pattern(&exe) {
                let message = format!("\"exe\" is one path: {exe:?} stands for itself");
                self.warn(item, message, "name each program");
            }
            return self.no_deputy(item, exe);
        }
        let message = format!("\"exe\" must be a whole path, found {exe:?}");
        let help = "write it from the root, such as \"/usr/sbin/sanlock\"";
        self.at_node(item, message, Some(help));
        None
    }

    /// The unit or program, unless it acts for others.
    fn no_deputy(&mut self, item: &Node, name: String) -> Option<String> {
        if !deputy::is_one(&name) {
            return Some(name);
        }
        let message =
            format!("{name} acts for whoever asks it: a rule for it would let everybody pass");
        self.at_node(item, message, Some("name the one who asks"));
        None
    }

    fn selectors(&mut self, node: &Node) -> Vec<Selector> {
        let items = self.list(node, "vms");
        if items.is_empty() && matches!(node.value, Value::Array(_)) {
            let help = "leave it out: without it the rule is for every VM";
            self.at_node(node, "\"vms\" is empty".to_owned(), Some(help));
        }
        let mut selectors = Vec::new();
        for item in items {
            if let Some(object) = self.object(item, "an entry of \"vms\"", &SELECTOR_KEYS) {
                selectors.push(self.selector(&object));
            }
        }
        selectors
    }

    /// Of two rules for the same callers, effects and VMs only the first by name
    /// is ever asked.
    fn unreachable_host_rules(&mut self, members: &[Member], rules: &BTreeMap<String, HostRule>) {
        let mut first: BTreeMap<String, &str> = BTreeMap::new();
        for (name, rule) in rules.iter().filter(|(_, rule)| rule.enabled) {
            let mut effects = rule.effects.clone();
            effects.sort_unstable();
            let same = format!("{:?} {effects:?} {:?}", rule.who, rule.vms);
            let Some(other) = first.get(&same) else {
                first.insert(same, name);
                continue;
            };
            let place = |name: &str| members.iter().find(|member| member.key == name);
            // One of the two is the policy's: no two built-in ones are the same.
            let Some(member) = place(name).or_else(|| place(other)) else {
                continue;
            };
            let message = format!(
                "the host rule {name:?} is never reached: {other:?} is for the same callers, \
                 effects and VMs"
            );
            self.at_key(member, message, Some("remove one of the two"));
        }
    }
}
