//! The kernel side: the only module that names aya.
//!
//! [`Kernel::attach`] loads the programs, or takes over from the daemon that
//! ran before without a gap; [`Kernel::self_test`] attacks a canary through
//! every hook on this very kernel. The rows of the maps are the truth about
//! what is protected and leased: they live in the kernel and outlive this
//! process.

mod attach;
mod calls;
pub mod canary;
mod cgroups;
mod error;
mod events;
mod guarded;
mod host;
mod keeper;
mod leases;
mod lifeline;
mod maps;
mod monitor;
mod offsets;
mod open_files;
mod own;
mod selftest;
mod teach;

use std::path::{Path, PathBuf};

use vmward_core::ids::Process;
use vmward_wire::v1::HookStatus;

pub use attach::PinLock;
pub use calls::CallRules;
pub use error::KernelError;
pub use events::{EventKind, EventReader, KernelActor, KernelEvent, KernelRequester, UnknownEvent};
pub use host::{Actor, HostMaps, HostRule, HostRuleState};
pub use maps::Totals;

use attach::Programs;
use cgroups::Cgroups;
use guarded::Ids;
use maps::Maps;
use monitor::MonitorMaps;
use own::OwnMaps;

/// The UUID of the self-test's canary, by which its events are told from those
/// of VMs.
pub const CANARY_UUID: [u8; 16] = [0; 16];

/// A VM to put under protection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protected {
    /// libvirt's UUID.
    pub uuid: [u8; 16],
    /// The QEMU process.
    pub process: Process,
    /// Let stops through and only record them.
    pub observe: bool,
    /// `CLOCK_BOOTTIME` second until which a person has disarmed it; 0 for never.
    pub disarmed_until_s: u32,
    /// libvirtd's process id as far as the daemon knows it; 0 when it does
    /// not. The programs learn it from the monitor.
    pub deputy_pid: u32,
}

/// A process beside the VMs that the kernel guards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The process.
    pub process: Process,
    /// What it is.
    pub role: GuardRole,
    /// Let attacks through and only record them.
    pub observe: bool,
}

/// Why a process is guarded that is no VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardRole {
    /// Its end is the end of this VM.
    Helper {
        /// The VM's, by libvirt.
        uuid: [u8; 16],
        /// The VM's process.
        vm: Process,
    },
    /// libvirt's daemon: may be ended, not tampered with.
    Deputy,
    /// virtlogd: as that, and not held up, since every VM waits for it.
    Logger,
    /// The program that asks libvirt: for the daemon and PID 1 only.
    Inventory,
}

/// A VM as the kernel has it.
#[derive(Clone, Debug)]
pub struct ProtectedState {
    /// What was asked for.
    pub protected: Protected,
    /// QEMU said that the guest is over.
    pub finishing: bool,
    /// Events so far.
    pub events: u64,
}

/// A lease as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRow {
    /// The decision that granted it.
    pub id: u64,
    /// The VM's process.
    pub vm: Process,
    /// The process that may use it, with its descendants.
    pub holder: Process,
    /// Bits of `vmward_abi::effect`.
    pub effects: u32,
    /// `CLOCK_BOOTTIME` nanoseconds.
    pub deadline_ns: u64,
    /// Used at least once.
    pub executing: bool,
}

/// The attached programs and their maps.
pub struct Kernel {
    programs: Programs,
    maps: Maps,
    host: HostMaps,
    cgroups: Cgroups,
    monitors: MonitorMaps,
    own: OwnMaps,
    reader: Option<EventReader>,
}

impl Kernel {
    /// Loads and attaches the programs beside those of a daemon that ran
    /// before, then switches over. Until [`Kernel::self_test`] has passed the
    /// former programs stay, to go back to.
    ///
    /// # Errors
    /// On any error nothing new is left attached.
    pub fn attach(lock: PinLock) -> Result<Self, KernelError> {
        let pin_dir = lock.pin_dir().to_owned();
        let (programs, mut ebpf) = attach::load(lock)?;
        let ids = Ids::of(&ebpf);
        let opened = Maps::open(&mut ebpf)
            .and_then(|maps| {
                Ok((
                    EventReader::open(&mut ebpf)?,
                    HostMaps::open(&mut ebpf)?,
                    Cgroups::open(&mut ebpf)?,
                    MonitorMaps::open(&mut ebpf)?,
                    OwnMaps::open(&mut ebpf, ids, &pin_dir)?,
                    maps,
                ))
            })
            .and_then(|(reader, host, cgroups, monitors, mut own, mut maps)| {
                own.introduce()?;
                maps.set_active(programs.generation())?;
                teach::calls(&mut own)?;
                Ok((reader, host, cgroups, monitors, own, maps))
            });
        match opened {
            Ok((reader, host, cgroups, monitors, own, maps)) => Ok(Self {
                programs,
                maps,
                host,
                cgroups,
                monitors,
                own,
                reader: Some(reader),
            }),
            Err(e) => {
                programs.remove();
                Err(e)
            }
        }
    }

    /// Attacks a canary through every hook. On failure the former programs
    /// decide again, or, where there were none, nothing stays attached.
    ///
    /// # Errors
    /// What did not behave on this kernel.
    pub fn self_test(&mut self, run_dir: &Path) -> Result<(), KernelError> {
        let tested = self
            .cover_all()
            .and_then(|()| selftest::run(self, run_dir))
            .and_then(|()| self.cgroups.sweep_all());
        if tested.is_ok() {
            self.programs.commit();
            self.own.guarded().forget_former()?;
        } else {
            if let Some(former) = self.programs.former() {
                self.maps.set_active(former)?;
            }
            self.programs.remove();
        }
        tested
    }

    /// Were there programs of a former daemon?
    pub fn took_over(&self) -> bool {
        self.programs.former().is_some()
    }

    /// The state of each program.
    pub fn hooks(&self) -> Vec<HookStatus> {
        self.programs.status()
    }

    /// What is done with calls to libvirt from here on.
    ///
    /// # Errors
    /// When the map refuses.
    pub fn set_call_rules(&mut self, rules: &CallRules) -> Result<(), KernelError> {
        self.maps.calls.set_rules(rules)
    }

    /// Puts a VM under protection. A VM that is protected already keeps its
    /// event numbers.
    ///
    /// # Errors
    /// When the map refuses: it is full, or not ours to write.
    pub fn protect(&mut self, vm: &Protected) -> Result<(), KernelError> {
        // Before the row that makes them matter.
        let open = self.monitors.guard(vm.process)?;
        for what in open {
            tracing::warn!(
                pid = vm.process.pid,
                what,
                "this VM takes orders where vmward cannot stand in the way"
            );
        }
        self.own.expect(vm.process);
        self.maps.protect(vm)?;
        self.own.count(&self.maps.protected()?)?;
        self.cgroups.cover(vm.process, vm.observe)
    }

    /// Guards a VM that starts from everybody but libvirt and PID 1. One that is
    /// protected stays so.
    ///
    /// # Errors
    /// When the map refuses: it is full, or not ours to write.
    pub fn guard_start(&mut self, vm: &Protected) -> Result<(), KernelError> {
        self.maps.put_starting(vm)
    }

    /// Takes a VM out of protection, where it is still the same process.
    ///
    /// # Errors
    /// When the map refuses.
    pub fn unprotect(&mut self, process: Process) -> Result<(), KernelError> {
        self.maps.unprotect(process)?;
        self.own.count(&self.maps.protected()?)?;
        self.monitors.forget(process)?;
        self.cgroups.uncover(process)
    }

    /// A VM was moved to another cgroup, by somebody who may, such as libvirt, or
    /// by somebody else, in which case it is brought back. Gives whether it was.
    ///
    /// # Errors
    /// When a map refuses.
    pub fn moved(&mut self, process: Process, may: bool) -> Result<bool, KernelError> {
        let all = self.maps.protected()?;
        let Some(vm) = all.iter().find(|vm| vm.protected.process == process) else {
            return Ok(false);
        };
        match (may, vm.protected.observe) {
            (true, observe) => self.cgroups.cover(process, observe).map(|()| false),
            (false, observe) => self.cgroups.bring_back(process, observe),
        }
    }

    /// Takes up the cgroups of the VMs that a former daemon protected.
    fn cover_all(&mut self) -> Result<(), KernelError> {
        for vm in self.maps.protected()? {
            let vm = vm.protected;
            self.cgroups.cover(vm.process, vm.observe)?;
        }
        self.cgroups.sweep()
    }

    /// Guards these processes beside the VMs, and no other helpers.
    ///
    /// # Errors
    /// When the map refuses: it is full, or not ours to write.
    pub fn set_guards(&mut self, wanted: &[Guard]) -> Result<(), KernelError> {
        self.cgroups.cover_logger(wanted)?;
        self.maps.set_guards(wanted)
    }

    /// Every VM under protection.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn protected(&self) -> Result<Vec<ProtectedState>, KernelError> {
        self.maps.protected()
    }

    /// The host rules, to read and to write.
    pub fn host_rules(&mut self) -> &mut HostMaps {
        &mut self.host
    }

    /// Guards the daemon's own process, its cgroup and the files in `folders`;
    /// what is done to `config` is only recorded.
    ///
    /// # Errors
    /// When a map refuses.
    pub fn guard_self(
        &mut self,
        observe: bool,
        folders: Vec<PathBuf>,
        config: Vec<PathBuf>,
    ) -> Result<(), KernelError> {
        let fact = vmward_abi::fact::OBSERVE;
        self.own.set(fact, u64::from(observe))?;
        let own = selftest::own_process()?;
        own::guard_daemon(&mut self.maps, own, observe)?;
        self.cgroups.cover_own(own, observe)?;
        self.own.keep(folders, config)
    }

    /// The daemon is well at `now_ns` of `CLOCK_BOOTTIME`. Cheap where it said so
    /// a moment ago.
    ///
    /// # Errors
    /// When a map refuses.
    pub fn beat(&mut self, now_ns: u64) -> Result<(), KernelError> {
        self.own.beat(now_ns)
    }

    /// Disarms a VM until this second of `CLOCK_BOOTTIME`; 0 arms it. Nothing
    /// happens where it is no longer the same process.
    ///
    /// # Errors
    /// When the map refuses.
    pub fn disarm_vm(&mut self, vm: Process, until_s: u32) -> Result<(), KernelError> {
        self.maps.disarm(vm, until_s)
    }

    /// Disarms the whole host until this nanosecond of `CLOCK_BOOTTIME`; 0 arms
    /// it.
    ///
    /// # Errors
    /// When the map refuses.
    pub fn disarm_host(&mut self, until_ns: u64) -> Result<(), KernelError> {
        self.own.set(vmward_abi::fact::DISARMED_UNTIL, until_ns)
    }

    /// Until when the whole host is disarmed.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn host_disarmed_until(&self) -> Result<u64, KernelError> {
        self.own.get(vmward_abi::fact::DISARMED_UNTIL)
    }

    /// Event counters.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn totals(&self) -> Result<Totals, KernelError> {
        self.maps.totals()
    }

    /// The reader of the events. Gives it once.
    pub fn take_events(&mut self) -> Option<EventReader> {
        self.reader.take()
    }
}
