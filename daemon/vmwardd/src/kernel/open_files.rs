//! The files that a VM's process has open or mapped: the guest's memory, the libraries
//! that QEMU runs, what all of it lies on. Whoever cuts one of the first two short ends
//! QEMU at its next look.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};

use vmward_core::ids::Process;

use crate::executable;
use crate::process::storage::HostStorage;
use crate::process::{Library, ProcHandle, SharedFile};

/// Every so many looks each VM is looked at again.
const LOOKS_A_ROUND: u32 = 15;

/// What VMs have open. Looking is slow, and a VM gets such a file only when it starts, or
/// memory or a disk is plugged in.
#[derive(Default)]
pub(super) struct OpenFiles {
    known: BTreeMap<Process, OfVm>,
    libraries: BTreeMap<Library, (u32, u64)>,
    looks: u32,
}

#[derive(Default)]
struct OfVm {
    memory: Vec<(u32, u64)>,
    storage: BTreeSet<u32>,
}

impl OpenFiles {
    /// Looks at the VMs that are new, and now and then at all. What `is_kept` says is
    /// under guard for a VM already stays so while it is mapped: the path by which
    /// it was known can be another by now, since folders can be moved.
    pub(super) fn look(&mut self, vms: &[Process], is_kept: impl Fn(Process, (u32, u64)) -> bool) {
        self.looks = (self.looks + 1) % LOOKS_A_ROUND;
        if self.looks == 0 {
            self.known.clear();
        }
        // All of them look alike, and the daemon needs most of them itself.
        if self.known.is_empty() {
            self.libraries.clear();
            if let Some(own) = ProcHandle::open(std::process::id()) {
                add_libraries(&mut self.libraries, own.mapped().libraries);
            }
        }
        self.known.retain(|vm, _| vms.contains(vm));
        // Looked at once for all of them, and only where there is one to look at.
        let host = LazyCell::new(HostStorage::look);
        for vm in vms {
            self.known.entry(*vm).or_insert_with(|| {
                let Some(process) = ProcHandle::open(vm.pid) else {
                    return OfVm::default();
                };
                let mapped = process.mapped();
                add_libraries(&mut self.libraries, mapped.libraries);
                OfVm {
                    memory: memory(&mapped.shared, |number| is_kept(*vm, number)),
                    storage: process.storage(&host),
                }
            });
        }
    }

    /// Device and inode of each file that is a VM's memory.
    pub(super) fn memory_of(&self, vm: Process) -> &[(u32, u64)] {
        self.known.get(&vm).map_or(&[], |known| &known.memory)
    }

    /// Device and inode of each library that a VM or the daemon runs.
    pub(super) fn libraries(&self) -> Vec<(u32, u64)> {
        self.libraries.values().copied().collect()
    }

    /// The devices of the file systems on which VMs have files open, and of what lies
    /// below those and below their disks, as the kernel numbers them.
    pub(super) fn storage(&self) -> impl Iterator<Item = u32> {
        self.known
            .values()
            .flat_map(|known| known.storage.iter().copied())
    }
}

fn add_libraries(all: &mut BTreeMap<Library, (u32, u64)>, new: Vec<Library>) {
    for library in new {
        if all.contains_key(&library) {
            continue;
        }
        // By its path: what a mapping tells of a file of overlayfs is another's number.
        let number = match &library {
            Library::At(path) => executable::file_number(path),
            Library::Replaced(number) => Some(*number),
        };
        if let Some(number) = number {
            all.insert(library, number);
        }
    }
}

fn memory(files: &[SharedFile], is_kept: impl Fn((u32, u64)) -> bool) -> Vec<(u32, u64)> {
    let files = files.iter();
    files
        .filter(|file| file.is_memory || is_kept(file.number))
        .map(|file| file.number)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_known_by_its_path_and_kept_when_that_is_another() {
        let file = |inode, is_memory| SharedFile {
            number: (1, inode),
            is_memory,
        };
        let files = [file(7, true), file(8, false), file(9, false)];
        assert_eq!(memory(&files, |_| false), [(1, 7)]);
        assert_eq!(memory(&files, |number| number == (1, 9)), [(1, 7), (1, 9)]);
    }
}
