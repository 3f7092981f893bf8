//! The maps as typed handles: rows in, rows out.

use std::collections::BTreeSet;
mod guards;

use aya::Ebpf;
use aya::maps::{Array, HashMap, Map, MapData, MapError};
use vmward_abi::{
    LeaseRow as RawLease, VmRow, VmState, finishing_cause, lease_state, role, total, vm_flag,
};
use vmward_core::ids::Process;

use super::calls::CallMaps;
use super::{KernelError, LeaseRow, Protected, ProtectedState};

/// `bpf_map_update_elem`: only where there is none yet.
const BPF_NOEXIST: u64 = 1;
/// `bpf_map_update_elem`: only where there is one.
const BPF_EXIST: u64 = 2;
/// `bpf_map_update_elem`: whether or not there is one.
pub(super) const BPF_ANY: u64 = 0;

pub(super) struct Maps {
    vms: HashMap<MapData, u32, VmRow>,
    states: HashMap<MapData, u32, VmState>,
    leases: HashMap<MapData, u32, RawLease>,
    totals: Array<MapData, u64>,
    active: Array<MapData, u32>,
    pub(super) calls: CallMaps,
}

/// Events since the programs were first attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Made.
    pub events: u64,
    /// Not taken by the full ring.
    pub lost: u64,
}

pub(super) fn failed(
    what: &'static str,
    map: &'static str,
) -> impl FnOnce(MapError) -> KernelError {
    move |source| KernelError::Map {
        what,
        map,
        source: Box::new(source),
    }
}

/// Takes a map out of the object; a missing one is a build error, reported as
/// one.
pub(super) fn take(ebpf: &mut Ebpf, map: &'static str) -> Result<Map, KernelError> {
    ebpf.take_map(map).ok_or_else(|| KernelError::MissingField {
        what: format!("map {map}"),
    })
}

/// An absent key is no error.
pub(super) fn absent_is_none<T>(read: Result<T, MapError>) -> Result<Option<T>, MapError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Removing what is gone already is no error.
pub(super) fn absent_is_fine(removed: Result<(), MapError>) -> Result<(), MapError> {
    match removed {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(e)) if e.io_error.kind() == std::io::ErrorKind::NotFound => {
            Ok(())
        }
        other => other,
    }
}

impl Maps {
    pub(super) fn open(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        let vms: HashMap<MapData, u32, VmRow> = take(ebpf, "VMS")?
            .try_into()
            .map_err(failed("open", "VMS"))?;
        let mut enforced = BTreeSet::new();
        for row in &vms {
            let (pid, row) = row.map_err(failed("list the VMs", "VMS"))?;
            if row.role == role::VM && row.flags & vm_flag::OBSERVE == 0 {
                enforced.insert(pid);
            }
        }
        Ok(Self {
            vms,
            states: take(ebpf, "VM_STATES")?
                .try_into()
                .map_err(failed("open", "VM_STATES"))?,
            leases: take(ebpf, "LEASES")?
                .try_into()
                .map_err(failed("open", "LEASES"))?,
            totals: take(ebpf, "TOTALS")?
                .try_into()
                .map_err(failed("open", "TOTALS"))?,
            active: take(ebpf, "ACTIVE")?
                .try_into()
                .map_err(failed("open", "ACTIVE"))?,
            calls: CallMaps::open(ebpf, enforced)?,
        })
    }

    /// From here on the programs of `generation` decide.
    pub(super) fn set_active(&mut self, generation: u32) -> Result<(), KernelError> {
        self.active
            .set(0, generation, 0)
            .map_err(failed("set the generation", "ACTIVE"))
    }

    /// The state comes before the row that makes it matter.
    pub(super) fn protect(&mut self, vm: &Protected) -> Result<(), KernelError> {
        let pid = vm.process.pid;
        let row = row_of(vm, role::VM);
        let before =
            absent_is_none(self.vms.get(&pid, 0)).map_err(failed("look up a VM", "VMS"))?;
        let same = before.is_some_and(|b| b.start_ticks == row.start_ticks);
        let state = VmState {
            seq: 0,
            deputy_pid_ptr: 0,
            deputy_tgid: vm.deputy_pid,
            finishing: 0,
        };
        // A row that a former process of this id left behind is replaced.
        let flags = if same { BPF_NOEXIST } else { BPF_ANY };
        match self.states.insert(pid, state, flags) {
            Err(MapError::SyscallError(e))
                if same && e.io_error.kind() == std::io::ErrorKind::AlreadyExists => {}
            other => other.map_err(failed("add a VM", "VM_STATES"))?,
        }
        if before != Some(row) {
            self.vms
                .insert(pid, row, BPF_ANY)
                .map_err(failed("add a VM", "VMS"))?;
        }
        self.calls.protect(vm)
    }

    /// A VM that starts, where there is no row about the process yet.
    pub(super) fn put_starting(&mut self, vm: &Protected) -> Result<(), KernelError> {
        let before = absent_is_none(self.vms.get(&vm.process.pid, 0))
            .map_err(failed("look up a VM", "VMS"))?;
        if before.is_some_and(|before| before.start_ticks == vm.process.start_ticks) {
            return Ok(());
        }
        self.put_row(vm.process.pid, row_of(vm, role::STARTING))
    }

    /// Where it still is the same process.
    pub(super) fn disarm(&mut self, vm: Process, until_s: u32) -> Result<(), KernelError> {
        let row =
            absent_is_none(self.vms.get(&vm.pid, 0)).map_err(failed("look up a VM", "VMS"))?;
        let is_it = |row: &VmRow| row.role == role::VM && row.start_ticks == vm.start_ticks;
        let Some(row) = row.filter(is_it) else {
            return Ok(());
        };
        let row = VmRow {
            disarmed_until_s: until_s,
            ..row
        };
        // Only where it still is there: it may have ended just now.
        absent_is_fine(self.vms.insert(vm.pid, row, BPF_EXIST))
            .map_err(failed("disarm or arm a VM", "VMS"))
    }

    /// A guarded process that is no VM.
    pub(super) fn put_row(&mut self, pid: u32, row: VmRow) -> Result<(), KernelError> {
        self.vms
            .insert(pid, row, BPF_ANY)
            .map_err(failed("guard a process", "VMS"))
    }

    pub(super) fn unprotect(&mut self, process: Process) -> Result<(), KernelError> {
        let row =
            absent_is_none(self.vms.get(&process.pid, 0)).map_err(failed("look up a VM", "VMS"))?;
        let Some(row) = row.filter(|row| row.start_ticks == process.start_ticks) else {
            return Ok(());
        };
        self.calls.unprotect(row.uuid, process.pid)?;
        absent_is_fine(self.vms.remove(&process.pid)).map_err(failed("remove a VM", "VMS"))?;
        absent_is_fine(self.states.remove(&process.pid))
            .map_err(failed("remove a VM", "VM_STATES"))?;
        absent_is_fine(self.leases.remove(&process.pid)).map_err(failed("remove a lease", "LEASES"))
    }

    pub(super) fn protected(&self) -> Result<Vec<ProtectedState>, KernelError> {
        let mut all = Vec::new();
        for row in &self.vms {
            let (pid, row) = row.map_err(failed("list the VMs", "VMS"))?;
            if row.role != role::VM {
                continue;
            }
            let state = absent_is_none(self.states.get(&pid, 0))
                .map_err(failed("look up a VM", "VM_STATES"))?;
            all.push(ProtectedState {
                protected: Protected {
                    uuid: row.uuid,
                    process: Process {
                        pid,
                        start_ticks: row.start_ticks,
                    },
                    observe: row.flags & vm_flag::OBSERVE != 0,
                    disarmed_until_s: row.disarmed_until_s,
                    deputy_pid: state.map_or(0, |s| s.deputy_tgid),
                },
                finishing: state.is_some_and(|s| s.finishing & finishing_cause::OVER != 0),
                events: state.map_or(0, |s| s.seq),
            });
        }
        Ok(all)
    }

    pub(super) fn put_lease(&mut self, lease: &LeaseRow) -> Result<(), KernelError> {
        let row = RawLease {
            id: lease.id,
            vm_start_ticks: lease.vm.start_ticks,
            holder_start_ticks: lease.holder.start_ticks,
            deadline_ns: lease.deadline_ns,
            claimed_ns: 0,
            holder_tgid: lease.holder.pid,
            effects: lease.effects,
            state: lease_state::GRANTED,
            used: 0,
        };
        self.leases
            .insert(lease.vm.pid, row, BPF_ANY)
            .map_err(failed("put a lease", "LEASES"))
    }

    pub(super) fn lease(&self, vm: Process) -> Result<Option<LeaseRow>, KernelError> {
        let row = absent_is_none(self.leases.get(&vm.pid, 0))
            .map_err(failed("look up a lease", "LEASES"))?;
        Ok(row
            .map(|row| lease_of(vm.pid, &row))
            .filter(|lease| lease.vm == vm))
    }

    pub(super) fn leases(&self) -> Result<Vec<LeaseRow>, KernelError> {
        self.leases
            .iter()
            .map(|entry| {
                let (pid, row) = entry.map_err(failed("list the leases", "LEASES"))?;
                Ok(lease_of(pid, &row))
            })
            .collect()
    }

    pub(super) fn remove_lease(&mut self, vm: Process, id: u64) -> Result<(), KernelError> {
        match self.lease(vm)? {
            Some(lease) if lease.id == id => absent_is_fine(self.leases.remove(&vm.pid))
                .map_err(failed("remove a lease", "LEASES")),
            _ => Ok(()),
        }
    }

    pub(super) fn totals(&self) -> Result<Totals, KernelError> {
        let read = |slot: u32| self.totals.get(&slot, 0).map_err(failed("read", "TOTALS"));
        Ok(Totals {
            events: read(total::EVENTS)?,
            lost: read(total::LOST)?,
        })
    }
}

fn row_of(vm: &Protected, role: u32) -> VmRow {
    VmRow {
        uuid: vm.uuid,
        start_ticks: vm.process.start_ticks,
        flags: if vm.observe { vm_flag::OBSERVE } else { 0 },
        role,
        owner_tgid: 0,
        disarmed_until_s: vm.disarmed_until_s,
    }
}

fn lease_of(vm_pid: u32, row: &RawLease) -> LeaseRow {
    LeaseRow {
        id: row.id,
        vm: Process {
            pid: vm_pid,
            start_ticks: row.vm_start_ticks,
        },
        holder: Process {
            pid: row.holder_tgid,
            start_ticks: row.holder_start_ticks,
        },
        effects: row.effects,
        deadline_ns: row.deadline_ns,
        executing: row.state == lease_state::EXECUTING,
    }
}
