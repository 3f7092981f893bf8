//! A schema as a graph: which of its parts are asked about the same value, and
//! which about the values inside it. What a reference leads to is settled here.

use std::collections::{BTreeMap, BTreeSet};

use jsonschema::paths::Location;
use serde_json::Value;

use super::{Mistake, keywords};
use crate::policy::pattern;

/// Most times that parts of a schema are asked about one and the same value.
pub(super) const ASKED_MAX: u64 = 10_000;
/// As many entries of a list, such as `enum`, are compared in one step.
const ENTRIES_A_STEP: usize = 16;
/// With `unevaluatedProperties`, an `if` is asked again for what depends on it;
/// beyond as many the validator goes another way.
const IF_AGAIN: u64 = 64;

/// Part of a schema that is a schema itself, by its number in [`Graph::parts`].
#[derive(Debug, Default)]
pub(super) struct Part {
    /// Steps that its own keywords take for one value.
    pub(super) steps: u64,
    /// Size of the patterns that a text is matched with.
    pub(super) pattern: u64,
    /// Size of those that each member's name is matched with.
    pub(super) name_pattern: u64,
    /// Compares the items of an array with each other.
    pub(super) compares: bool,
    /// Asked about the same value, and how often.
    pub(super) same: Vec<(usize, u64)>,
    /// Asked about the member of that name.
    pub(super) named: BTreeMap<String, usize>,
    /// Asked about each other member.
    pub(super) unnamed: Vec<usize>,
    /// Asked about each member.
    pub(super) members: Vec<usize>,
    /// Asked about each member's name.
    pub(super) names: Vec<usize>,
    /// Asked about the item at that place.
    pub(super) prefix: Vec<usize>,
    /// Asked about each item behind those.
    pub(super) rest: Vec<usize>,
    /// Asked about each item.
    pub(super) items: Vec<usize>,
}

/// All parts; each comes before those that it asks about the same value.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) parts: Vec<Part>,
    /// The whole schema.
    pub(super) root: usize,
}

impl Graph {
    /// `schema` has no wrong keyword. The error says where a reference leads
    /// nowhere or back to itself, and where one value would take too long.
    pub(super) fn of(schema: &Value) -> Result<Self, Vec<Mistake>> {
        let mut builder = Builder::default();
        builder.add(schema, &Location::new());
        builder.refer();
        builder.ask_again();
        let order = order(&builder.parts);
        if order.len() < builder.parts.len() {
            builder.tell_rings(&order);
        }
        if builder.mistakes.is_empty() {
            builder.tell_heavy(&order);
        }
        if !builder.mistakes.is_empty() {
            return Err(builder.mistakes);
        }
        Ok(builder.sorted(&order))
    }
}

struct Reference {
    from: usize,
    target: String,
    place: Location,
    to: Option<usize>,
}

/// The whole schema is its part 0.
#[derive(Default)]
struct Builder {
    parts: Vec<Part>,
    places: Vec<Location>,
    by_pointer: BTreeMap<String, usize>,
    anchors: BTreeMap<String, usize>,
    references: Vec<Reference>,
    /// Parts with `unevaluatedProperties` or `unevaluatedItems`.
    unevaluated: Vec<usize>,
    /// Parts that are an `if`.
    conditions: BTreeSet<usize>,
    mistakes: Vec<Mistake>,
}

impl Builder {
    fn add(&mut self, schema: &Value, place: &Location) -> usize {
        let part = self.parts.len();
        self.parts.push(Part {
            steps: 1,
            ..Part::default()
        });
        self.places.push(place.clone());
        self.by_pointer.insert(place.as_str().to_owned(), part);
        for (key, value) in schema.as_object().into_iter().flatten() {
            self.keyword(part, key, value, &place.join(key));
        }
        part
    }

    fn keyword(&mut self, part: usize, key: &str, value: &Value, place: &Location) {
        let mut below = Vec::new();
        for (name, schema, place) in keywords::schemas(key, value, place) {
            below.push((name, self.add(schema, &place)));
        }
        if key == "if" {
            self.conditions.extend(below.iter().map(|(_, below)| below));
        }
        if key.starts_with("unevaluated") {
            self.unevaluated.push(part);
        }
        let own = &mut self.parts[part];
        own.steps = own.steps.saturating_add(count(below.len()));
        if key == "patternProperties" {
            let sizes = below.iter().map(|(name, _)| pattern::size(name));
            own.name_pattern = sizes.fold(0, u64::saturating_add);
        }
        let numbers = below.iter().map(|(_, below)| *below);
        match key {
            "allOf" | "anyOf" | "oneOf" | "not" | "if" | "then" | "else" | "dependentSchemas" => {
                own.same.extend(numbers.map(|below| (below, 1)));
            }
            "properties" => own.named.extend(below),
            "additionalProperties" => own.unnamed.extend(numbers),
            "patternProperties" | "unevaluatedProperties" => own.members.extend(numbers),
            "propertyNames" => own.names.extend(numbers),
            "pattern" => own.pattern = value.as_str().map_or(0, pattern::size),
            "prefixItems" => own.prefix.extend(numbers),
            "items" => own.rest.extend(numbers),
            "contains" | "unevaluatedItems" => own.items.extend(numbers),
            "uniqueItems" => own.compares = value == &Value::Bool(true),
            "enum" | "const" | "required" | "dependentRequired" => {
                let steps = count(entries(value) / ENTRIES_A_STEP);
                own.steps = own.steps.saturating_add(steps);
            }
            "$ref" => self.references.push(Reference {
                from: part,
                target: value.as_str().unwrap_or_default().to_owned(),
                place: place.clone(),
                to: None,
            }),
            "$anchor" => self.anchor(part, value, place),
            // "#/..." below it would lead somewhere else.
            "$id" if part > 0 => {
                let message = "\"$id\" stands at the top of a schema only; remove it here";
                self.mistakes.push(Mistake::at(place, message.to_owned()));
            }
            _ => {}
        }
    }

    fn anchor(&mut self, part: usize, value: &Value, place: &Location) {
        let name = value.as_str().unwrap_or_default().to_owned();
        let message = format!("{name:?} is the \"$anchor\" of another part already");
        if self.anchors.insert(name, part).is_some() {
            self.mistakes.push(Mistake::at(place, message));
        }
    }

    /// Follows every reference.
    fn refer(&mut self) {
        for reference in &mut self.references {
            let target = reference.target.strip_prefix('#').unwrap_or_default();
            let target = percent_decoded(target);
            let found = match target.as_str() {
                "" => Some(0),
                pointer if pointer.starts_with('/') => self.by_pointer.get(pointer).copied(),
                anchor => self.anchors.get(anchor).copied(),
            };
            reference.to = found;
            if let Some(to) = found {
                self.parts[reference.from].same.push((to, 1));
            } else {
                let message = format!(
                    "there is no schema at {:?}; write it as \"#/$defs/...\"",
                    reference.target
                );
                self.mistakes.push(Mistake::at(&reference.place, message));
            }
        }
    }

    /// Whoever wants to know what nothing has looked at yet asks again all that
    /// looked at the same value, and what those asked.
    fn ask_again(&mut self) {
        let mut again: BTreeMap<usize, usize> = BTreeMap::new();
        let mut wanted = self.unevaluated.clone();
        while let Some(part) = wanted.pop() {
            if again.contains_key(&part) {
                continue;
            }
            wanted.extend(self.parts[part].same.iter().map(|(below, _)| *below));
            again.insert(part, self.parts.len());
            self.places.push(self.places[part].clone());
            self.parts.push(Part::default());
        }
        for (part, own) in &again {
            let of = &self.parts[*part];
            let mut same = Vec::new();
            for (below, times) in &of.same {
                let more = if self.conditions.contains(below) {
                    IF_AGAIN
                } else {
                    1
                };
                same.push((*below, times.saturating_mul(more)));
                same.extend(again.get(below).map(|below| (*below, *times)));
            }
            let (members, items) = (of.members.clone(), of.items.clone());
            self.parts[*own] = Part {
                steps: 1,
                same,
                members,
                items,
                name_pattern: of.name_pattern,
                ..Part::default()
            };
        }
        for part in std::mem::take(&mut self.unevaluated) {
            self.parts[part].same.push((again[&part], 1));
        }
    }

    /// Parts that ask themselves about the same value; the validator takes that
    /// for a yes.
    fn tell_rings(&mut self, order: &[usize]) {
        let mut ring: BTreeSet<usize> = (0..self.parts.len()).collect();
        for part in order {
            ring.remove(part);
        }
        loop {
            let leads_on = |part: &usize| {
                let mut same = self.parts[*part].same.iter();
                same.any(|(below, _)| ring.contains(below))
            };
            let kept: BTreeSet<usize> = ring.iter().copied().filter(leads_on).collect();
            if kept.len() == ring.len() {
                break;
            }
            ring = kept;
        }
        for reference in &self.references {
            let is_in = |part: usize| ring.contains(&part);
            if is_in(reference.from) && reference.to.is_some_and(is_in) {
                let message = format!(
                    "{:?} leads back to itself for the same value, and would check nothing; \
                     refer to it from below \"properties\" or \"items\", or to something else",
                    reference.target
                );
                self.mistakes.push(Mistake::at(&reference.place, message));
            }
        }
    }

    /// Parts with which one value alone takes too long, the innermost of them.
    fn tell_heavy(&mut self, order: &[usize]) {
        let mut asked = vec![1_u64; self.parts.len()];
        for part in order.iter().rev() {
            let same = &self.parts[*part].same;
            let is_told = same.iter().any(|(below, _)| asked[*below] > ASKED_MAX);
            for (below, times) in same {
                let more = times.saturating_mul(asked[*below]);
                asked[*part] = asked[*part].saturating_add(more);
            }
            if asked[*part] > ASKED_MAX && !is_told {
                let message = format!(
                    "checking one value against this asks parts of the schema more than \
                     {ASKED_MAX} times; refer to each part fewer times"
                );
                self.mistakes
                    .push(Mistake::at(&self.places[*part], message));
            }
        }
    }

    /// The parts in this order, under their new numbers.
    fn sorted(self, order: &[usize]) -> Graph {
        let mut rank = vec![0; order.len()];
        for (new, old) in order.iter().enumerate() {
            rank[*old] = new;
        }
        let root = rank[0];
        let renumber = |mut part: Part| {
            let lists = [
                &mut part.unnamed,
                &mut part.members,
                &mut part.names,
                &mut part.prefix,
                &mut part.rest,
                &mut part.items,
            ];
            let numbers = lists.into_iter().flatten().chain(part.named.values_mut());
            for number in numbers.chain(part.same.iter_mut().map(|(below, _)| below)) {
                *number = rank[*number];
            }
            part
        };
        let mut parts: Vec<(usize, Part)> = self.parts.into_iter().enumerate().collect();
        parts.sort_by_key(|(old, _)| rank[*old]);
        let parts = parts.into_iter().map(|(_, part)| renumber(part)).collect();
        Graph { parts, root }
    }
}

/// Every part before those that it asks about the same value; parts of a ring,
/// and what only rings ask, are left out.
fn order(parts: &[Part]) -> Vec<usize> {
    let mut askers = vec![0_usize; parts.len()];
    for (below, _) in parts.iter().flat_map(|part| &part.same) {
        askers[*below] += 1;
    }
    let mut order: Vec<usize> = (0..parts.len()).filter(|part| askers[*part] == 0).collect();
    let mut next = 0;
    while let Some(part) = order.get(next).copied() {
        next += 1;
        for (below, _) in &parts[part].same {
            askers[*below] -= 1;
            if askers[*below] == 0 {
                order.push(*below);
            }
        }
    }
    order
}

/// How many values there are in it.
fn entries(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(entries).sum::<usize>() + 1,
        Value::Object(members) => members.values().map(entries).sum::<usize>() + 1,
        _ => 1,
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// `%7E` and the like, as references may have them. What is no text then leads
/// nowhere.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2);
        let digits = digits.filter(|two| first == &b'%' && two.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|two| str::from_utf8(two).ok());
        if let Some(byte) = digits.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            bytes.push(byte);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap_or_default()
}
