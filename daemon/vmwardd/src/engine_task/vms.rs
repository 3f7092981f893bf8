//! The VMs of this host: what libvirt says, and what the kernel protects. The
//! second follows the first in one direction only: libvirt adds, the end of
//! the process takes away.

mod by_file;
mod labels;
mod paused;
mod protect;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};

use vmward_core::audit::VmRef;
use vmward_core::engine::{Target, VmTarget};
use vmward_core::ids::{Process, VmUuid, is_plain_name};

pub(super) use self::protect::vm_body;
use super::batch::Batch;
use super::names::Names;
use super::shell::Shell;
use crate::counters::count;
use crate::inventory::{Beside, Domain, Labels, Run, Sighting};
use crate::kernel::Protected;
use crate::process;
use crate::process::life::Lives;

/// Stands for a process that exists but is not known: never a real one.
const UNKNOWN_PROCESS: Process = Process {
    pid: 0,
    start_ticks: 0,
};

/// Both views.
#[derive(Debug)]
pub(super) struct Vms {
    domains: Vec<Domain>,
    deputy_pid: u32,
    /// The program that asks libvirt, while it runs.
    pub(super) inventory: Option<Process>,
    /// Connected now; or why not.
    pub(super) libvirt: Result<(), String>,
    /// Where no hypervisor is watched: the policy alone decides.
    unwatched: bool,
    protected: BTreeMap<Process, Guarded>,
    /// Running VMs that cannot be protected, and why: each reason is told once.
    bare: BTreeMap<VmUuid, String>,
    /// Guests that stand still, and why, in libvirt's words.
    paused: BTreeMap<VmUuid, String>,
    /// VMs that the kernel did not take, and why.
    refused: BTreeMap<Process, String>,
    /// Processes that the kernel saw end and libvirt still called running when
    /// it was last asked: its word can be older than the kernel's.
    ended: BTreeSet<Process>,
    /// Handles on the processes under protection.
    pub(super) lives: Lives,
    /// Processes under protection that cannot be looked at.
    hidden: BTreeMap<Process, Hidden>,
    /// What was set on processes before they were protected, and ends them.
    armed: BTreeMap<Process, String>,
    /// What was last seen beside them.
    pub(super) beside: Beside,
    names: Names,
    swept_ns: i64,
    /// Whether others are under protection than when that was last asked.
    changed: bool,
}

/// A VM under protection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Guarded {
    pub(super) uuid: VmUuid,
    pub(super) name: String,
    observe: bool,
    /// As in [`Protected`].
    disarmed_until_s: u32,
    deputy_pid: u32,
}

/// A process under protection that cannot be looked at.
#[derive(Clone, Debug)]
struct Hidden {
    why: String,
    /// It could not be when it came under protection either: its cgroups and monitors
    /// are not known.
    unread: bool,
}

impl Vms {
    /// Starts with what the kernel protects already.
    pub(super) fn new(unwatched: bool, names: Names) -> Vms {
        Vms {
            libvirt: if unwatched {
                Ok(())
            } else {
                Err("not connected yet".to_owned())
            },
            unwatched,
            domains: Vec::new(),
            deputy_pid: 0,
            inventory: None,
            protected: BTreeMap::new(),
            bare: BTreeMap::new(),
            paused: BTreeMap::new(),
            refused: BTreeMap::new(),
            ended: BTreeSet::new(),
            lives: Lives::default(),
            hidden: BTreeMap::new(),
            armed: BTreeMap::new(),
            beside: Beside::default(),
            names,
            swept_ns: 0,
            // Of what is kept on disk nothing is known.
            changed: true,
        }
    }

    pub(super) fn adopt(&mut self, vm: &Protected) {
        let uuid = VmUuid::from_bytes(vm.uuid);
        let guarded = Guarded {
            uuid,
            name: self.name_of(uuid),
            observe: vm.observe,
            disarmed_until_s: vm.disarmed_until_s,
            deputy_pid: vm.deputy_pid,
        };
        self.protected.insert(vm.process, guarded);
        self.changed = true;
        // Until it ends for sure it stays protected.
        if let Some(why) = self.lives.of(vm.process).doubt() {
            self.hide(vm.process, why, true);
        }
        self.look_armed(vm.process);
    }

    /// The VM that a caller names, by UUID or name.
    pub(super) fn resolve(&self, name: &str, must_run: bool) -> Target {
        if self.unwatched {
            return if is_plain_name(name) {
                Target::Unchecked(name.to_owned())
            } else {
                Target::Unknown(name.to_owned())
            };
        }
        let uuid = VmUuid::named(name);
        let domain = self
            .domains
            .iter()
            .find(|domain| uuid == Some(domain.uuid))
            .or_else(|| self.domains.iter().find(|domain| domain.name == name));
        let labels = domain
            .map(|domain| domain.labels.clone())
            .unwrap_or_default();
        let Some((uuid, name)) = domain
            .map(|domain| (domain.uuid, domain.name.clone()))
            .or_else(|| uuid.and_then(|uuid| self.protected_name(uuid)))
        else {
            return Target::Unknown(name.to_owned());
        };
        let (process, protected) = self.process_of(uuid, domain, must_run);
        Target::Vm(VmTarget {
            uuid,
            name,
            labels,
            process,
            protected,
        })
    }

    /// From the domain's metadata, as far as libvirt has told.
    pub(super) fn labels(&self, uuid: VmUuid) -> Labels {
        let domain = self.domains.iter().find(|domain| domain.uuid == uuid);
        domain
            .map(|domain| domain.labels.clone())
            .unwrap_or_default()
    }

    fn protected_name(&self, uuid: VmUuid) -> Option<(VmUuid, String)> {
        self.protected
            .values()
            .find(|guarded| guarded.uuid == uuid)
            .map(|guarded| (uuid, guarded.name.clone()))
    }

    /// The process, and whether the kernel protects it. What the kernel has
    /// comes first: it is what a lease must cover.
    fn process_of(
        &self,
        uuid: VmUuid,
        domain: Option<&Domain>,
        must_run: bool,
    ) -> (Option<Process>, bool) {
        let alive = |process: &Process| !must_run || process::is_alive(*process);
        let guarded = self
            .protected
            .iter()
            .find(|(process, guarded)| guarded.uuid == uuid && alive(process));
        if let Some((process, _)) = guarded {
            return (Some(*process), true);
        }
        let process = match domain.map(|domain| &domain.run) {
            None | Some(Run::Off) => None,
            Some(Run::Running(process)) => Some(*process).filter(alive),
            Some(Run::Unsettled(_) | Run::Unprotectable(_)) => Some(UNKNOWN_PROCESS),
        };
        (process, false)
    }

    /// The name under which a protected process is known.
    pub(super) fn reference(&self, process: Process, uuid: VmUuid) -> VmRef {
        let name = self
            .protected
            .get(&process)
            .map(|guarded| guarded.name.clone())
            .or_else(|| {
                let domain = self.domains.iter().find(|domain| domain.uuid == uuid)?;
                Some(domain.name.clone())
            });
        VmRef {
            uuid: Some(uuid),
            name: name.unwrap_or_else(|| self.name_of(uuid)),
        }
    }

    /// The last known name, or the UUID where there is none.
    fn name_of(&self, uuid: VmUuid) -> String {
        self.names
            .get(uuid)
            .map_or_else(|| uuid.to_string(), str::to_owned)
    }

    /// Running VMs that cannot be protected for a reason not told before.
    fn newly_bare(&mut self) -> Vec<(VmRef, String)> {
        let mut bare = BTreeMap::new();
        let mut newly = Vec::new();
        for domain in &self.domains {
            let Run::Unprotectable(why) = &domain.run else {
                continue;
            };
            if self.looks_hidden(domain.uuid) {
                continue;
            }
            if self.bare.get(&domain.uuid) != Some(why) {
                let vm = VmRef {
                    uuid: Some(domain.uuid),
                    name: domain.name.clone(),
                };
                newly.push((vm, why.clone()));
            }
            bare.insert(domain.uuid, why.clone());
        }
        self.bare = bare;
        newly
    }

    pub(super) fn is_unwatched(&self) -> bool {
        self.unwatched
    }

    pub(super) fn domains(&self) -> &[Domain] {
        &self.domains
    }

    pub(super) fn guarded(&self) -> impl Iterator<Item = (Process, &Guarded)> {
        self.protected
            .iter()
            .map(|(process, guarded)| (*process, guarded))
    }

    /// Are others under protection than were kept last?
    pub(super) fn have_changed(&self) -> bool {
        self.changed
    }

    /// Which are under protection is kept.
    pub(super) fn are_kept(&mut self) {
        self.changed = false;
    }

    /// The kernel has this about a VM now.
    pub(super) fn disarmed_until(&mut self, process: Process, until_s: u32) {
        if let Some(guarded) = self.protected.get_mut(&process) {
            guarded.disarmed_until_s = until_s;
        }
    }

    pub(super) fn refusal(&self, process: Process) -> Option<&str> {
        self.refused.get(&process).map(String::as_str)
    }

    pub(super) fn forget(&mut self, process: Process) {
        self.changed |= self.protected.remove(&process).is_some();
        self.refused.remove(&process);
        self.hidden.remove(&process);
        self.armed.remove(&process);
        self.lives.let_go(process);
        self.ended.insert(process);
    }
}

impl Shell {
    pub(super) fn sighted(&mut self, sighting: Sighting, batch: &mut Batch) {
        match sighting {
            Sighting::Started { process } => {
                tracing::info!(pid = process.pid, "vmward-inventory runs");
                self.vms.inventory = Some(process);
                self.guard_beside();
            }
            Sighting::Domains {
                domains,
                deputy_pid,
                beside,
            } => {
                if let Err(was) = &self.vms.libvirt {
                    tracing::info!(was, domains = domains.len(), "libvirt answers");
                }
                self.vms.libvirt = Ok(());
                let relabelled = labels::relabelled(&self.vms.domains, &domains);
                self.vms.domains = domains;
                self.vms.deputy_pid = deputy_pid;
                self.protect_running(batch);
                self.sighted_beside(beside);
                self.tell_bare(batch);
                self.tell_paused(batch);
                labels::tell(relabelled, batch);
            }
            Sighting::Running {
                running,
                deputy_pid,
            } => self.protect_by_file(&running, deputy_pid, batch),
            Sighting::Gone { error } => {
                if self.vms.libvirt.is_ok() {
                    count(&self.counters.libvirt_lost);
                    tracing::warn!(error, "libvirt does not answer; protection stays as it is");
                }
                self.vms.libvirt = Err(error);
            }
            Sighting::Ended { error } => {
                count(&self.counters.inventory_ends);
                if self.vms.libvirt.as_ref() != Err(&error) {
                    tracing::warn!(
                        error,
                        "libvirt cannot be asked for a while; protection stays as it is"
                    );
                }
                self.vms.inventory = None;
                self.vms.libvirt = Err(error);
            }
        }
    }

    /// A VM without protection must not go unnoticed.
    fn tell_bare(&mut self, batch: &mut Batch) {
        if !self.kernel.is_on() {
            return;
        }
        for (vm, why) in self.vms.newly_bare() {
            tracing::warn!(vm = vm.name, why, "a running VM cannot be protected");
            batch.audit(vm_body("not-protected", vm, UNKNOWN_PROCESS, Some(why)));
        }
    }

    fn protect_running(&mut self, batch: &mut Batch) {
        let domains = &self.vms.domains;
        self.vms.ended.retain(|process| {
            domains
                .iter()
                .any(|domain| domain.run == Run::Running(*process))
        });
        let running: Vec<(Process, Guarded)> = self
            .vms
            .domains
            .iter()
            .filter_map(|domain| match domain.run {
                Run::Running(process) if !self.vms.ended.contains(&process) => Some((
                    process,
                    Guarded {
                        uuid: domain.uuid,
                        name: domain.name.clone(),
                        observe: self.observe,
                        disarmed_until_s: self.disarmed_until_s(process),
                        deputy_pid: self.vms.deputy_pid,
                    },
                )),
                _ => None,
            })
            .collect();
        if !self.kernel.is_on() {
            return;
        }
        for (process, wanted) in running {
            if self.vms.protected.get(&process) != Some(&wanted) {
                self.protect(process, wanted, batch);
            }
        }
    }
}

#[cfg(test)]
mod tests;
