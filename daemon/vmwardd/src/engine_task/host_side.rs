//! Host rules in the kernel: put there, kept up to date, and charged for what
//! the kernel let pass by them.
//!
//! The kernel counts the uses of each rule and stops at a ceiling; the daemon
//! charges what was counted to the rule's limits and moves the ceiling to what
//! is left: `ceiling = charged + room`. Uses that the daemon does not know of yet
//! lie below the ceiling that it has set, so no window ever holds more than its
//! limit, and while no daemon runs the ceiling stays where it is.

mod charge;

use std::collections::BTreeMap;

use vmward_core::audit::AuditBody;
use vmward_core::clock::{NS_PER_S, Now};
use vmward_core::policy::facts::VmFacts;
use vmward_core::policy::host::HostRule as PolicyRule;
use vmward_wire::v1;

use self::charge::Owed;
use super::KernelSide;
use super::batch::Batch;
use super::shell::Shell;
use crate::counters::count;
use crate::host_rules::{self, Resolved};
use crate::kernel::{Actor, HostMaps, HostRule, Kernel, KernelError};
use crate::ledger_file::Ledger;

/// How often units and programs are looked up again.
const LOOK_UP_NS: i64 = 2 * NS_PER_S;
/// How often limits that have become free reach the kernel.
const SETTLE_NS: i64 = NS_PER_S / 4;

/// What the daemon keeps about the host rules.
#[derive(Debug, Default)]
pub(super) struct HostSide {
    /// The rule of each number in the kernel.
    numbers: BTreeMap<u32, String>,
    /// The name behind each id that was ever in force.
    names: BTreeMap<u64, String>,
    resolved: BTreeMap<String, Resolved>,
    /// How often each rule was used since this daemon started.
    uses: BTreeMap<String, u64>,
    /// What the engine has charged each rule and the journal has not.
    owed: BTreeMap<String, Owed>,
    looked_up_ns: Option<i64>,
    settled_ns: Option<i64>,
}

impl HostSide {
    /// Policy, VMs or the kernel's counts have changed: look at once.
    pub(super) fn stale(&mut self) {
        self.looked_up_ns = None;
        self.settled_ns = None;
    }

    /// A rule was used: charge it at once.
    pub(super) fn used(&mut self) {
        self.settled_ns = None;
    }

    /// The name of the rule in an event.
    pub(super) fn name_of(&self, id: u64) -> Option<String> {
        if id == 0 {
            return None;
        }
        let name = self.names.get(&id).cloned();
        Some(name.unwrap_or_else(|| format!("{id:016x}")))
    }

    /// Rules of the policy of which a part is not in force. A built-in rule is
    /// for whatever services a host has.
    fn degraded(&self, rules: &BTreeMap<String, PolicyRule>) -> Vec<String> {
        let own = |name: &str| {
            let rule = rules.get(name);
            rule.is_some_and(|rule| !rule.pointer.starts_with("builtin:"))
        };
        let faulty = self
            .resolved
            .iter()
            .filter(|(name, resolved)| own(name) && !resolved.missing.is_empty());
        faulty
            .map(|(name, resolved)| {
                let why = resolved.missing.join("; ");
                format!("the host rule {name} is not wholly in force: {why}")
            })
            .collect()
    }

    /// Gives each rule in force a number, the one that it has where it has one.
    /// Returns the rules for which there is none left.
    fn number(&mut self) -> Vec<String> {
        let resolved = &self.resolved;
        let in_force = |name: &str| resolved.get(name).is_some_and(Resolved::is_in_force);
        self.numbers.retain(|_, name| in_force(name));
        let mut without = Vec::new();
        for (name, _) in resolved.iter().filter(|(_, one)| one.is_in_force()) {
            if self.numbers.values().any(|other| other == name) {
                continue;
            }
            let free = (0..HostMaps::RULES_MAX).find(|n| !self.numbers.contains_key(n));
            match free {
                Some(number) => drop(self.numbers.insert(number, name.clone())),
                None => without.push(name.clone()),
            }
        }
        without
    }

    /// The numbers that the kernel has from a former daemon.
    fn adopt(&mut self, kernel: &mut Kernel) -> Result<(), KernelError> {
        for number in 0..HostMaps::RULES_MAX {
            let Some(state) = kernel.host_rules().rule(number)? else {
                continue;
            };
            if let Some(name) = self.names.get(&state.rule.id) {
                self.numbers.insert(number, name.clone());
            }
        }
        Ok(())
    }

    fn actors(&self) -> BTreeMap<Actor, u64> {
        let mut actors = BTreeMap::new();
        for (number, name) in &self.numbers {
            let named = self.resolved.get(name).into_iter();
            for actor in named.flat_map(|resolved| &resolved.actors) {
                *actors.entry(*actor).or_default() |= 1 << number;
            }
        }
        actors
    }
}

impl Shell {
    /// Keeps the kernel's host rules as the policy and the host have them. A use
    /// is in the journal before the kernel gets room for the next, so this writes
    /// by itself and does not wait for the round.
    pub(super) fn host_rules(&mut self, now: Now, batch: &mut Batch, ledger: &mut Ledger) {
        if !self.kernel.is_on() {
            return;
        }
        let due = |last: Option<i64>, every: i64| {
            last.is_none_or(|last| now.boot_ns.saturating_sub(last) >= every)
        };
        let outcome = if due(self.host.looked_up_ns, LOOK_UP_NS) {
            self.host.looked_up_ns = Some(now.boot_ns);
            self.host.settled_ns = Some(now.boot_ns);
            self.look_up_actors(now, batch, ledger)
        } else if due(self.host.settled_ns, SETTLE_NS) {
            self.host.settled_ns = Some(now.boot_ns);
            self.settle(now, ledger)
        } else {
            return;
        };
        if let Err(error) = outcome {
            count(&self.counters.kernel_errors);
            self.complain("host rules", &error);
        }
    }

    /// Host rules of the policy of which a part is not in force.
    pub(super) fn host_rules_degraded(&self) -> Vec<String> {
        self.host.degraded(&self.engine.policy().host_rules)
    }

    /// The host rules that the kernel honours, for `status`.
    pub(super) fn host_rule_rows(&self, now: Now) -> Option<Vec<v1::HostRuleStatus>> {
        self.kernel.is_on().then(|| {
            let mut names: Vec<&String> = self.host.numbers.values().collect();
            names.sort_unstable();
            let row = |name: &String| {
                let rule = self.engine.policy().host_rules.get(name)?;
                let actors = self.host.resolved.get(name)?.actors.len();
                Some(v1::HostRuleStatus {
                    name: name.clone(),
                    who: rule.who.describe(),
                    actors: actors as u64,
                    uses: self.host.uses.get(name).copied().unwrap_or_default(),
                    left: self.engine.host_rule_room(name, now),
                })
            };
            names.into_iter().filter_map(row).collect()
        })
    }

    fn look_up_actors(
        &mut self,
        now: Now,
        batch: &mut Batch,
        ledger: &mut Ledger,
    ) -> Result<(), KernelError> {
        // What was used so far is charged before any rule loses its number.
        self.settle(now, ledger)?;
        let first = self.host.names.is_empty();
        for name in self.engine.policy().host_rules.keys() {
            let id = host_rules::id_of(name);
            self.host.names.entry(id).or_insert_with(|| name.clone());
        }
        if first && let KernelSide::On(kernel) = &mut self.kernel {
            self.host.adopt(kernel)?;
        }
        let resolved = host_rules::resolve_all(self.engine.policy());
        if resolved != self.host.resolved {
            for line in told(&self.host.resolved, &resolved) {
                tracing::info!("{line}");
                batch.audit(AuditBody::daemon("host-rule", Some(line)));
            }
            self.host.resolved = resolved;
        }
        for name in self.host.number() {
            if let Some(more) = self.complaints.pass(now.boot_ns) {
                tracing::error!(
                    rule = name,
                    more,
                    "there are too many host rules for the kernel"
                );
            }
        }
        let actors = self.host.actors();
        let picks = self.picks();
        if let KernelSide::On(kernel) = &mut self.kernel {
            // What goes, goes first: whom a number's former rule named must not
            // use the next one.
            for number in 0..HostMaps::RULES_MAX {
                let id = self.host.numbers.get(&number);
                let id = id.map(|name| host_rules::id_of(name));
                let maps = kernel.host_rules();
                if maps
                    .rule(number)?
                    .is_some_and(|state| Some(state.rule.id) != id)
                {
                    maps.set_rule(number, None)?;
                }
            }
            kernel.host_rules().set_actors(&actors)?;
            kernel.host_rules().set_picks(picks)?;
        }
        self.settle(now, ledger)
    }

    /// Charges what the kernel let pass, and lets pass what there is room for.
    fn settle(&mut self, now: Now, ledger: &mut Ledger) -> Result<(), KernelError> {
        self.pay_for_former(now, ledger);
        for (number, name) in self.host.numbers.clone() {
            let KernelSide::On(kernel) = &mut self.kernel else {
                return Ok(());
            };
            let id = host_rules::id_of(&name);
            let state = kernel.host_rules().rule(number)?;
            let uses = kernel.host_rules().uses(number)?;
            let effects = self.host.resolved.get(&name).map_or(0, |one| one.effects);
            // A number that was another rule's, or nobody's, begins afresh.
            let charged = state
                .filter(|state| state.rule.id == id)
                .map_or(uses, |state| state.rule.charged);
            let charged = self.charge(&name, uses, charged, now, ledger);
            let room = self.engine.host_rule_room(&name, now);
            let room = room.map(|room| if charged.open { room } else { 0 });
            let KernelSide::On(kernel) = &mut self.kernel else {
                return Ok(());
            };
            kernel.host_rules().set_rule(
                number,
                Some(HostRule {
                    id,
                    effects,
                    ceiling: room.map(|room| uses.saturating_add(room)),
                    charged: charged.uses,
                }),
            )?;
        }
        Ok(())
    }

    /// Which rules in the kernel are about which VM.
    fn picks(&self) -> BTreeMap<[u8; 16], u64> {
        let rules = &self.engine.policy().host_rules;
        let mut picks = BTreeMap::new();
        if self.host.numbers.is_empty() {
            return picks;
        }
        for (_, vm) in self.vms.guarded() {
            let uuid = vm.uuid.to_string();
            let labels = self.vms.labels(vm.uuid);
            let facts = VmFacts {
                uuid: Some(&uuid),
                name: &vm.name,
                labels: &labels,
            };
            let picking = self.host.numbers.iter().filter(|(_, name)| {
                let vms = rules.get(*name).map(|rule| &rule.vms);
                vms.is_some_and(|vms| vms.is_empty() || vms.iter().any(|one| one.picks(&facts)))
            });
            let mask = picking.fold(0, |mask, (number, _)| mask | 1 << number);
            if mask != 0 {
                picks.insert(*vm.uuid.as_bytes(), mask);
            }
        }
        picks
    }
}

/// What has changed, a line a rule.
fn told(before: &BTreeMap<String, Resolved>, now: &BTreeMap<String, Resolved>) -> Vec<String> {
    let changed = now
        .iter()
        .filter(|(name, one)| before.get(*name) != Some(*one))
        // A rule that never was in the kernel and still is not says nothing.
        .filter(|(name, one)| one.effects != 0 || before.contains_key(*name));
    let changed = changed.map(|(name, one)| {
        if one.effects == 0 {
            return format!("{name}: not in the kernel");
        }
        let mut parts = vec![format!(
            "{name}: in the kernel, actors: {}",
            one.actors.len()
        )];
        parts.extend(one.missing.iter().cloned());
        parts.join("; ")
    });
    let gone = before
        .iter()
        .filter(|(name, one)| one.effects != 0 && !now.contains_key(*name))
        .map(|(name, _)| format!("{name}: not in the kernel"));
    changed.chain(gone).collect()
}

#[cfg(test)]
mod tests;
