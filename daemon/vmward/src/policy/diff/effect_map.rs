//! What two effect maps say, entry by entry, and in which order.

use std::collections::{BTreeMap, BTreeSet};

use vmward_core::{
    effect::Effect,
    policy::{Policy, map::MapEntry, predicate::Predicate},
};

use super::Says;

/// What each of the two maps says.
pub(super) fn both(old: &Policy, new: &Policy) -> (Says, Says) {
    let (old, new) = (by_tool(old), by_tool(new));
    let (mut before, mut after) = (all(&old), all(&new));
    for (tool, old) in &old {
        let Some(new) = new.get(tool) else { continue };
        // Of the entries that both have, the first that stands elsewhere; what
        // only one of them has is told as such.
        let (in_old, in_new): (BTreeSet<_>, BTreeSet<_>) =
            (old.iter().collect(), new.iter().collect());
        let was = old.iter().filter(|text| in_new.contains(text));
        let is = new.iter().filter(|text| in_old.contains(text));
        if let Some((was, is)) = was.zip(is).find(|(was, is)| was != is) {
            before.insert(format!("{tool}: {was} is looked at before {is}"));
            after.insert(format!("{tool}: {is} is looked at before {was}"));
        }
    }
    (before, after)
}

type ByTool<'a> = BTreeMap<&'a str, Vec<String>>;

/// Each tool's entries in their order, which counts: the first that matches
/// decides. What stands there twice is never reached the second time.
fn by_tool(policy: &Policy) -> ByTool<'_> {
    let mut tools = ByTool::new();
    let mut seen = BTreeSet::new();
    for entry in &policy.effect_map {
        let (tool, text) = (entry.tool.as_str(), describe(entry));
        if seen.insert((tool, text.clone())) {
            tools.entry(tool).or_default().push(text);
        }
    }
    tools
}

fn all(tools: &ByTool<'_>) -> Says {
    let texts = tools.iter().flat_map(|(tool, texts)| {
        let with_tool = move |text| format!("{tool}: {text}");
        texts.iter().map(with_tool)
    });
    texts.collect()
}

/// With its conditions on arguments, which the calls that are tried do not have.
fn describe(entry: &MapEntry) -> String {
    let server = entry.server.iter().map(|server| format!("of {server:?}"));
    let when = entry.when.iter().map(Predicate::describe);
    let vm = entry.vm.iter().map(|path| format!("VM in {}", path.text()));
    let rest: Vec<String> = server.chain(when).chain(vm).collect();
    let effect = entry.effect.map_or("none", Effect::name);
    if rest.is_empty() {
        effect.to_owned()
    } else {
        format!("{effect} ({})", rest.join(", "))
    }
}
