//! Objects under guard, told to the kernel: vmward's program, its maps, programs
//! and pins, its files, and what libvirt needs to keep its VMs.

use std::cmp::Reverse;
use std::path::Path;
use std::sync::{Arc, Mutex};

use aya::Ebpf;
use aya::maps::{HashMap, MapData};
use vmward_abi::{ObjectKey, ObjectRow, object, object_class};
use vmward_core::ids::Process;

use super::keeper::lock;
use super::maps::{BPF_ANY, absent_is_fine, failed, take};
use super::{Actor, KernelError};
use crate::executable;

mod files;
pub(super) mod tree;
mod wanted;

use files::Files;
use wanted::{Rows, strictness};

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

/// The VMs whose lifelines are guarded. Each is here before the kernel has its row,
/// so that nobody takes away what the kernel itself puts under guard for it.
#[derive(Clone, Debug, Default)]
pub(super) struct Vms(Arc<Mutex<Vec<Process>>>);

impl Vms {
    pub(super) fn set(&self, vms: Vec<Process>) {
        *lock(&self.0) = vms;
    }

    pub(super) fn add(&self, vm: Process) {
        let mut vms = lock(&self.0);
        if !vms.contains(&vm) {
            vms.push(vm);
        }
    }

    fn now(&self) -> Vec<Process> {
        lock(&self.0).clone()
    }
}

/// The map, and where what belongs into it is found.
pub(super) struct Guarded {
    objects: HashMap<MapData, ObjectKey, ObjectRow>,
    ids: Ids,
    pub(super) files: Files,
    vms: Vms,
}

impl Guarded {
    pub(super) fn open(
        ebpf: &mut Ebpf,
        ids: Ids,
        pin_dir: &Path,
        vms: Vms,
    ) -> Result<Self, KernelError> {
        Ok(Self {
            objects: take(ebpf, "OBJECTS")?
                .try_into()
                .map_err(failed("open", "OBJECTS"))?,
            ids,
            files: Files::new(pin_dir),
            vms,
        })
    }

    /// Guards the daemon's program, the object's maps and programs, and files.
    pub(super) fn introduce(&mut self) -> Result<(), KernelError> {
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
        for (key, row) in self.by_number() {
            self.put(key, row)?;
        }
        self.guard_files()
    }

    /// Guards exactly the pins, the places on the way to them, the daemon's own
    /// files, what libvirt needs to keep the VMs, and the file systems of all.
    pub(super) fn guard_files(&mut self) -> Result<(), KernelError> {
        // First: what the kernel puts under guard meanwhile must stay there.
        let before = self.rows(|key| [object::INODE, object::FILE_SYSTEM].contains(&key.kind))?;
        let mut wanted = self.files.look(&before, &self.vms.now());
        wanted.extend(self.files.file_systems());
        self.replace(&before, &wanted)
    }

    /// The former programs are gone, and with them their numbers.
    pub(super) fn forget_former(&mut self) -> Result<(), KernelError> {
        let before = self.rows(|key| [object::BPF_MAP, object::BPF_PROG].contains(&key.kind))?;
        self.replace(&before, &self.by_number())
    }

    /// The object's maps and programs.
    fn by_number(&self) -> Rows {
        let maps = self.ids.maps.iter().map(|id| (object::BPF_MAP, *id));
        let programs = self.ids.programs.iter().map(|id| (object::BPF_PROG, *id));
        let all = maps.chain(programs);
        all.map(|(kind, id)| (key(kind, u64::from(id), 0), own(object_class::BPF)))
            .collect()
    }

    /// One of the maps and one of the programs, by number.
    pub(super) fn one_of_each(&self) -> Option<(u32, u32)> {
        Some((*self.ids.maps.first()?, *self.ids.programs.first()?))
    }

    fn put(&mut self, key: ObjectKey, row: ObjectRow) -> Result<(), KernelError> {
        self.objects
            .insert(key, row, BPF_ANY)
            .map_err(failed("put an object under guard", "OBJECTS"))
    }

    /// What is under guard now, of the kinds that `mine` picks.
    fn rows(&self, mine: impl Fn(&ObjectKey) -> bool) -> Result<Rows, KernelError> {
        let all: Result<Vec<_>, _> = self.objects.iter().collect();
        let all = all.map_err(failed("list what is under guard", "OBJECTS"))?;
        Ok(all.into_iter().filter(|(key, _)| mine(key)).collect())
    }

    /// In the place of the rows that were there `before`, the map has `wanted`. What
    /// it has no room for keeps nothing else from it, and the strictest come first.
    fn replace(&mut self, before: &Rows, wanted: &Rows) -> Result<(), KernelError> {
        let mut new: Vec<_> = wanted
            .iter()
            .filter(|(key, row)| before.get(key) != Some(row))
            .collect();
        new.sort_by_key(|(_, row)| Reverse(strictness(row.class)));
        let mut outcome = Ok(());
        for (key, row) in new {
            outcome = outcome.and(self.put(*key, *row));
        }
        for key in before.keys().filter(|key| !wanted.contains_key(key)) {
            let removed = absent_is_fine(self.objects.remove(key));
            outcome = outcome.and(removed.map_err(failed("take an object off guard", "OBJECTS")));
        }
        outcome
    }
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
