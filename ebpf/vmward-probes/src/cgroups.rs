//! Which cgroup is whose: the rows of `CGROUPS`, read and added to.
//!
//! A cgroup is known by the number of its folder and by its hierarchy, whatever
//! mount, bind mount or namespace it is reached through.

use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use vmward_abi::{CgroupKey, CgroupRow, HOST_CGROUP, cgroup_flag, vm_flag};

use crate::maps::{CGROUPS, VMS, offset};
use crate::objects::host_of_vms;
use crate::scope::Vm;
use crate::task::{forget, read};

/// How many levels are looked at: libvirt's cgroups are five deep.
const DEPTH_MAX: usize = 24;

/// A cgroup's folder: address of its `kernfs_node`.
#[derive(Clone, Copy)]
pub struct Folder(u64);

/// What is known of a folder.
#[derive(Clone, Copy)]
pub struct Place {
    row: CgroupRow,
    /// The VM's own, or below that.
    pub own: bool,
}

impl Folder {
    /// The folder that a file, given by its `kernfs_node`, lies in.
    pub fn of_file(file: u64) -> Option<Self> {
        Self(file).above()
    }

    /// That of a `struct cgroup`.
    pub fn of_cgroup(cgroup: u64) -> Option<Self> {
        read(cgroup, offset!(cgroup_kn)).map(Self)
    }

    /// The `struct cgroup`; none for one that is removed.
    pub fn cgroup(self) -> Option<u64> {
        read::<u64>(self.0, offset!(kernfs_priv)).filter(|cgroup| *cgroup != 0)
    }

    fn above(self) -> Option<Self> {
        let above: u64 = read(self.0, offset!(kernfs_parent))?;
        (above != 0).then_some(Self(above))
    }

    fn key(self) -> Option<CgroupKey> {
        let root: u64 = read(self.cgroup()?, offset!(cgroup_root))?;
        Some(CgroupKey {
            id: read(self.0, offset!(kernfs_id))?,
            hierarchy: read(root, offset!(cgroup_root_hierarchy))?,
            pad: 0,
        })
    }

    /// Whose it is: by its own row, or by that of the nearest one above it that
    /// has one, where that holds a VM. Inlined: what it returns is nothing that the
    /// BTF of a function can tell old kernels.
    #[inline(always)]
    pub fn place(self) -> Option<Place> {
        let mut key = self.key()?;
        // SAFETY: a plain copy of a live map value.
        if let Some(row) = unsafe { CGROUPS.get(key) }.copied() {
            let own = row.flags & cgroup_flag::HOLDS != 0;
            return Some(Place { row, own });
        }
        let mut folder = self;
        for _ in 0..DEPTH_MAX {
            folder = folder.above()?;
            key.id = read(folder.0, offset!(kernfs_id))?;
            // SAFETY: as above.
            if let Some(row) = unsafe { CGROUPS.get(key) }.copied() {
                let own = row.flags & cgroup_flag::HOLDS != 0;
                return own.then_some(Place { row, own });
            }
        }
        None
    }
}

impl Place {
    /// The VM that it is about, or the host where there are several; none where
    /// the VM is gone.
    pub fn vm(&self) -> Option<Vm> {
        vm_of(&self.row)
    }
}

/// Stands for the host, while any VM is protected.
pub fn host_with_vms() -> Option<Vm> {
    // SAFETY: a plain copy of a live map value.
    let row = unsafe { CGROUPS.get(HOST_CGROUP) }.copied()?;
    vm_of(&row)?;
    Some(host_for(&row))
}

fn vm_of(row: &CgroupRow) -> Option<Vm> {
    if row.tgid == 0 {
        return Some(host_for(row));
    }
    let tgid = row.tgid;
    // SAFETY: as above.
    let vm = unsafe { VMS.get(tgid) }.copied()?;
    (vm.start_ticks == row.start_ticks).then_some(Vm { tgid, row: vm })
}

fn host_for(row: &CgroupRow) -> Vm {
    let mut host = host_of_vms();
    if row.flags & cgroup_flag::OBSERVE != 0 {
        host.row.flags = vm_flag::OBSERVE;
    }
    host
}

/// A thread of `vm` is in `cgroup` now: its files, and those of the cgroups
/// above it, are the VM's from here on.
#[inline(always)]
pub fn cover(vm: &Vm, cgroup: u64) {
    forget(vm);
    vmward_cover(vm, cgroup);
}

/// [`cover`], verified by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_cover(vm: *const Vm, cgroup: u64) -> i32 {
    // SAFETY: null or alive.
    if let Some(vm) = unsafe { vm.as_ref() } {
        // The way ends at the top.
        let _ = cover_above(vm, cgroup);
    }
    0
}

#[inline(always)]
fn cover_above(vm: &Vm, cgroup: u64) -> Option<()> {
    // In a threaded tree, threads move freely below its domain.
    let domain: u64 = read(cgroup, offset!(cgroup_domain))?;
    let mut folder = Folder::of_cgroup(domain)?;
    let mut key = folder.key()?;
    // SAFETY: the helper has no precondition.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    let mut holds = cgroup_flag::HOLDS;
    for _ in 0..DEPTH_MAX {
        let above = folder.above();
        if above.is_none() {
            holds = 0;
        }
        key.id = read(folder.0, offset!(kernfs_id))?;
        add(vm, &key, holds, now);
        holds = 0;
        folder = above?;
    }
    None
}

fn add(vm: &Vm, key: &CgroupKey, holds: u32, now: u64) {
    let observe = if vm.row.flags & vm_flag::OBSERVE != 0 {
        cgroup_flag::OBSERVE
    } else {
        0
    };
    let mut row = CgroupRow {
        start_ticks: vm.row.start_ticks,
        moved_ns: now,
        tgid: vm.tgid,
        flags: holds | observe,
    };
    // SAFETY: a plain copy of a live map value.
    if let Some(before) = unsafe { CGROUPS.get(key) }.copied() {
        row.flags |= before.flags & cgroup_flag::HOLDS;
        let other = before.tgid != row.tgid || before.start_ticks != row.start_ticks;
        if other && vm_of(&before).is_some() {
            row.tgid = 0;
            row.start_ticks = 0;
            row.flags &= before.flags | !cgroup_flag::OBSERVE;
        }
    }
    // A full map leaves the cgroup to the daemon, which says so.
    let _ = CGROUPS.insert(key, row, 0);
}
