//! How much work it is to check arguments, before it is begun.
//!
//! A schema may ask several of its parts about one value, each of those several
//! about a value inside it, and so on: with the depth the work grows beyond all
//! measure. Here each part is looked at once for each value, with the number of
//! times that it would be asked, so that counting the work is cheap where doing
//! it is not. What a validator can leave out, since one answer is enough, counts.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    STEPS_MAX,
    graph::{Graph, Part},
};
use crate::policy::pattern::{self, PATTERN_STEPS_MAX};

/// Bytes of text that are looked at in one step.
const BYTES_A_STEP: usize = 64;
/// Steps of a pattern that are taken in one step.
const PATTERN_STEPS: u64 = PATTERN_STEPS_MAX / STEPS_MAX;
/// To find two equal items, short lists are compared pair by pair.
const PAIRS: u64 = 8;

/// Steps for checking `value`; `None` where they are more than `most`. Takes no
/// more than about as many itself.
pub(super) fn steps(graph: &Graph, value: &Value, most: u64) -> Option<u64> {
    let mut walk = Walk { graph, left: most };
    walk.value(value, BTreeMap::from([(graph.root, 1)]))?;
    Some(most.saturating_sub(walk.left))
}

struct Walk<'a> {
    graph: &'a Graph,
    left: u64,
}

impl<'a> Walk<'a> {
    /// `asked`: the parts that are asked about it, and how often.
    fn value(&mut self, value: &Value, mut asked: BTreeMap<usize, u64>) -> Option<()> {
        let mut all: Vec<(&'a Part, u64)> = Vec::new();
        // A part comes before those that it asks about the same value.
        while let Some((number, times)) = asked.pop_first() {
            let part = self.graph.parts.get(number)?;
            let compared = if part.compares {
                PAIRS.saturating_mul(size(value))
            } else {
                0
            };
            let once = part.steps.saturating_add(own_size(value));
            let once = once.saturating_add(own_patterns(part, value));
            self.spend(times.saturating_mul(once.saturating_add(compared)))?;
            for (below, more) in &part.same {
                let sum = asked.entry(*below).or_default();
                *sum = sum.saturating_add(times.saturating_mul(*more));
            }
            all.push((part, times));
        }
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let below = |part: &'a Part| at_index(part, index);
                    let steps = 1;
                    self.inside(item, steps, &all, below)?;
                }
            }
            Value::Object(members) => {
                for (name, member) in members {
                    self.name(name, &all)?;
                    let below = |part: &'a Part| at_name(part, name);
                    let steps = text_steps(name);
                    self.inside(member, steps, &all, below)?;
                }
            }
            _ => {}
        }
        Some(())
    }

    /// A value inside one about which `all` were asked; `steps`: for finding it.
    fn inside<I: Iterator<Item = usize>>(
        &mut self,
        value: &Value,
        steps: u64,
        all: &[(&'a Part, u64)],
        below: impl Fn(&'a Part) -> I,
    ) -> Option<()> {
        let mut asked: BTreeMap<usize, u64> = BTreeMap::new();
        for (part, times) in all {
            self.spend(times.saturating_mul(steps))?;
            for number in below(part) {
                let sum = asked.entry(number).or_default();
                *sum = sum.saturating_add(*times);
            }
        }
        if asked.is_empty() {
            return Some(());
        }
        self.value(value, asked)
    }

    /// A member's name, which is matched and may be asked about like any text.
    fn name(&mut self, name: &str, all: &[(&'a Part, u64)]) -> Option<()> {
        let mut asked: BTreeMap<usize, u64> = BTreeMap::new();
        for (part, times) in all {
            let steps = pattern_steps(part.name_pattern, name);
            self.spend(times.saturating_mul(steps))?;
            for number in &part.names {
                let sum = asked.entry(*number).or_default();
                *sum = sum.saturating_add(*times);
            }
        }
        if asked.is_empty() {
            return Some(());
        }
        self.value(&Value::from(name), asked)
    }

    fn spend(&mut self, steps: u64) -> Option<()> {
        self.left = self.left.checked_sub(steps)?;
        Some(())
    }
}

fn at_name<'a>(part: &'a Part, name: &str) -> impl Iterator<Item = usize> + use<'a> {
    let named = part.named.get(name);
    let unnamed = if named.is_some() {
        &[][..]
    } else {
        &part.unnamed
    };
    named
        .into_iter()
        .chain(unnamed)
        .chain(&part.members)
        .copied()
}

fn at_index(part: &Part, index: usize) -> impl Iterator<Item = usize> {
    let prefix = part.prefix.get(index);
    let rest = if prefix.is_some() {
        &[][..]
    } else {
        &part.rest
    };
    prefix.into_iter().chain(rest).chain(&part.items).copied()
}

/// Steps for its own text.
fn own_size(value: &Value) -> u64 {
    match value {
        Value::String(text) => text_steps(text),
        _ => 1,
    }
}

/// Steps for matching it, where it is a text, with the part's pattern.
fn own_patterns(part: &Part, value: &Value) -> u64 {
    let text = value.as_str();
    text.map_or(0, |text| pattern_steps(part.pattern, text))
}

fn pattern_steps(size: u64, text: &str) -> u64 {
    pattern::steps(size, text.len()) / PATTERN_STEPS
}

/// The same with all that is inside it.
fn size(value: &Value) -> u64 {
    let inside = match value {
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(members) => {
            let of =
                |(name, value): (&String, &Value)| text_steps(name).saturating_add(size(value));
            members.iter().map(of).sum()
        }
        _ => 0_u64,
    };
    inside.saturating_add(own_size(value))
}

fn text_steps(text: &str) -> u64 {
    let steps = text.len() / BYTES_A_STEP;
    u64::try_from(steps).unwrap_or(u64::MAX).saturating_add(1)
}
