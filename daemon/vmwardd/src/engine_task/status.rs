//! The daemon's whole state, for `status`.

mod fullest;

use std::collections::{BTreeMap, BTreeSet};

use vmward_core::clock::{NS_PER_S, Now};
use vmward_core::disarm::Disarm;
use vmward_core::engine::Viewer;
use vmward_core::ids::{Process, VmUuid};
use vmward_core::limit::{Load, Whose};
use vmward_wire::v1;

use self::fullest::Fullest;
use super::shell::Shell;
use crate::convert;
use crate::inventory::{Domain, Run};
use crate::policy_store;
use crate::process::ProcHandle;

impl Shell {
    /// What `viewer` is shown; everything where there is none.
    pub(super) fn status(&mut self, viewer: Option<&Viewer>, now: Now) -> v1::StatusResult {
        let totals = self.kernel.totals();
        let protected = self.kernel.protected();
        let mut degraded = self.degraded();
        for error in [totals.as_ref().err(), protected.as_ref().err()]
            .into_iter()
            .flatten()
        {
            degraded.push(format!("a kernel map cannot be read: {error}"));
        }
        let totals = totals.unwrap_or_default();
        let events = protected
            .unwrap_or_default()
            .into_iter()
            .map(|state| (state.protected.process, (state.events, state.finishing)))
            .collect();
        let hooks = self.kernel.hooks();
        let vms = self.vm_rows(&events);
        degraded.extend(self.bare());
        degraded.extend(self.hidden());
        degraded.extend(self.host_rules_degraded());
        degraded.extend(limiter_degraded(&self.engine.limiter_load(now), viewer));
        let (leases, other_leases) = self.lease_rows(viewer, now);
        let mut limits = Fullest::default();
        let tell = |row| limits.take(convert::wire_limit(row));
        let other_limits = self.engine.each_limit(now, viewer, tell);
        let (limits, left_out) = limits.end();
        let (approvals_waiting, other_approvals) = self.approvals_waiting(viewer);
        v1::StatusResult {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            mode: match (self.kernel.is_on(), self.observe) {
                (false, _) => v1::Mode::PolicyOnly,
                (true, true) => v1::Mode::Observe,
                (true, false) => v1::Mode::Enforce,
            },
            ready_s: seconds_between(self.ready_at, now),
            kernel: v1::KernelStatus {
                release: release(),
                ready: self.kernel.is_on(),
                hooks,
                events: totals.events,
                events_lost: totals.lost,
            },
            policy: self.policy.status(self.engine.policy()),
            libvirt: v1::LibvirtStatus {
                uri: self.libvirt_uri.clone(),
                connected: self.vms.libvirt.is_ok() && !self.vms.is_unwatched(),
                error: self.vms.libvirt.clone().err(),
                inventory_pid: self.vms.inventory.map(|process| process.pid),
            },
            vms,
            leases,
            limits,
            limits_left_out: Some(left_out).filter(|count| *count > 0),
            approvals_waiting: Some(approvals_waiting),
            others: viewer.map(|_| v1::OthersStatus {
                leases: other_leases,
                limits: other_limits,
                approvals_waiting: other_approvals,
            }),
            host_rules: self.host_rule_rows(now),
            disarmed: {
                let disarms = self.engine.disarms().iter();
                let disarms = disarms.map(|disarm| convert::wire_disarm(disarm, now));
                disarms.collect()
            },
            counters: self.counters.all(),
            degraded,
        }
    }

    fn degraded(&self) -> Vec<String> {
        let mut all = self.warnings.clone();
        if !self.kernel.is_on() {
            all.push(
                "the kernel side is off: nothing is refused at the host, only the policy socket \
                 answers"
                    .to_owned(),
            );
        } else if self.observe {
            all.push(
                "the kernel side only observes: stops without a lease are let through and recorded"
                    .to_owned(),
            );
        }
        let unwatched = self.vms.is_unwatched();
        all.extend(policy_store::without_labels(
            self.engine.policy(),
            unwatched,
        ));
        if let Err(error) = &self.vms.libvirt {
            all.push(format!(
                "libvirt does not answer ({error}): VMs that start now are found by its status \
                 files alone, without labels and helpers; those under protection stay so"
            ));
        }
        if let Some(fault) = self.fault() {
            all.push(format!("every call is denied: {fault}"));
        } else if let Some(why) = &self.ledger_refused {
            all.push(format!(
                "every call that a limit counts or that needs a lease or an approval is denied: \
                 the journal cannot be written ({why}); free space on its disk or repair it, the \
                 next such call tries again"
            ));
        }
        all.extend(self.kept_degraded());
        if let Some(error) = self.audit.head_fault() {
            all.push(format!(
                "the head of the audit log cannot be kept ({error}): after a restart nobody would \
                 see that its newest records are missing; the next record tries again"
            ));
        }
        if self.policy.is_stale() {
            all.push(
                "the newest policy file was not taken; the one before it is in force".to_owned(),
            );
        }
        all
    }

    fn vm_rows(&self, events: &BTreeMap<Process, (u64, bool)>) -> Vec<v1::VmStatus> {
        let mut rows: Vec<v1::VmStatus> = Vec::new();
        for (process, guarded) in self.vms.guarded() {
            let (events, finishing) = events.get(&process).copied().unwrap_or_default();
            rows.push(v1::VmStatus {
                vm: v1::VmRef {
                    uuid: guarded.uuid.to_string(),
                    name: guarded.name.clone(),
                },
                pid: process.pid,
                protected: self.disarm_of(process).is_none(),
                note: finishing
                    .then(|| "its guest is over; libvirt may clean up".to_owned())
                    .or_else(|| self.disarm_of(process).map(disarm_note))
                    .or_else(|| self.vms.doubt(process).map(str::to_owned))
                    .or_else(|| weakness(process))
                    .or_else(|| self.vms.armed(process).map(str::to_owned)),
                events,
            });
        }
        let guarded: BTreeSet<VmUuid> = self.vms.guarded().map(|(_, vm)| vm.uuid).collect();
        for domain in self.vms.domains() {
            let uuid = domain.uuid.to_string();
            let (pid, note) = match &domain.run {
                Run::Off => continue,
                Run::Running(process) => (process.pid, self.why_bare(*process)),
                Run::Unsettled(why) | Run::Unprotectable(why) => (0, why.clone()),
            };
            if guarded.contains(&domain.uuid) {
                continue;
            }
            rows.push(v1::VmStatus {
                vm: v1::VmRef {
                    uuid,
                    name: domain.name.clone(),
                },
                pid,
                protected: false,
                note: Some(note),
                events: 0,
            });
        }
        rows.sort_by(|one, other| one.vm.name.cmp(&other.vm.name));
        rows
    }

    /// What takes a VM's protection away: a disarm of its own, or of the host.
    fn disarm_of(&self, process: Process) -> Option<&Disarm> {
        self.engine.disarms().of_vm(process)
    }

    /// Says that VMs which should be protected are not. Those that start or end
    /// just now need no protection yet, or any more.
    fn bare(&self) -> Option<String> {
        let guarded: BTreeSet<Process> = self.vms.guarded().map(|(process, _)| process).collect();
        let is_bare = |domain: &Domain| match domain.run {
            Run::Running(process) => !guarded.contains(&process),
            Run::Unprotectable(_) => !self.vms.looks_hidden(domain.uuid),
            Run::Off | Run::Unsettled(_) => false,
        };
        let domains = self.vms.domains().iter();
        let bare: Vec<&str> = domains
            .filter(|domain| is_bare(domain))
            .map(|domain| domain.name.as_str())
            .collect();
        (self.kernel.is_on() && !bare.is_empty()).then(|| {
            format!(
                "{} running VMs are not protected ({}); the list of VMs says why",
                bare.len(),
                bare.iter().take(5).copied().collect::<Vec<_>>().join(", ")
            )
        })
    }

    /// Says that VMs under protection cannot be looked at.
    fn hidden(&self) -> Option<String> {
        let count = self.vms.hidden_count();
        (count > 0).then(|| {
            format!(
                "{count} VMs under protection cannot be looked at; they stay protected until they \
                 end, and the list of VMs says why"
            )
        })
    }

    /// Why a running process has no protection.
    fn why_bare(&self, process: Process) -> String {
        match self.vms.refusal(process) {
            Some(why) => why.to_owned(),
            None if self.kernel.is_on() => "not protected yet".to_owned(),
            None => "the kernel side is off".to_owned(),
        }
    }

    /// The rows, and how many the viewer is not shown.
    fn lease_rows(&self, viewer: Option<&Viewer>, now: Now) -> (Vec<v1::LeaseStatus>, u64) {
        let (mut rows, mut others) = (Vec::new(), 0);
        for lease in self.engine.leases() {
            if !lease.state.is_live() {
                continue;
            }
            if viewer.is_some_and(|viewer| !viewer.owns(&lease.grant)) {
                others += 1;
                continue;
            }
            rows.push(v1::LeaseStatus {
                lease: convert::wire_lease(lease, now),
                state: lease.state.name().to_owned(),
                grant: lease.grant.clone(),
            });
        }
        (rows, others)
    }
}

/// Says that calls are denied because they cannot be counted, or soon will be.
/// Which accounts, only who is shown everything learns.
fn limiter_degraded(load: &Load, viewer: Option<&Viewer>) -> Vec<String> {
    let near = load.near.map(|whose| {
        let what = match whose {
            Whose::Share | Whose::MadeUp => {
                "the limiter's room for what callers make up (agents, sessions, names) is"
            }
            Whose::All => "the limiter is",
        };
        format!(
            "{what} full to nine tenths or more ({} counters and {} charges are live): when it is \
             full, calls that need a new counter are denied until some lapse; limits of the scope \
             grant, or shorter windows, take less",
            load.counters, load.stamps
        )
    });
    let short = (!load.short.is_empty()).then(|| {
        let whose = match viewer {
            None => {
                let shown: Vec<&str> = load.short.iter().take(5).map(String::as_str).collect();
                format!(" ({})", shown.join(", "))
            }
            Some(viewer) if load.short.iter().any(|account| viewer.owns(account)) => {
                " (yours is one)".to_owned()
            }
            Some(_) => String::new(),
        };
        format!(
            "calls of {} accounts{whose} were denied in the last ten minutes, because they have used \
             up their share of the limiter with agents, sessions or names of their own making; \
             nobody else is",
            load.short.len()
        )
    });
    near.into_iter().chain(short).collect()
}

fn disarm_note(disarm: &Disarm) -> String {
    let what = match disarm.vm {
        Some(_) => "DISARMED",
        None => "DISARMED with the whole host",
    };
    format!("{what}: {}", disarm.reason)
}

/// What could end a VM past every wall.
fn weakness(vm: Process) -> Option<String> {
    let handle = ProcHandle::open(vm.pid)?;
    if let Some(tracer) = handle.tracer() {
        return Some(format!(
            "process {tracer} attached to it before it was protected, and can end it"
        ));
    }
    handle.has_terminal().then(|| {
        "it has a controlling terminal, whose hang-up ends it; start it without one".to_owned()
    })
}

fn seconds_between(from: Now, to: Now) -> u64 {
    let ns = to.boot_ns.saturating_sub(from.boot_ns);
    u64::try_from(ns / NS_PER_S).unwrap_or(0)
}

fn release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

#[cfg(test)]
mod tests;
