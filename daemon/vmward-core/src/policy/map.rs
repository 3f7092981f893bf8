//! The effect map: which tool has which effect on which VM.
//!
//! The policy's own entries come first, then the built-in ones, then a guess
//! from the tool's name and arguments. Nothing here trusts the agent: where a
//! call can be read in two ways, the harder one counts, and where it could name
//! two VMs, it names none.
//!
//! | module | holds |
//! | --- | --- |
//! | `builtin` | the shipped entries: what they are and how one is found |
//! | `table` | the shipped entries themselves, by MCP server |
//! | `arguments` | how arguments are read |
//! | `suspect` | the guess for tools that no entry knows |

mod arguments;
mod builtin;
mod suspect;
mod table;

use std::{borrow::Cow, collections::BTreeSet};

use super::{
    facts::Facts,
    predicate::{Path, Predicate, Work},
};
use crate::effect::Effect;
use builtin::What;

/// One entry. The first entry that matches a call counts; the policy's entries
/// come before the built-in ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapEntry {
    /// Where it stands, as a JSON Pointer; `builtin:SERVER` for a built-in one.
    pub pointer: String,
    /// Only for the MCP server of this name; any where absent.
    pub server: Option<String>,
    /// The tool's exact name.
    pub tool: String,
    /// Only for calls for which all of these hold.
    pub when: Vec<Predicate>,
    /// What the call does; `None` when it stops nothing.
    pub effect: Option<Effect>,
    /// Where the VM's name or UUID stands; where absent, the arguments that
    /// known servers use are tried.
    pub vm: Vec<Path>,
}

/// What the effect map says about a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mapped {
    /// An entry matches.
    Known {
        /// The entry's pointer.
        pointer: Cow<'static, str>,
        /// What the call does; `None` when it stops nothing.
        effect: Option<Effect>,
        /// The VM's name or UUID as the arguments give it; `None` also where
        /// they name two.
        vm: Option<String>,
    },
    /// No entry matches, and by its name or arguments the tool could stop a VM.
    Suspect {
        /// What makes it suspect, for the message.
        why: String,
        /// The VM's name or UUID, where an argument looks like one.
        vm: Option<String>,
    },
    /// No entry matches and nothing speaks for a stop.
    Harmless {
        /// The VM's name or UUID, where an argument looks like one.
        vm: Option<String>,
    },
}

impl Mapped {
    /// What the call does; `None` when it stops nothing, or nobody knows.
    pub fn effect(&self) -> Option<Effect> {
        match self {
            Self::Known { effect, .. } => *effect,
            Self::Suspect { .. } | Self::Harmless { .. } => None,
        }
    }

    /// The VM's name or UUID as the arguments give it.
    pub fn vm(&self) -> Option<&str> {
        match self {
            Self::Known { vm, .. } | Self::Suspect { vm, .. } | Self::Harmless { vm } => {
                vm.as_deref()
            }
        }
    }
}

/// Looks a call up: the policy's entries, then the built-in ones. `facts.effect`
/// and `facts.vm` are not known yet and must be `None`.
pub fn look_up(own: &[MapEntry], facts: &Facts<'_>) -> Mapped {
    let work = Work::default();
    for entry in own {
        match matches(entry, facts, &work) {
            Ok(true) => {
                return Mapped::Known {
                    pointer: entry.pointer.clone().into(),
                    effect: entry.effect,
                    vm: own_vm(entry, facts),
                };
            }
            Ok(false) => {}
            // To skip it would let a later entry call the tool harmless.
            Err(why) => {
                let vm = guess_vm(facts);
                return Mapped::Suspect { why, vm };
            }
        }
    }
    if let Some((pointer, entry)) = builtin::find(facts.tool, facts.arguments) {
        let vm = arguments::vm(facts.arguments, entry.vm);
        return match entry.what {
            What::Nothing => Mapped::Known {
                pointer: pointer.into(),
                effect: None,
                vm,
            },
            What::Does(effect) => Mapped::Known {
                pointer: pointer.into(),
                effect: Some(effect),
                vm,
            },
            What::Opaque(why) => Mapped::Suspect {
                why: why.to_owned(),
                vm,
            },
        };
    }
    let vm = guess_vm(facts);
    match suspect::why(facts.tool, facts.arguments) {
        Some(why) => Mapped::Suspect { why, vm },
        None => Mapped::Harmless { vm },
    }
}

/// Every effect that the map gives this tool, whatever the arguments; in the
/// order of [`Effect::ALL`].
pub fn effects_of(own: &[MapEntry], tool: &str) -> Vec<Effect> {
    let has = |effect: &Effect| {
        let mut mine = own.iter().filter(|entry| entry.tool == tool);
        mine.any(|entry| entry.effect == Some(*effect)) || builtin::can(tool, *effect)
    };
    Effect::ALL.into_iter().filter(has).collect()
}

/// Is it a shipped tool that could do anything, with some arguments?
pub(super) fn is_opaque(tool: &str) -> bool {
    builtin::is_opaque(tool)
}

/// Every effect that a call of this tool can have, where none of its calls is
/// without one or unknown, whatever the arguments.
pub fn always(own: &[MapEntry], tool: &str) -> Option<Vec<Effect>> {
    let mut effects = Vec::new();
    for entry in own.iter().filter(|entry| entry.tool == tool) {
        effects.push(entry.effect?);
        if entry.when.is_empty() && entry.server.is_none() {
            return Some(effects);
        }
    }
    effects.extend(builtin::always(tool)?);
    Some(effects)
}

/// The shipped tools that have this effect with some arguments, by name.
pub fn tools_with(effect: Effect) -> BTreeSet<&'static str> {
    builtin::tools_with(effect)
}

/// Does the entry apply? An error where one of its conditions cannot be judged.
fn matches(entry: &MapEntry, facts: &Facts<'_>, work: &Work) -> Result<bool, String> {
    let server = entry.server.as_deref();
    if entry.tool != facts.tool || (server.is_some() && server != facts.server) {
        return Ok(false);
    }
    for predicate in &entry.when {
        let holds = predicate
            .holds(facts, work)
            .map_err(|error| format!("{} cannot be judged: {error}", predicate.pointer))?;
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
}

fn own_vm(entry: &MapEntry, facts: &Facts<'_>) -> Option<String> {
    if entry.vm.is_empty() {
        return guess_vm(facts);
    }
    let named = entry.vm.iter().filter_map(|path| {
        if path.look_alike(facts).is_some() {
            return Some(None);
        }
        let value = path.find(facts).filter(|value| !value.is_null())?;
        Some(arguments::as_vm(&value))
    });
    arguments::only(named)
}

fn guess_vm(facts: &Facts<'_>) -> Option<String> {
    arguments::vm(facts.arguments, arguments::VM_KEYS)
}

#[cfg(test)]
mod tests;
