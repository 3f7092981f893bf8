//! What is vmward's own, told to the kernel: its program, its maps, programs and
//! pins, its files; and that the daemon is well.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData};
use vmward_abi::{
    HOST_UUID, ObjectKey, ObjectRow, VmRow, fact, object, object_class, role, vm_flag,
};

use super::lifeline::{self, Kept, MemoryFiles};
use super::maps::{BPF_ANY, Maps, absent_is_fine, failed, take};
use super::{Actor, KernelError, Protected};
use vmward_core::ids::Process;

use crate::executable;

/// After this time without a sign of life anybody may end the daemon.
const WELL_NS: u64 = 10_000_000_000;
/// How often the daemon gives one.
const BEAT_NS: u64 = 2_000_000_000;
/// Folders of the host on the way to the pins.
const PLACES: [&str; 3] = ["/sys", "/sys/fs", "/sys/fs/bpf"];

/// Numbers of the object's own maps and programs.
#[derive(Debug, Default)]
pub(super) struct Ids {
    maps: Vec<u32>,
    programs: Vec<u32>,
}

impl Ids {
    /// Before anything is taken out of the object.
    pub(super) fn of(ebpf: &Ebpf) -> Self {
        use aya::maps::Map;
        let data = |map: &Map| match map {
            Map::Array(m)
            | Map::PerCpuArray(m)
            | Map::HashMap(m)
            | Map::LruHashMap(m)
            | Map::RingBuf(m) => m.info().ok().map(|info| info.id()),
            _ => None,
        };
        Self {
            maps: ebpf.maps().filter_map(|(_, map)| data(map)).collect(),
            programs: ebpf
                .programs()
                .filter_map(|(_, program)| Some(program.info().ok()?.id()))
                .collect(),
        }
    }
}

/// The maps, and what was put into them.
pub(super) struct OwnMaps {
    objects: HashMap<MapData, ObjectKey, ObjectRow>,
    facts: Array<MapData, u64>,
    ids: Ids,
    pin_dir: PathBuf,
    /// Where the daemon's own files are.
    pub(super) folders: Vec<PathBuf>,
    /// Where its configuration and libvirt's are.
    pub(super) config: Vec<PathBuf>,
    /// Whose lifelines are guarded.
    vms: Vec<Process>,
    memory: MemoryFiles,
    beaten_ns: u64,
}

impl OwnMaps {
    pub(super) fn open(ebpf: &mut Ebpf, ids: Ids, pin_dir: &Path) -> Result<Self, KernelError> {
        Ok(Self {
            objects: take(ebpf, "OBJECTS")?
                .try_into()
                .map_err(failed("open", "OBJECTS"))?,
            facts: take(ebpf, "FACTS")?
                .try_into()
                .map_err(failed("open", "FACTS"))?,
            ids,
            pin_dir: pin_dir.to_owned(),
            folders: Vec::new(),
            config: Vec::new(),
            vms: Vec::new(),
            memory: MemoryFiles::default(),
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

    /// Before these programs decide: who they must not refuse, and what they
    /// guard from everybody else.
    pub(super) fn introduce(&mut self) -> Result<(), KernelError> {
        if let Some(number) = host_mounts() {
            self.set(fact::HOST_MOUNTS, number)?;
        }
        if let Ok(Actor::Exe { dev, inode }) = executable::own() {
            let key = key(object::OWN_EXE, inode, dev);
            self.put(key, own(object_class::BPF))?;
        }
        let program = std::env::current_exe().ok();
        if let Some(folder) = program.as_deref().and_then(Path::parent)
            && let Some((dev, inode)) = executable::file_number(folder)
        {
            let key = key(object::OWN_FOLDER, inode, dev);
            self.put(key, own(object_class::BPF))?;
        }
        let maps = self.ids.maps.iter().map(|id| (object::BPF_MAP, *id));
        let programs = self.ids.programs.iter().map(|id| (object::BPF_PROG, *id));
        let all: Vec<_> = maps.chain(programs).collect();
        for (kind, id) in all {
            self.put(key(kind, u64::from(id), 0), own(object_class::BPF))?;
        }
        self.guard_files()
    }

    /// Guards exactly the pins, the places on the way to them, the daemon's own
    /// files, and what libvirt needs to keep the VMs.
    pub(super) fn guard_files(&mut self) -> Result<(), KernelError> {
        // First: what the kernel puts under guard meanwhile must stay there.
        let before = self.rows(|key| key.kind == object::INODE)?;
        let mut wanted = BTreeMap::new();
        for place in PLACES {
            add(&mut wanted, Path::new(place), object_class::PLACE);
        }
        for folder in lifeline::FOLDERS {
            add(&mut wanted, Path::new(folder), object_class::FOLDER);
        }
        add_tree(&mut wanted, &self.pin_dir, object_class::BPF);
        // The policy may lie among what is guarded more strictly.
        for path in &self.config {
            add_tree(&mut wanted, path, object_class::CONFIG);
        }
        for folder in &self.folders {
            add_tree(&mut wanted, folder, object_class::STATE);
        }
        let kept = Kept::read();
        self.memory.look(&self.vms);
        for vm in &self.vms {
            add_lifeline(&mut wanted, &kept, self.memory.of(*vm), *vm);
        }
        self.replace(&before, &wanted)
    }

    /// The former programs are gone, and with them their numbers.
    pub(super) fn forget_former(&mut self) -> Result<(), KernelError> {
        let before = self.rows(|key| [object::BPF_MAP, object::BPF_PROG].contains(&key.kind))?;
        let ids = std::mem::take(&mut self.ids);
        let maps = ids.maps.iter().map(|id| (object::BPF_MAP, *id));
        let programs = ids.programs.iter().map(|id| (object::BPF_PROG, *id));
        let wanted = maps
            .chain(programs)
            .map(|(kind, id)| (key(kind, u64::from(id), 0), own(object_class::BPF)))
            .collect();
        self.ids = ids;
        self.replace(&before, &wanted)
    }

    /// One of the maps and one of the programs, by number.
    pub(super) fn one_of_each(&self) -> Option<(u32, u32)> {
        Some((*self.ids.maps.first()?, *self.ids.programs.first()?))
    }

    /// The daemon is well, from now on for a while.
    pub(super) fn beat(&mut self, now_ns: u64) -> Result<(), KernelError> {
        if now_ns.saturating_sub(self.beaten_ns) < BEAT_NS {
            return Ok(());
        }
        self.beaten_ns = now_ns;
        self.set(fact::WELL_UNTIL, now_ns.saturating_add(WELL_NS))?;
        self.guard_files()
    }

    /// How many VMs are protected.
    pub(super) fn count(&mut self, vms: &[super::ProtectedState]) -> Result<(), KernelError> {
        let real = vms
            .iter()
            .map(|state| &state.protected)
            .filter(|vm| vm.uuid != super::CANARY_UUID);
        self.vms = vms.iter().map(|state| state.protected.process).collect();
        let (observed, enforced): (Vec<&Protected>, Vec<&Protected>) =
            real.partition(|vm| vm.observe);
        self.set(fact::VMS_ENFORCED, enforced.len() as u64)?;
        self.set(fact::VMS_OBSERVED, observed.len() as u64)
    }

    fn put(&mut self, key: ObjectKey, row: ObjectRow) -> Result<(), KernelError> {
        self.objects
            .insert(key, row, BPF_ANY)
            .map_err(failed("put an object under guard", "OBJECTS"))
    }

    /// What is under guard now, of the kinds that `mine` picks.
    fn rows(
        &self,
        mine: impl Fn(&ObjectKey) -> bool,
    ) -> Result<BTreeMap<ObjectKey, ObjectRow>, KernelError> {
        let all: Result<Vec<_>, _> = self.objects.iter().collect();
        let all = all.map_err(failed("list what is under guard", "OBJECTS"))?;
        Ok(all.into_iter().filter(|(key, _)| mine(key)).collect())
    }

    /// In the place of the rows that were there `before`, the map has `wanted`.
    fn replace(
        &mut self,
        before: &BTreeMap<ObjectKey, ObjectRow>,
        wanted: &BTreeMap<ObjectKey, ObjectRow>,
    ) -> Result<(), KernelError> {
        for (key, row) in wanted {
            if before.get(key) != Some(row) {
                self.put(*key, *row)?;
            }
        }
        for key in before.keys().filter(|key| !wanted.contains_key(key)) {
            absent_is_fine(self.objects.remove(key))
                .map_err(failed("take an object off guard", "OBJECTS"))?;
        }
        Ok(())
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

fn key(kind: u32, id: u64, dev: u32) -> ObjectKey {
    ObjectKey { id, dev, kind }
}

fn own(class: u32) -> ObjectRow {
    ObjectRow {
        start_ticks: 0,
        tgid: 0,
        class,
    }
}

fn add_lifeline(
    wanted: &mut BTreeMap<ObjectKey, ObjectRow>,
    kept: &Kept,
    memory: &[(u32, u64)],
    vm: Process,
) {
    let row = ObjectRow {
        start_ticks: vm.start_ticks,
        tgid: vm.pid,
        class: object_class::LIFELINE,
    };
    let files = kept.files(vm.pid);
    let files = files
        .iter()
        .filter_map(|path| executable::link_number(path));
    for (dev, inode) in files.chain(memory.iter().copied()) {
        wanted.insert(key(object::INODE, inode, dev), row);
    }
}

/// What is not there, or cannot be named, is not guarded.
fn add(wanted: &mut BTreeMap<ObjectKey, ObjectRow>, path: &Path, class: u32) {
    if let Some((dev, inode)) = executable::link_number(path) {
        wanted.insert(key(object::INODE, inode, dev), own(class));
    }
}

fn add_tree(wanted: &mut BTreeMap<ObjectKey, ObjectRow>, path: &Path, class: u32) {
    add(wanted, path, class);
    let Ok(entries) = fs::read_dir(path) else {
        return;
    };
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => add_tree(wanted, &entry.path(), class),
            Ok(_) => add(wanted, &entry.path(), class),
            Err(_) => {}
        }
    }
}

/// The mount namespace of the host's first process; `None` where it does not
/// show.
fn host_mounts() -> Option<u64> {
    let found: io::Result<fs::Metadata> = fs::metadata("/proc/1/ns/mnt");
    Some(found.ok()?.ino())
}
