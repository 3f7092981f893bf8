//! libvirt's procedures that matter, and the maps in which the programs note who
//! asked for them.
//!
//! Numbers and what comes before the domain in a message: `remote_protocol.x` and
//! `qemu_protocol.x` in `src/remote`, `src/admin/admin_protocol.x` of libvirt.

use std::collections::BTreeSet;

use aya::Ebpf;
use aya::maps::{HashMap, MapData};
use vmward_abi::effect::{
    DELETE, FORCE_STOP, MIGRATE, PAUSE, REBOOT, RESET, SAVE, STOP as SHUTDOWN,
};
use vmward_abi::procedure_flag::{
    AUTODESTROY, HALTS, HOST, NO_DOMAIN, REFUSE, STOP, STRING_FIRST, WITNESS,
};
use vmward_abi::{
    CALLS_KEPT, Call, Calls, HOST_UUID, ProcedureKey, ProcedureRow, UNREAD_UUID, WORD_LEN,
};

use super::maps::{BPF_ANY, absent_is_fine, absent_is_none, failed, take};
use super::{KernelError, Protected};

const REMOTE: u32 = 0x2000_8086;
const QEMU: u32 = 0x2000_8087;
const ADMIN: u32 = 0x0690_0690;

/// Whatever a pass-through command or a guest's agent may do.
const ANYTHING: u32 = SHUTDOWN | FORCE_STOP | REBOOT | RESET | PAUSE | SAVE | MIGRATE | DELETE;
/// A stop that leaves the VM's memory in a file.
const SAVED: u32 = SAVE | PAUSE | MIGRATE | FORCE_STOP;
const MIGRATED: u32 = MIGRATE | PAUSE | SAVE | FORCE_STOP;

/// One of libvirt's procedures.
struct Procedure {
    program: u32,
    number: u32,
    name: &'static str,
    /// The effect whose lease covers it; 0 for none.
    effect: u32,
    /// Every effect that the walls may see on the way.
    seen: u32,
    flags: u32,
}

const fn row(
    program: u32,
    number: u32,
    name: &'static str,
    effect: u32,
    seen: u32,
    flags: u32,
) -> Procedure {
    Procedure {
        program,
        number,
        name,
        effect,
        seen,
        flags,
    }
}

/// What stops, pauses or resets a VM beyond doubt. The walls judge it; here it
/// tells who asked. Reverting to a snapshot begins with libvirt's last kill of
/// the VM, after which no refusal is clean: it is refused here in any case.
const STOPS: &[Procedure] = &[
    row(REMOTE, 12, "destroy", FORCE_STOP, FORCE_STOP, STOP),
    row(REMOTE, 234, "destroy", FORCE_STOP, FORCE_STOP, STOP),
    row(REMOTE, 33, "shutdown", SHUTDOWN, SHUTDOWN, STOP),
    row(REMOTE, 258, "shutdown", SHUTDOWN, SHUTDOWN, STOP),
    row(
        REMOTE,
        27,
        "reboot",
        REBOOT,
        REBOOT | SHUTDOWN | RESET,
        STOP,
    ),
    row(REMOTE, 245, "reset", RESET, RESET, STOP),
    row(REMOTE, 34, "suspend", PAUSE, PAUSE, STOP),
    row(REMOTE, 55, "save", SAVE, SAVED, STOP),
    row(REMOTE, 232, "save", SAVE, SAVED, STOP),
    row(REMOTE, 440, "save", SAVE, SAVED, STOP),
    row(REMOTE, 182, "managed-save", SAVE, SAVED, STOP),
    row(REMOTE, 261, "pm-suspend", PAUSE, ANYTHING, STOP),
    row(REMOTE, 62, "migrate", MIGRATE, MIGRATED, STOP),
    row(REMOTE, 216, "migrate", MIGRATE, MIGRATED, STOP),
    row(REMOTE, 305, "migrate", MIGRATE, MIGRATED, STOP),
    row(
        REMOTE,
        192,
        "revert-to-snapshot",
        FORCE_STOP,
        ANYTHING,
        STOP | STRING_FIRST | REFUSE,
    ),
];

/// What may stop a VM, by its arguments or by chance: never refused here, but for a
/// snapshot of disks alone that ends the VM, which begins as a revert does.
const MAYBES: &[Procedure] = &[
    row(REMOTE, 53, "core-dump", PAUSE, SAVED | RESET, 0),
    row(REMOTE, 334, "core-dump", PAUSE, SAVED | RESET, 0),
    row(REMOTE, 210, "inject-nmi", RESET, RESET, 0),
    row(REMOTE, 226, "send-key", RESET, RESET | REBOOT | SHUTDOWN, 0),
    row(
        REMOTE,
        295,
        "send-process-signal",
        FORCE_STOP,
        FORCE_STOP,
        0,
    ),
    row(REMOTE, 213, "migrate", MIGRATE, MIGRATED, 0),
    row(REMOTE, 302, "migrate", MIGRATE, MIGRATED, 0),
    row(REMOTE, 218, "migrate-confirm", MIGRATE, MIGRATED, 0),
    row(REMOTE, 307, "migrate-confirm", MIGRATE, MIGRATED, 0),
    row(REMOTE, 364, "migrate-start-post-copy", MIGRATE, MIGRATED, 0),
    row(REMOTE, 164, "abort-job", MIGRATE, MIGRATED, 0),
    row(REMOTE, 442, "abort-job", MIGRATE, MIGRATED, 0),
    row(
        REMOTE,
        185,
        "snapshot-create",
        FORCE_STOP,
        SAVED | RESET,
        HALTS,
    ),
    row(REMOTE, 193, "snapshot-delete", PAUSE, PAUSE, STRING_FIRST),
];

/// What makes a later stop possible, starves a VM, or passes on what libvirt does
/// not look at: recorded, or refused where the configuration names it.
const ARMING: &[Procedure] = &[
    row(QEMU, 1, "monitor-command", FORCE_STOP, ANYTHING, 0),
    row(QEMU, 7, "monitor-command", FORCE_STOP, ANYTHING, 0),
    row(QEMU, 3, "agent-command", FORCE_STOP, ANYTHING, 0),
    row(REMOTE, 390, "set-lifecycle-action", FORCE_STOP, ANYTHING, 0),
    row(
        REMOTE,
        10,
        "autodestroy",
        FORCE_STOP,
        FORCE_STOP,
        AUTODESTROY | NO_DOMAIN,
    ),
    row(
        REMOTE,
        309,
        "autodestroy",
        FORCE_STOP,
        FORCE_STOP,
        AUTODESTROY | NO_DOMAIN,
    ),
    row(
        REMOTE,
        196,
        "autodestroy",
        FORCE_STOP,
        FORCE_STOP,
        AUTODESTROY,
    ),
    row(
        REMOTE,
        310,
        "autodestroy",
        FORCE_STOP,
        FORCE_STOP,
        AUTODESTROY,
    ),
    row(REMOTE, 35, "undefine", DELETE, DELETE, 0),
    row(REMOTE, 231, "undefine", DELETE, DELETE, 0),
    row(REMOTE, 29, "set-autostart", DELETE, 0, 0),
    row(REMOTE, 450, "set-autostart", DELETE, 0, 0),
    row(
        REMOTE,
        197,
        "set-memory-parameters",
        FORCE_STOP,
        PAUSE | FORCE_STOP,
        0,
    ),
    row(REMOTE, 31, "set-memory", FORCE_STOP, PAUSE | FORCE_STOP, 0),
    row(REMOTE, 204, "set-memory", FORCE_STOP, PAUSE | FORCE_STOP, 0),
    row(REMOTE, 58, "set-scheduler-parameters", PAUSE, PAUSE, 0),
    row(REMOTE, 219, "set-scheduler-parameters", PAUSE, PAUSE, 0),
    row(REMOTE, 205, "set-blkio-parameters", PAUSE, PAUSE, 0),
    row(REMOTE, 252, "set-block-io-tune", PAUSE, PAUSE, 0),
    row(REMOTE, 451, "set-throttle-group", PAUSE, PAUSE, 0),
    row(REMOTE, 32, "set-vcpus", PAUSE, PAUSE, 0),
    row(REMOTE, 199, "set-vcpus", PAUSE, PAUSE, 0),
    row(REMOTE, 384, "set-vcpu", PAUSE, PAUSE, 0),
    row(REMOTE, 225, "pin-vcpu", PAUSE, PAUSE, 0),
    row(REMOTE, 279, "pin-emulator", PAUSE, PAUSE, 0),
    row(REMOTE, 352, "pin-iothread", PAUSE, PAUSE, 0),
    row(REMOTE, 335, "fs-freeze", PAUSE, PAUSE, 0),
    row(REMOTE, 13, "detach-device", DELETE, DELETE, 0),
    row(REMOTE, 161, "detach-device", DELETE, DELETE, 0),
    row(REMOTE, 392, "detach-device", DELETE, DELETE, 0),
    row(REMOTE, 174, "update-device", DELETE, DELETE, 0),
    row(REMOTE, 356, "del-iothread", DELETE, DELETE, 0),
    row(REMOTE, 237, "block-job-abort", DELETE, DELETE, 0),
    row(REMOTE, 251, "block-resize", DELETE, DELETE, 0),
    row(REMOTE, 250, "node-suspend", PAUSE, 0, HOST),
    row(REMOTE, 288, "node-set-memory-parameters", PAUSE, 0, HOST),
    row(ADMIN, 11, "admin-client-close", FORCE_STOP, 0, HOST),
];

/// What the configuration says about calls to libvirt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallRules {
    /// Refuse clear stops at the client.
    pub refuse_stops: bool,
    /// Names of arming calls to refuse.
    pub refuse_arming: Vec<String>,
}

impl CallRules {
    /// The names that [`CallRules::refuse_arming`] may hold.
    pub fn arming_names() -> impl Iterator<Item = &'static str> {
        ARMING.iter().map(|procedure| procedure.name)
    }

    fn rows(&self) -> impl Iterator<Item = (ProcedureKey, ProcedureRow)> {
        let stops = STOPS.iter().map(|one| {
            let refuse = if self.refuse_stops { REFUSE } else { 0 };
            one.as_row(refuse)
        });
        let maybes = MAYBES.iter().map(|one| one.as_row(0));
        let arming = ARMING.iter().map(|one| {
            let refuse = self.refuse_arming.iter().any(|name| name == one.name);
            one.as_row(WITNESS | if refuse { REFUSE } else { 0 })
        });
        stops.chain(maybes).chain(arming)
    }
}

impl Procedure {
    fn as_row(&self, flags: u32) -> (ProcedureKey, ProcedureRow) {
        let mut word = [0; WORD_LEN];
        for (to, from) in word.iter_mut().zip(self.name.bytes()) {
            *to = from;
        }
        let key = ProcedureKey {
            program: self.program,
            number: self.number,
        };
        let row = ProcedureRow {
            seen: self.seen,
            effect: self.effect,
            flags: self.flags | flags,
            pad: 0,
            word,
        };
        (key, row)
    }
}

const NO_CALLS: Calls = Calls {
    dropped_ns: 0,
    count: 0,
    pad: 0,
    kept: [Call {
        boot_ns: 0,
        start_ticks: 0,
        lease: 0,
        host_rule: 0,
        tgid: 0,
        uid: 0,
        seen: 0,
        host_rule_number: 0,
        flags: 0,
        pad: 0,
    }; CALLS_KEPT],
};

/// The maps about calls to libvirt.
pub(super) struct CallMaps {
    uuids: HashMap<MapData, [u8; 16], u32>,
    calls: HashMap<MapData, [u8; 16], Calls>,
    procedures: HashMap<MapData, ProcedureKey, ProcedureRow>,
    /// The processes of the VMs that are not only observed.
    enforced: BTreeSet<u32>,
}

impl CallMaps {
    /// Opens them; `enforced` are the processes of VMs that a former daemon had
    /// put under protection.
    pub(super) fn open(ebpf: &mut Ebpf, enforced: BTreeSet<u32>) -> Result<Self, KernelError> {
        let mut maps = Self {
            uuids: take(ebpf, "UUIDS")?
                .try_into()
                .map_err(failed("open", "UUIDS"))?,
            calls: take(ebpf, "CALLS")?
                .try_into()
                .map_err(failed("open", "CALLS"))?,
            procedures: take(ebpf, "PROCEDURES")?
                .try_into()
                .map_err(failed("open", "PROCEDURES"))?,
            enforced,
        };
        maps.make_calls(UNREAD_UUID)?;
        Ok(maps)
    }

    /// What the programs do with each procedure from here on.
    pub(super) fn set_rules(&mut self, rules: &CallRules) -> Result<(), KernelError> {
        for (key, row) in rules.rows() {
            self.procedures
                .insert(key, row, BPF_ANY)
                .map_err(failed("add a procedure", "PROCEDURES"))?;
        }
        Ok(())
    }

    /// What was noted about a VM stays, where it is known already.
    pub(super) fn protect(&mut self, vm: &Protected) -> Result<(), KernelError> {
        self.make_calls(vm.uuid)?;
        self.uuids
            .insert(vm.uuid, vm.process.pid, BPF_ANY)
            .map_err(failed("add a VM", "UUIDS"))?;
        if vm.observe {
            self.enforced.remove(&vm.process.pid);
        } else {
            self.enforced.insert(vm.process.pid);
        }
        self.count_enforced()
    }

    /// Where the VM still is the process `pid`.
    pub(super) fn unprotect(&mut self, uuid: [u8; 16], pid: u32) -> Result<(), KernelError> {
        self.enforced.remove(&pid);
        self.count_enforced()?;
        let known =
            absent_is_none(self.uuids.get(&uuid, 0)).map_err(failed("look up a VM", "UUIDS"))?;
        if known != Some(pid) {
            return Ok(());
        }
        absent_is_fine(self.uuids.remove(&uuid)).map_err(failed("remove a VM", "UUIDS"))?;
        absent_is_fine(self.calls.remove(&uuid)).map_err(failed("remove a VM", "CALLS"))
    }

    /// While every VM is only observed, nothing about the host is refused.
    fn count_enforced(&mut self) -> Result<(), KernelError> {
        let Ok(count @ 1..) = u32::try_from(self.enforced.len()) else {
            return absent_is_fine(self.uuids.remove(&HOST_UUID))
                .map_err(failed("count the VMs", "UUIDS"));
        };
        self.uuids
            .insert(HOST_UUID, count, BPF_ANY)
            .map_err(failed("count the VMs", "UUIDS"))
    }

    fn make_calls(&mut self, uuid: [u8; 16]) -> Result<(), KernelError> {
        match absent_is_none(self.calls.get(&uuid, 0)) {
            Ok(Some(_)) => Ok(()),
            Ok(None) => self
                .calls
                .insert(uuid, NO_CALLS, BPF_ANY)
                .map_err(failed("add a VM", "CALLS")),
            Err(error) => Err(failed("look up a VM", "CALLS")(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_procedure_is_there_once_and_its_name_fits() {
        let mut keys = BTreeSet::new();
        for (key, row) in CallRules::default().rows() {
            assert!(keys.insert(key), "{key:?} is there twice");
            assert_eq!(row.word[WORD_LEN - 1], 0, "{key:?}: the name is too long");
        }
        assert!(keys.len() <= vmward_abi::PROCEDURES_MAX as usize);
    }

    #[test]
    fn only_what_is_named_is_refused() {
        let rules = CallRules {
            refuse_stops: false,
            refuse_arming: vec!["node-suspend".to_owned()],
        };
        let refused: Vec<u32> = rules
            .rows()
            .filter(|(_, row)| row.flags & REFUSE != 0)
            .map(|(key, _)| key.number)
            .collect();
        assert_eq!(refused, [192, 250]);
        let stops = CallRules {
            refuse_stops: true,
            ..rules
        };
        let also = stops.rows().filter(|(_, row)| row.flags & REFUSE != 0);
        assert_eq!(also.count(), STOPS.len() + 1);
    }
}
