//! Host rules: who may do what without the gateway.

use super::{LimitRule, RuleMode, selector::Selector};
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
    pub fn names(&self, _actor: &HostActor<'_>) -> bool {
        false
    }
}

/// The rules that every host has, by name.
pub fn builtin() -> std::collections::BTreeMap<String, HostRule> {
    std::collections::BTreeMap::new()
}
