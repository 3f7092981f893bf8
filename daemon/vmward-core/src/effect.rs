//! What a tool call does, and to which VM.
//!
//! Limits and leases speak of effects, so that another tool's name for the same
//! thing buys nothing.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::policy::{
    facts::{CallerFacts, Facts},
    map::{Mapped, effects_of, look_up},
};

/// What a call does to a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Ask the guest to power off.
    Stop,
    /// Cut the power.
    ForceStop,
    /// Ask the guest to reboot.
    Reboot,
    /// Pull the reset line.
    Reset,
    /// Stop the virtual CPUs; the VM keeps its memory.
    Pause,
    /// Write the VM's memory to disk and end the process.
    Save,
    /// Move the VM to another host.
    Migrate,
    /// Remove the VM for good.
    Delete,
}

impl Effect {
    /// Every effect, in the order of their bits.
    pub const ALL: [Self; 8] = [
        Self::Stop,
        Self::ForceStop,
        Self::Reboot,
        Self::Reset,
        Self::Pause,
        Self::Save,
        Self::Migrate,
        Self::Delete,
    ];

    /// The effect's bit in a lease's mask in the kernel.
    pub fn bit(self) -> u32 {
        match self {
            Self::Stop => 1,
            Self::ForceStop => 1 << 1,
            Self::Reboot => 1 << 2,
            Self::Reset => 1 << 3,
            Self::Pause => 1 << 4,
            Self::Save => 1 << 5,
            Self::Migrate => 1 << 6,
            Self::Delete => 1 << 7,
        }
    }

    /// How long a lease for it may wait for its first use, in milliseconds. A
    /// guest may take its time over a graceful stop; a power cut needs none.
    pub fn ttl_ms(self) -> u32 {
        match self {
            Self::ForceStop => 30_000,
            Self::Stop => 120_000,
            Self::Reboot
            | Self::Reset
            | Self::Pause
            | Self::Save
            | Self::Migrate
            | Self::Delete => 60_000,
        }
    }

    /// The tool whose rule governs the effect when a caller names no tool.
    pub fn tool(self) -> &'static str {
        match self {
            Self::Stop | Self::ForceStop => "vm_stop",
            Self::Reboot => "vm_reboot",
            Self::Reset => "vm_reset",
            Self::Pause => "vm_pause",
            Self::Save => "vm_save",
            Self::Migrate => "vm_migrate",
            Self::Delete => "vm_delete",
        }
    }

    /// The word used on the wire and in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::ForceStop => "force_stop",
            Self::Reboot => "reboot",
            Self::Reset => "reset",
            Self::Pause => "pause",
            Self::Save => "save",
            Self::Migrate => "migrate",
            Self::Delete => "delete",
        }
    }

    /// Does a QEMU process that still runs at the deadline prove that the effect
    /// did not happen? A reboot, a reset and a pause leave it running, and a
    /// save or a migration may be under way.
    pub fn is_refuted_by_survival(self) -> bool {
        matches!(self, Self::Stop | Self::ForceStop)
    }
}

/// What the effect map says about a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Classified {
    /// What the call does; `None` for a call that stops nothing.
    pub effect: Option<Effect>,
    /// The VM's name or UUID as the arguments give it.
    pub vm: Option<String>,
}

/// Looks a tool call up in the built-in effect map. A tool that the map does
/// not know has no effect: the kernel then grants it nothing.
///
/// [`look_up`] says more; this stays until its callers ask that.
pub fn classify(tool: &str, arguments: &Map<String, Value>) -> Classified {
    let facts = Facts {
        tool,
        server: None,
        effect: None,
        arguments,
        vm: None,
        caller: CallerFacts {
            grant: "",
            uid: 0,
            unit: None,
            exe: None,
            agent: None,
        },
    };
    let (effect, vm) = match look_up(&[], &facts) {
        Mapped::Known { effect, vm, .. } => (effect, vm),
        Mapped::Suspect { vm, .. } | Mapped::Harmless { vm } => (None, vm),
    };
    Classified { effect, vm }
}

/// Is `tool` one that the effect map knows to have this effect?
pub fn is_native(tool: &str, effect: Effect) -> bool {
    effects_of(&[], tool).contains(&effect)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(tool: &str, arguments: &Value, effect: Option<Effect>, vm: Option<&str>) {
        let found = classify(tool, arguments.as_object().expect("an object"));
        assert_eq!(
            found,
            Classified {
                effect,
                vm: vm.map(ToOwned::to_owned)
            }
        );
    }

    #[test]
    fn the_seed_servers_tools_are_known() {
        check(
            "vm_stop",
            &json!({"identifier": "web-1"}),
            Some(Effect::Stop),
            Some("web-1"),
        );
        check(
            "vm_terminate",
            &json!({"identifier": "a"}),
            Some(Effect::Delete),
            Some("a"),
        );
        check("vm_start", &json!({"identifier": "a"}), None, Some("a"));
        check("vm_list", &json!({}), None, None);
    }

    #[test]
    fn anything_but_a_plain_no_is_a_forced_stop() {
        for force in [json!(true), json!("false"), json!(0), json!([])] {
            let arguments = json!({"identifier": "a", "force": force});
            check("vm_stop", &arguments, Some(Effect::ForceStop), Some("a"));
        }
        for force in [json!(false), json!(null)] {
            let arguments = json!({"identifier": "a", "force": force});
            check("vm_stop", &arguments, Some(Effect::Stop), Some("a"));
        }
    }

    #[test]
    fn a_vm_that_is_not_a_string_is_no_vm() {
        check(
            "vm_stop",
            &json!({"identifier": 7}),
            Some(Effect::Stop),
            None,
        );
    }

    #[test]
    fn every_effect_has_its_own_bit_and_its_canonical_tool_is_native() {
        let mask = Effect::ALL
            .iter()
            .fold(0, |mask, effect| mask | effect.bit());
        assert_eq!(mask, 0xff);
        for effect in Effect::ALL {
            assert!(is_native(effect.tool(), effect));
            assert!(!is_native("vm_list", effect));
            let word = serde_json::to_value(effect).expect("JSON");
            assert_eq!(word, effect.name());
        }
    }
}
