//! Whose counter a call is charged to: for the decision, and for a repair that has its
//! record alone.

use crate::{
    effect::Effect,
    ids::{Process, VmUuid},
    policy::Scope,
};

/// What the keys of a call's counters are made of.
pub(crate) struct KeyFacts<'a> {
    /// The caller's account.
    pub(crate) grant: &'a str,
    /// Its user.
    pub(crate) uid: u32,
    /// The process that asks.
    pub(crate) process: Process,
    /// The agent that it names.
    pub(crate) agent: Option<&'a str>,
    /// The VM.
    pub(crate) vm: KeyVm<'a>,
    /// What it does, by the effect map; where that says nothing, as is claimed.
    pub(crate) effect: Option<Effect>,
    /// The tool.
    pub(crate) tool: &'a str,
}

/// The VM that a call is aimed at.
pub(crate) enum KeyVm<'a> {
    /// None.
    None,
    /// One that is known.
    Known(VmUuid),
    /// One that nobody knows, by what the caller calls it.
    Named(&'a str),
}

/// A counter's key.
pub(crate) struct Key {
    /// Its text, which begins with the scope's name.
    pub(crate) text: String,
    /// The caller could as well have said something else, and so had another counter.
    pub(crate) made_up: bool,
}

/// Whose counter it is for a limit of this scope.
pub(crate) fn key(scope: Scope, facts: &KeyFacts<'_>) -> Key {
    let grant = facts.grant;
    let known = |text| Key {
        text,
        made_up: false,
    };
    let made_up = |text| Key {
        text,
        made_up: true,
    };
    match scope {
        // Most limits have this scope, and to format takes longer.
        Scope::Grant => known(["grant:", grant].concat()),
        Scope::Session => {
            let process = facts.process;
            made_up(format!(
                "session:{grant}/{}.{}",
                process.pid, process.start_ticks
            ))
        }
        Scope::Agent => made_up(format!("agent:{grant}/{}", facts.agent.unwrap_or("-"))),
        Scope::Uid => known(format!("uid:{}", facts.uid)),
        Scope::Vm => match facts.vm {
            KeyVm::None => known("vm:-".to_owned()),
            KeyVm::Known(uuid) => known(format!("vm:{uuid}")),
            // A name that is a UUID is one VM's, however it is spelt.
            KeyVm::Named(name) => made_up(match VmUuid::named(name) {
                Some(uuid) => format!("vm:{uuid}"),
                None => format!("vm:{name}"),
            }),
        },
        Scope::Host => known("host:".to_owned()),
        // Of all names for one effect, the caller could choose a fresh one.
        Scope::Tool => match facts.effect {
            Some(effect) => known(format!("tool:{}", effect.tool())),
            None => made_up(format!("tool:{}", facts.tool)),
        },
    }
}
