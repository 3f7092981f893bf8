//! What the effect map says about a call that has come in.

use serde_json::{Map, Value};

use super::{Caller, Engine};
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
            caller: CallerFacts {
                grant: &caller.grant,
                uid: caller.uid,
                unit: caller.unit.as_deref(),
                exe: caller.exe.as_deref(),
                agent: caller.agent.as_deref(),
            },
        };
        look_up(&self.policy.effect_map, &facts)
    }
}
