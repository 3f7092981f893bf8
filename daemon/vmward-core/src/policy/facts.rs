//! What conditions can see of a call.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::effect::Effect;

/// One call, as conditions see it.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// `tool`: the tool that is about to be called.
    pub tool: &'a str,
    /// `server`: the MCP server that offers it, where the caller names one.
    pub server: Option<&'a str>,
    /// `effect`: what the call would do.
    pub effect: Option<Effect>,
    /// `args`: the arguments.
    pub arguments: &'a Map<String, Value>,
    /// `vm`: the VM, where the call is aimed at one.
    pub vm: Option<VmFacts<'a>>,
    /// `caller`: who asks.
    pub caller: CallerFacts<'a>,
}

impl<'a> Facts<'a> {
    /// A call of which only tool and arguments are known.
    pub fn of(tool: &'a str, arguments: &'a Map<String, Value>) -> Self {
        Self {
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
        }
    }
}

/// A VM, as conditions and selectors see it.
#[derive(Clone, Copy, Debug)]
pub struct VmFacts<'a> {
    /// `vm.uuid`: hyphenated, lower case; absent where no hypervisor knows the VM
    /// and the caller gives a name.
    pub uuid: Option<&'a str>,
    /// `vm.name`.
    pub name: &'a str,
    /// `vm.labels`: from the domain's metadata.
    pub labels: &'a BTreeMap<String, String>,
}

/// Who asks, as conditions see it.
#[derive(Clone, Copy, Debug)]
pub struct CallerFacts<'a> {
    /// `caller.grant`.
    pub grant: &'a str,
    /// `caller.uid`.
    pub uid: u32,
    /// `caller.unit`: its systemd unit.
    pub unit: Option<&'a str>,
    /// `caller.exe`: its executable.
    pub exe: Option<&'a str>,
    /// `caller.agent`: what it calls itself.
    pub agent: Option<&'a str>,
}
