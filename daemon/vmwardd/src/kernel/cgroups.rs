//! The rows about cgroups: which are at or above a VM.
//!
//! The programs add rows when a VM is moved; here they are made when a VM comes
//! under protection, made right after a move, and taken away.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use aya::Ebpf;
use aya::maps::{HashMap, MapData};
use vmward_abi::{CgroupKey, CgroupRow, HOST_CGROUP, cgroup_flag};
use vmward_core::ids::Process;

use super::maps::{BPF_ANY, absent_is_fine, failed, take};
use super::{Guard, GuardRole, KernelError};
use crate::cgroups::{Mounts, Seats, seats_of};

const MAP: &str = "CGROUPS";
/// The number of the top of each hierarchy.
const TOP: u64 = 1;

/// A VM's claim to a cgroup.
#[derive(Clone, Copy)]
struct Claim {
    holds: bool,
    observe: bool,
}

/// Where the threads of `pid` are, and every cgroup at or above that.
fn places(pid: u32) -> io::Result<(Seats, BTreeMap<CgroupKey, bool>)> {
    let seats = seats_of(pid)?;
    let keys = seats.keys(&Mounts::read()?);
    Ok((seats, keys))
}

pub(super) struct Cgroups {
    rows: HashMap<MapData, CgroupKey, CgroupRow>,
    claims: BTreeMap<CgroupKey, BTreeMap<Process, Claim>>,
    /// Where each VM belongs.
    homes: BTreeMap<Process, Seats>,
    /// VMs whose place could not be read. They may have ended, or be hidden.
    unread: BTreeSet<Process>,
    /// virtlogd, whose cgroup is covered.
    logger: Option<Process>,
    /// The programs have added rows since they were last looked through.
    moved: bool,
}

impl Cgroups {
    pub(super) fn open(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        Ok(Self {
            rows: take(ebpf, MAP)?.try_into().map_err(failed("open", MAP))?,
            claims: BTreeMap::new(),
            homes: BTreeMap::new(),
            unread: BTreeSet::new(),
            logger: None,
            // Whatever a former daemon left.
            moved: true,
        })
    }

    /// The cgroups of a VM, and those above, are its own from here on. Where its
    /// threads are now is where they belong.
    pub(super) fn cover(&mut self, vm: Process, observe: bool) -> Result<(), KernelError> {
        let (seats, mut keys) = match places(vm.pid) {
            Ok(places) => places,
            Err(error) => {
                // It has ended or is hidden, which its caller finds out by itself.
                tracing::debug!(pid = vm.pid, %error, "the cgroups of a VM cannot be read");
                self.unread.insert(vm);
                return Ok(());
            }
        };
        self.unread.remove(&vm);
        keys.insert(HOST_CGROUP, false);
        self.homes.insert(vm, seats);
        self.claim(vm, keys, observe)
    }

    /// The cgroup that the daemon is in now, and those above, but for the top,
    /// which is everybody's.
    pub(super) fn cover_own(&mut self, own: Process, observe: bool) -> Result<(), KernelError> {
        match places(own.pid) {
            Ok((_, mut keys)) => {
                keys.retain(|key, _| key.id != TOP);
                self.claim(own, keys, observe)
            }
            Err(error) => {
                tracing::warn!(%error, "the daemon's own cgroup is not guarded: it cannot be found");
                Ok(())
            }
        }
    }

    /// The cgroup that virtlogd is in, and none above: others are there, too. One
    /// that is not found any more may only be hidden.
    pub(super) fn cover_logger(&mut self, wanted: &[Guard]) -> Result<(), KernelError> {
        let found = wanted.iter().find(|guard| guard.role == GuardRole::Logger);
        let Some(logger) = found.filter(|guard| self.logger != Some(guard.process)) else {
            return Ok(());
        };
        let mut keys = match places(logger.process.pid) {
            Ok((_, keys)) => keys,
            Err(error) => {
                tracing::warn!(%error, "virtlogd's cgroup is not guarded: it cannot be found");
                return Ok(());
            }
        };
        keys.retain(|key, holds| *holds && key.id != TOP);
        if let Some(former) = self.logger.replace(logger.process) {
            let changed = self.drop_claims(former);
            self.write(&changed)?;
        }
        self.claim(logger.process, keys, logger.observe)
    }

    /// These cgroups are this process's, and no others.
    fn claim(
        &mut self,
        process: Process,
        keys: BTreeMap<CgroupKey, bool>,
        observe: bool,
    ) -> Result<(), KernelError> {
        let mut changed = self.drop_claims(process);
        for (key, holds) in keys {
            let claim = Claim { holds, observe };
            self.claims.entry(key).or_default().insert(process, claim);
            changed.insert(key);
        }
        self.write(&changed)
    }

    /// A VM is gone.
    pub(super) fn uncover(&mut self, vm: Process) -> Result<(), KernelError> {
        self.homes.remove(&vm);
        self.unread.remove(&vm);
        let changed = self.drop_claims(vm);
        self.write(&changed)?;
        self.sweep()
    }

    /// Somebody has moved a VM: back with it. Gives whether it had to be.
    pub(super) fn bring_back(&mut self, vm: Process, observe: bool) -> Result<bool, KernelError> {
        self.moved = true;
        let Some(home) = self.homes.get(&vm) else {
            return Ok(false);
        };
        if !observe {
            let result = Mounts::read().and_then(|mounts| home.bring_back(vm.pid, &mounts));
            if let Err(error) = result {
                tracing::error!(pid = vm.pid, %error, "a VM was moved to another cgroup and cannot be brought back");
                return Ok(false);
            }
        }
        self.sweep()?;
        Ok(!observe)
    }

    fn drop_claims(&mut self, vm: Process) -> BTreeSet<CgroupKey> {
        let mut changed = BTreeSet::new();
        self.claims.retain(|key, claims| {
            if claims.remove(&vm).is_some() {
                changed.insert(*key);
            }
            !claims.is_empty()
        });
        changed
    }

    /// The row that the claims make; `None` for nobody's.
    fn row(&self, key: &CgroupKey) -> Option<CgroupRow> {
        let claims = self.claims.get(key)?;
        let (vm, _) = claims.first_key_value()?;
        let single = claims.len() == 1;
        let mut flags = 0;
        if claims.values().any(|claim| claim.holds) {
            flags |= cgroup_flag::HOLDS;
        }
        if claims.values().all(|claim| claim.observe) {
            flags |= cgroup_flag::OBSERVE;
        }
        Some(CgroupRow {
            start_ticks: if single { vm.start_ticks } else { 0 },
            moved_ns: 0,
            tgid: if single { vm.pid } else { 0 },
            flags,
        })
    }

    fn write(&mut self, keys: &BTreeSet<CgroupKey>) -> Result<(), KernelError> {
        for key in keys {
            match self.row(key) {
                Some(row) => self
                    .rows
                    .insert(key, row, BPF_ANY)
                    .map_err(failed("add a cgroup", MAP))?,
                None => {
                    absent_is_fine(self.rows.remove(key))
                        .map_err(failed("remove a cgroup", MAP))?;
                }
            }
        }
        Ok(())
    }

    /// As [`Cgroups::sweep`], also where no move was told of.
    pub(super) fn sweep_all(&mut self) -> Result<(), KernelError> {
        self.moved = true;
        self.sweep()
    }

    /// Takes away what the programs added and no VM needs any more. Where a VM is
    /// elsewhere and cannot be brought back, its rows stay; and all of them while the
    /// place of one cannot be read.
    pub(super) fn sweep(&mut self) -> Result<(), KernelError> {
        if !self.moved || !self.unread.is_empty() {
            return Ok(());
        }
        let mut needed: BTreeSet<CgroupKey> = self.claims.keys().copied().collect();
        let Ok(mounts) = Mounts::read() else {
            return Ok(());
        };
        for vm in self.homes.keys() {
            let Ok(seats) = seats_of(vm.pid) else {
                return Ok(());
            };
            needed.extend(seats.keys(&mounts).into_keys());
        }
        let mut stale = BTreeSet::new();
        let mut odd = BTreeSet::new();
        for entry in &self.rows {
            let (key, row) = entry.map_err(failed("list the cgroups", MAP))?;
            if !needed.contains(&key) {
                stale.insert(key);
            } else if self.row(&key).is_some_and(|own| own != row) {
                odd.insert(key);
            }
        }
        stale.append(&mut odd);
        self.write(&stale)?;
        self.moved = false;
        Ok(())
    }
}
