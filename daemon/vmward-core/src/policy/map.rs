//! The effect map: which tool has which effect on which VM.

use super::{
    facts::Facts,
    predicate::{Path, Predicate},
};
use crate::effect::Effect;

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
    /// Where the VM's name or UUID stands.
    pub vm: Vec<Path>,
}

/// What the effect map says about a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mapped {
    /// An entry matches.
    Known {
        /// The entry's pointer.
        pointer: String,
        /// What the call does; `None` when it stops nothing.
        effect: Option<Effect>,
        /// The VM's name or UUID as the arguments give it.
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

/// Looks a call up: the policy's entries, then the built-in ones. `facts.effect`
/// and `facts.vm` are not known yet and must be `None`.
pub fn look_up(_own: &[MapEntry], _facts: &Facts<'_>) -> Mapped {
    Mapped::Harmless { vm: None }
}

/// Every effect that the map gives this tool, whatever the arguments; in the
/// order of [`Effect::ALL`].
pub fn effects_of(own: &[MapEntry], tool: &str) -> Vec<Effect> {
    let has = |effect: &Effect| {
        let mut mine = own.iter().filter(|entry| entry.tool == tool);
        mine.any(|entry| entry.effect == Some(*effect)) || effect.tool() == tool
    };
    Effect::ALL.into_iter().filter(has).collect()
}
