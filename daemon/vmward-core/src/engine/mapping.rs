//! What the effect map says about a call that has come in.

use serde_json::{Map, Value};

use super::{Caller, Engine, Target};
use crate::ids::VmUuid;
use crate::policy::{
    facts::{CallerFacts, Facts},
    map::{Mapped, look_up},
};

impl Engine {
    /// What the policy's effect map says about a call, for
    /// [`super::Request::mapped`].
    pub fn mapped(
        &self,
        tool: &str,
        server: Option<&str>,
        arguments: &Map<String, Value>,
        caller: &Caller,
    ) -> Mapped {
        let facts = Facts {
            tool,
            server,
            effect: None,
            arguments,
            vm: None,
            caller: caller.facts(),
        };
        look_up(&self.policy.effect_map, &facts)
    }
}

impl Caller {
    /// What conditions can look at.
    pub(super) fn facts(&self) -> CallerFacts<'_> {
        CallerFacts {
            grant: &self.grant,
            uid: self.uid,
            unit: self.unit.as_deref(),
            exe: self.exe.as_deref(),
            agent: self.agent.as_deref(),
        }
    }
}

/// Checks that a VM named beside the arguments is the one that they name, by
/// what each name resolves to. Of two VMs one would be judged and the other
/// stopped.
///
/// # Errors
/// What to tell the caller: the call is refused without a decision.
pub fn one_vm(
    (named, target): (&str, &Target),
    (argument, other): (&str, &Target),
) -> Result<(), String> {
    let same = named == argument
        || match (target, other) {
            (Target::Vm(one), Target::Vm(two)) => one.uuid == two.uuid,
            _ => VmUuid::named(named).is_some_and(|uuid| VmUuid::named(argument) == Some(uuid)),
        };
    if same {
        return Ok(());
    }
    Err(format!(
        "`vm` is {named:?} and the arguments name {argument:?}: name one VM"
    ))
}
