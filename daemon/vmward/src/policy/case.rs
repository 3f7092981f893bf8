//! One call as a person writes it down: what is called, by whom, when, and what
//! should come of it. Fed to the daemon's own engine, so that the verdict is the
//! one that the daemon would give.

use std::{collections::BTreeMap, fmt};

use jiff::{Timestamp, tz::TimeZone};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{Map, Value};
use vmward_core::{
    clock::{LocalTime, NS_PER_S, Now, OffsetChange},
    digest::Arguments,
    effect::Effect,
    engine::{Caller, Engine, Request, Target, Via, VmTarget, one_vm},
    ids::{Process, VmUuid, is_plain_name},
    policy::map::Mapped,
};

/// One call.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a call: an object with `tool` or `effect`"
)]
pub(crate) struct Call {
    /// The tool; absent for a call that names only an effect.
    pub(crate) tool: Option<String>,
    /// Its arguments.
    pub(crate) arguments: Map<String, Value>,
    /// The MCP server that offers it.
    pub(crate) server: Option<String>,
    /// The effect, as the caller claims it.
    pub(crate) effect: Option<Effect>,
    /// The VM, where the arguments do not name it or more is to be said of it.
    pub(crate) vm: Option<Vm>,
    /// Who asks.
    pub(crate) who: Who,
    /// Why.
    pub(crate) reason: Option<String>,
}

/// A VM: its name, or all that conditions can look at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Vm {
    Name(String),
    Full(FullVm),
}

impl<'de> Deserialize<'de> for Vm {
    // Not `untagged`: its error would not say what is wrong inside.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct NameOrFull;

        impl<'de> Visitor<'de> for NameOrFull {
            type Value = Vm;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the VM's name, or an object with `name`")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Vm, E> {
                Ok(Vm::Name(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vm, A::Error> {
                FullVm::deserialize(MapAccessDeserializer::new(map)).map(Vm::Full)
            }
        }

        from.deserialize_any(NameOrFull)
    }
}

/// A VM with all that conditions can look at.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FullVm {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) uuid: Option<VmUuid>,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default = "yes")]
    pub(crate) running: bool,
}

fn yes() -> bool {
    true
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "an object such as {\"uid\": 1000}"
)]
pub(crate) struct Who {
    /// The grant; `uid:N` where absent.
    pub(crate) grant: Option<String>,
    /// The user.
    pub(crate) uid: u32,
    /// The systemd unit.
    pub(crate) unit: Option<String>,
    /// The executable.
    pub(crate) exe: Option<String>,
    /// What it calls itself.
    pub(crate) agent: Option<String>,
    /// Tells sessions apart: the process id that asks.
    pub(crate) pid: Option<u32>,
}

impl Who {
    fn caller(&self) -> Caller {
        Caller {
            grant: self
                .grant
                .clone()
                .unwrap_or_else(|| format!("uid:{}", self.uid)),
            process: self.process(),
            uid: self.uid,
            comm: "case".to_owned(),
            exe: self.exe.clone(),
            agent: self.agent.clone(),
            unit: self.unit.clone(),
            loginuid: None,
        }
    }

    fn process(&self) -> Process {
        Process {
            pid: self.pid.unwrap_or(1000),
            start_ticks: 1,
        }
    }
}

impl Call {
    /// The call as the engine takes it. No VM here is protected by a kernel, so
    /// an allow is charged for good and one case never waits for another's lease.
    pub(crate) fn request(&self, engine: &Engine, now: Now) -> Result<Request, String> {
        let caller = self.who.caller();
        let mapped = match &self.tool {
            Some(tool) => engine.mapped(tool, self.server.as_deref(), &self.arguments, &caller),
            None => Mapped::Harmless { vm: None },
        };
        let effect = self.effect.or(mapped.effect());
        let (tool, via) = match (&self.tool, self.effect) {
            (Some(tool), _) => (tool.clone(), Via::Tool),
            (None, Some(effect)) => (effect.tool().to_owned(), Via::Effect),
            (None, None) => return Err("it has neither `tool` nor `effect`".to_owned()),
        };
        let target = match (&self.vm, mapped.vm()) {
            (Some(Vm::Name(name)), _) => named_target(name),
            (None, Some(name)) => named_target(name),
            (Some(Vm::Full(vm)), _) => vm_target(vm),
            (None, None) if effect.is_some_and(Effect::is_of_host) => {
                Target::Vm(VmTarget::host(false))
            }
            (None, None) => Target::None,
        };
        Ok(Request {
            tool,
            via,
            server: self.server.clone(),
            arguments: Arguments::new(self.arguments.clone()),
            mapped,
            effect,
            target,
            holder: caller.process,
            caller,
            reason: self.reason.clone(),
            local: local(now.wall_ns),
        })
    }
}

impl Call {
    /// The same for a call that a person has written down: refused where the
    /// daemon would refuse it without a decision, for it names two VMs.
    pub(crate) fn checked_request(&self, engine: &Engine, now: Now) -> Result<Request, String> {
        let request = self.request(engine, now)?;
        let named = match &self.vm {
            None => None,
            Some(Vm::Name(name)) => Some(name),
            Some(Vm::Full(vm)) => Some(&vm.name),
        };
        if let (Some(named), Some(argument)) = (named, request.mapped.vm()) {
            let other = named_target(argument);
            one_vm((named, &request.target), (argument, &other))?;
        }
        Ok(request)
    }
}

impl FullVm {
    /// A running VM of this name, or, where it is one, of this UUID.
    fn called(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            uuid: VmUuid::named(name),
            labels: BTreeMap::new(),
            running: true,
        }
    }
}

/// The VM of this name, where a VM that nobody knows can have it.
fn named_target(name: &str) -> Target {
    if is_plain_name(name) {
        vm_target(&FullVm::called(name))
    } else {
        Target::Unknown(name.to_owned())
    }
}

fn vm_target(vm: &FullVm) -> Target {
    let mut bytes = [0_u8; 16];
    // Any identity will do, as long as it is the name's own.
    for (at, byte) in vm.name.bytes().enumerate() {
        let slot = &mut bytes[at % 16];
        *slot = slot.wrapping_mul(31).wrapping_add(byte);
    }
    Target::Vm(VmTarget {
        uuid: vm.uuid.unwrap_or(VmUuid::from_bytes(bytes)),
        name: vm.name.clone(),
        process: vm.running.then_some(Process {
            pid: 1,
            start_ticks: 1,
        }),
        protected: false,
        labels: vm.labels.clone(),
    })
}

/// What this host's time zone adds to universal time at `wall_ns`, as the daemon has
/// it for `"zone": "local"`. `TZ` names another zone.
fn local(wall_ns: i64) -> LocalTime {
    let Ok(time) = Timestamp::from_nanosecond(i128::from(wall_ns)) else {
        return LocalTime::default();
    };
    let zone = TimeZone::system();
    let changes = zone.following(time).map(|change| OffsetChange {
        at_ns: i64::try_from(change.timestamp().as_nanosecond()).unwrap_or(i64::MAX),
        offset_s: change.offset().seconds(),
    });
    LocalTime::foreseen(zone.to_offset(time).seconds(), changes)
}

/// An instant of the wall clock as both clocks: a case knows no boot.
pub(crate) fn instant(wall_ns: i64) -> Now {
    Now {
        boot_ns: wall_ns,
        wall_ns,
    }
}

/// The default instant of a case: a Monday at noon, universal time.
pub(crate) const MONDAY_NOON_NS: i64 = 1_795_435_200 * NS_PER_S;

/// An effect of the wire as the engine has it: the same words.
pub(crate) fn effect(wire: vmward_wire::v1::Effect) -> Effect {
    use vmward_wire::v1::Effect as Wire;
    match wire {
        Wire::Stop => Effect::Stop,
        Wire::ForceStop => Effect::ForceStop,
        Wire::Reboot => Effect::Reboot,
        Wire::Reset => Effect::Reset,
        Wire::Pause => Effect::Pause,
        Wire::Save => Effect::Save,
        Wire::Migrate => Effect::Migrate,
        Wire::Delete => Effect::Delete,
        Wire::HostReboot => Effect::HostReboot,
    }
}
