//! What the kernel is told of the daemon: that it is there, that it is well, how
//! many VMs it protects.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use aya::Ebpf;
use aya::maps::{Array, MapData};
use vmward_abi::{HOST_UUID, VmRow, fact, role, vm_flag};
use vmward_core::ids::Process;

use super::guarded::{Guarded, Ids, Vms};
use super::keeper::{Keeper, lock};
use super::maps::{Maps, failed, take};
use super::{KernelError, Protected};
use crate::process::view::mount_namespace;

/// After this time without a sign of life anybody may end the daemon.
const WELL_NS: u64 = 10_000_000_000;
/// How often the daemon gives one.
const BEAT_NS: u64 = 2_000_000_000;

/// The map of facts, and who keeps the objects under guard.
pub(super) struct OwnMaps {
    facts: Array<MapData, u64>,
    guarded: Arc<Mutex<Guarded>>,
    vms: Vms,
    keeper: Option<Keeper>,
    beaten_ns: u64,
}

impl OwnMaps {
    pub(super) fn open(ebpf: &mut Ebpf, ids: Ids, pin_dir: &Path) -> Result<Self, KernelError> {
        let vms = Vms::default();
        let guarded = Guarded::open(ebpf, ids, pin_dir, vms.clone())?;
        Ok(Self {
            facts: take(ebpf, "FACTS")?
                .try_into()
                .map_err(failed("open", "FACTS"))?,
            guarded: Arc::new(Mutex::new(guarded)),
            vms,
            keeper: None,
            beaten_ns: 0,
        })
    }

    pub(super) fn set(&mut self, slot: u32, value: u64) -> Result<(), KernelError> {
        self.facts
            .set(slot, value, 0)
            .map_err(failed("set a fact", "FACTS"))
    }

    pub(super) fn get(&self, slot: u32) -> Result<u64, KernelError> {
        self.facts
            .get(&slot, 0)
            .map_err(failed("look up a fact", "FACTS"))
    }

    /// What is under guard. For the start: later it is the keeper's.
    pub(super) fn guarded(&self) -> MutexGuard<'_, Guarded> {
        lock(&self.guarded)
    }

    /// Before these programs decide: who they must not refuse, and what they
    /// guard from everybody else.
    pub(super) fn introduce(&mut self) -> Result<(), KernelError> {
        if let Some(number) = mount_namespace("1") {
            self.set(fact::HOST_MOUNTS, number.into())?;
        }
        self.guarded().introduce()
    }

    /// Keeps the files in `folders` under guard from now on, and `config` under
    /// watch.
    pub(super) fn keep(
        &mut self,
        folders: Vec<PathBuf>,
        config: Vec<PathBuf>,
    ) -> Result<(), KernelError> {
        self.guarded().files.are_in(folders, config);
        let guarded = Arc::clone(&self.guarded);
        let look = move || lock(&guarded).guard_files();
        let keeper = Keeper::start(look).map_err(KernelError::Keeper)?;
        keeper.wake();
        self.keeper = Some(keeper);
        Ok(())
    }

    /// The daemon is well, from now on for a while.
    pub(super) fn beat(&mut self, now_ns: u64) -> Result<(), KernelError> {
        if now_ns.saturating_sub(self.beaten_ns) < BEAT_NS {
            return Ok(());
        }
        self.beaten_ns = now_ns;
        self.set(fact::WELL_UNTIL, now_ns.saturating_add(WELL_NS))?;
        self.keeper.as_ref().map_or(Ok(()), |keeper| {
            keeper.wake();
            keeper.fault(now_ns)
        })
    }

    /// A VM is about to be protected.
    pub(super) fn expect(&self, vm: Process) {
        self.vms.add(vm);
    }

    /// How many VMs are protected.
    pub(super) fn count(&mut self, vms: &[super::ProtectedState]) -> Result<(), KernelError> {
        let real = vms
            .iter()
            .map(|state| &state.protected)
            .filter(|vm| vm.uuid != super::CANARY_UUID);
        self.vms
            .set(vms.iter().map(|state| state.protected.process).collect());
        if let Some(keeper) = &self.keeper {
            keeper.wake();
        }
        let (observed, enforced): (Vec<&Protected>, Vec<&Protected>) =
            real.partition(|vm| vm.observe);
        self.set(fact::VMS_ENFORCED, enforced.len() as u64)?;
        self.set(fact::VMS_OBSERVED, observed.len() as u64)
    }
}

/// The daemon's own row among the guarded processes.
pub(super) fn guard_daemon(maps: &mut Maps, me: Process, observe: bool) -> Result<(), KernelError> {
    maps.put_row(
        me.pid,
        VmRow {
            uuid: HOST_UUID,
            start_ticks: me.start_ticks,
            flags: if observe { vm_flag::OBSERVE } else { 0 },
            role: role::OWN,
            owner_tgid: 0,
            disarmed_until_s: 0,
        },
    )
}
