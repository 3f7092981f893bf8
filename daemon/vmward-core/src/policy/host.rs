//! Host rules: who may do what without the gateway.

use std::collections::BTreeMap;

use super::{LimitRule, RuleMode, facts::VmFacts, selector::Selector};
use crate::effect::Effect;

/// What one service, user or program of the host may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRule {
    /// Where it stands, as a JSON Pointer; `builtin:NAME` for a built-in rule
    /// that the policy leaves as it is.
    pub pointer: String,
    /// False switches a built-in rule off.
    pub enabled: bool,
    /// For whom.
    pub who: Who,
    /// For which effects.
    pub effects: Vec<Effect>,
    /// On which VMs; empty means all.
    pub vms: Vec<Selector>,
    /// How often.
    pub limits: Vec<LimitRule>,
    /// Does its verdict count?
    pub mode: RuleMode,
    /// What it is for.
    pub reason: Option<String>,
}

/// One of these is enough, where several are given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// Systemd units, such as `libvirt-guests.service`.
    pub units: Vec<String>,
    /// Users.
    pub uids: Vec<u32>,
    /// Executables, by path; the daemon resolves each to its inode.
    pub exes: Vec<String>,
}

/// An actor of the host, as the kernel vouches for it.
#[derive(Clone, Copy, Debug)]
pub struct HostActor<'a> {
    /// Its systemd unit.
    pub unit: Option<&'a str>,
    /// Its user.
    pub uid: u32,
    /// Which of the rule's executables it runs, as their paths.
    pub exe: Option<&'a str>,
}

impl Who {
    /// Is this actor meant?
    pub fn names(&self, actor: &HostActor<'_>) -> bool {
        let is = |list: &[String], found: Option<&str>| {
            found.is_some_and(|found| list.iter().any(|one| one == found))
        };
        is(&self.units, actor.unit) || is(&self.exes, actor.exe) || self.uids.contains(&actor.uid)
    }

    /// For people, such as `unit libvirt-guests.service or uid 0`.
    pub fn describe(&self) -> String {
        let units = self.units.iter().map(|unit| format!("unit {unit}"));
        let uids = self.uids.iter().map(|uid| format!("uid {uid}"));
        let exes = self.exes.iter().map(|exe| format!("program {exe}"));
        let all: Vec<String> = units.chain(uids).chain(exes).collect();
        if all.is_empty() {
            return "nobody".to_owned();
        }
        all.join(" or ")
    }
}

impl HostRule {
    /// Does it let this effect on this VM pass? A rule that is switched off
    /// covers nothing. The mode is the caller's business.
    pub fn covers(&self, effect: Effect, vm: &VmFacts<'_>) -> bool {
        self.enabled
            && self.effects.contains(&effect)
            && (self.vms.is_empty() || self.vms.iter().any(|vms| vms.picks(vm)))
    }

    /// For people, such as `unit libvirt-guests.service may stop or save any
    /// VM`.
    pub fn describe(&self) -> String {
        let effects: Vec<&str> = self.effects.iter().map(|effect| effect.name()).collect();
        let vms = match self.vms.as_slice() {
            [] => "any VM".to_owned(),
            vms => {
                let vms: Vec<String> = vms.iter().map(Selector::describe).collect();
                format!("VMs with {}", vms.join(", or with "))
            }
        };
        let mut limits = String::new();
        for limit in &self.limits {
            limits.push_str(", ");
            limits.push_str(&limit.describe());
        }
        let remark = match (self.enabled, self.mode) {
            (false, _) => " (switched off)",
            (true, RuleMode::Shadow) => " (shadow: recorded only)",
            (true, RuleMode::Enforce) => "",
        };
        let who = self.who.describe();
        format!("{who} may {} {vms}{limits}{remark}", effects.join(" or "))
    }
}

/// The rules that hold unless the policy says otherwise, by name. Refusing
/// these would lose VMs or their data.
pub fn builtin() -> BTreeMap<String, HostRule> {
    use Effect::{ForceStop, Pause, Reset, Save, Stop};

    let rules = [
        rule(
            "host-shutdown",
            // PID 1 is not named. It also acts for whoever may call `systemctl
            // kill` on a VM's scope, at any time.
            units(&["vmwardd-shutdown.service"]),
            &[Stop, ForceStop],
            "When the host shuts down, this unit takes enforcement off, on record, before \
             systemd ends what still runs",
        ),
        rule(
            "libvirt-guests",
            units(&["libvirt-guests.service"]),
            &[Stop, ForceStop, Save, Pause],
            "libvirt-guests saves the VMs or shuts them down when the host shuts down",
        ),
        rule(
            "fencing",
            Who {
                exes: FENCING.iter().map(|&exe| exe.to_owned()).collect(),
                ..Who::default()
            },
            &[Stop, ForceStop, Reset, Pause],
            "A host that has lost its lock on a shared disk must stop the VM that writes to it; \
             refused, the watchdog resets the host, or two hosts write at once",
        ),
    ];
    rules.into_iter().collect()
}

/// Who fences: sanlock and its watchdog, the helper that libvirt gives sanlock
/// for `on_lockfailure`, fence-virt, Pacemaker (Debian's place and Red Hat's).
const FENCING: [&str; 7] = [
    "/usr/sbin/sanlock",
    "/usr/sbin/wdmd",
    "/usr/lib/libvirt/libvirt_sanlock_helper",
    "/usr/libexec/libvirt_sanlock_helper",
    "/usr/sbin/fence_virtd",
    "/usr/lib/pacemaker/pacemaker-fenced",
    "/usr/libexec/pacemaker/pacemaker-fenced",
];

fn units(names: &[&str]) -> Who {
    Who {
        units: names.iter().map(|&name| name.to_owned()).collect(),
        ..Who::default()
    }
}

fn rule(name: &str, who: Who, effects: &[Effect], reason: &str) -> (String, HostRule) {
    let rule = HostRule {
        pointer: format!("builtin:{name}"),
        enabled: true,
        who,
        effects: effects.to_vec(),
        vms: Vec::new(),
        limits: Vec::new(),
        mode: RuleMode::Enforce,
        reason: Some(reason.to_owned()),
    };
    (name.to_owned(), rule)
}

#[cfg(test)]
mod tests;
