//! Which files are to be under guard: where they are, and what is there now.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::path::{Path, PathBuf};

use vmward_abi::{ObjectKey, ObjectRow, object, object_class};
use vmward_core::audit::files::rotated_number;
use vmward_core::ids::Process;

use super::own;
use super::tree::{self, Found};
use super::wanted::{
    CONFIG_MAX, LIBRARIES_MAX, LIFELINES_MAX, OF_VM_MAX, OWN_FOLDER_MAX, PINS_MAX, Rows, Wanted,
    of_file,
};
use crate::audit_file::AUDIT_FILE;
use crate::executable::{self, Entry};
use crate::kernel::lifeline::{self, Kept};
use crate::kernel::open_files::OpenFiles;

/// Folders of the host on the way to the pins.
const PLACES: [&str; 3] = ["/sys", "/sys/fs", "/sys/fs/bpf"];

/// Where virtlogd writes what guests say: once it waits, they do.
const LOGS: &str = "/var/log/libvirt";

/// What the daemon makes in its folders.
const OWN_FILES: [&CStr; 11] = [
    c"admin.sock",
    c"audit-head",
    c"audit-spool",
    c"audit-spool-2",
    c"audit.jsonl",
    c"journal.jsonl",
    c"kernel-seq.json",
    c"policy.sock",
    c"vm-names.json",
    c"vms-running.json",
    c"vmwardd.lock",
];

/// Where the files are.
pub(in crate::kernel) struct Files {
    pin_dir: PathBuf,
    /// The daemon's own.
    folders: Vec<PathBuf>,
    /// Its configuration and libvirt's.
    config: Vec<PathBuf>,
    open: OpenFiles,
    /// The places of which the last look left something out.
    full: BTreeSet<String>,
}

impl Files {
    pub(super) fn new(pin_dir: &Path) -> Self {
        Self {
            pin_dir: pin_dir.to_owned(),
            folders: Vec::new(),
            config: Vec::new(),
            open: OpenFiles::default(),
            full: BTreeSet::new(),
        }
    }

    /// From now on the daemon's own files are in `folders`, configuration in
    /// `config`.
    pub(in crate::kernel) fn are_in(&mut self, folders: Vec<PathBuf>, config: Vec<PathBuf>) {
        (self.folders, self.config) = (folders, config);
    }

    /// The rows that are to be there, where `before` are those that are, and `vms` run.
    pub(super) fn look(&mut self, before: &Rows, vms: &[Process]) -> Rows {
        let mut wanted = Wanted::new(before);
        for place in PLACES {
            add(&mut wanted, Path::new(place), object_class::PLACE);
        }
        for folder in lifeline::FOLDERS {
            add(&mut wanted, Path::new(folder), object_class::FOLDER);
        }
        for folder in self.above() {
            add(&mut wanted, &folder, object_class::ABOVE);
        }
        add_tree(
            &mut wanted,
            &self.pin_dir,
            object_class::BPF,
            PINS_MAX,
            &|_, _| true,
        );
        // The policy may lie among what is guarded more strictly.
        let share = CONFIG_MAX / self.config.len().max(1);
        for path in &self.config {
            add_tree(&mut wanted, path, object_class::CONFIG, share, &|_, _| true);
        }
        for folder in &self.folders {
            add_own(&mut wanted, folder);
        }
        self.open.look(vms, |vm, number| {
            before.get(&of_file(number)) == Some(&lifeline_of(vm))
        });
        self.add_lifelines(&mut wanted, vms);
        let libraries = Found {
            numbers: self.open.libraries(),
            is_cut: false,
        };
        let row = own(object_class::LIBRARY);
        wanted.add_some(&libraries, row, LIBRARIES_MAX, || "libraries".to_owned());
        let (rows, full) = wanted.finish();
        for place in full.difference(&self.full) {
            tracing::warn!(
                place,
                "not all of what is there is under guard: there is too much"
            );
        }
        self.full = full;
        rows
    }

    /// The file systems for which VMs would wait, or the daemon, as of the last look.
    pub(super) fn file_systems(&self) -> Rows {
        let folders = lifeline::FOLDERS.into_iter().chain([LOGS]).map(Path::new);
        let folders = folders.chain(self.folders.iter().map(PathBuf::as_path));
        let of_folders = folders.filter_map(|path| Some(executable::file_number(path)?.0));
        let all = of_folders.chain(self.open.storage());
        all.map(|dev| {
            let kind = object::FILE_SYSTEM;
            (ObjectKey { id: 0, dev, kind }, own(object_class::STORAGE))
        })
        .collect()
    }

    /// What the pins, the daemon's own folders and those lie in where libvirt keeps what
    /// it knows of VMs: whoever moves or covers one of these has another in the place
    /// of all.
    fn above(&self) -> BTreeSet<PathBuf> {
        let lifelines = lifeline::FOLDERS.map(PathBuf::from);
        let own = self.folders.iter().chain([&self.pin_dir]);
        let above = own.chain(&lifelines).flat_map(|path| {
            // Where a symbolic link is on the way, both ways count.
            let real = path.canonicalize().ok();
            let paths = [Some(path.clone()), real];
            paths.into_iter().flatten().flat_map(|path| above(&path))
        });
        above.collect()
    }

    fn add_lifelines(&self, wanted: &mut Wanted<'_>, vms: &[Process]) {
        let kept = Kept::read();
        let mut room = LIFELINES_MAX;
        for vm in vms {
            let mut found = Found {
                numbers: self.open.memory_of(*vm).to_owned(),
                is_cut: false,
            };
            found.numbers.extend(kept.files(vm.pid));
            let max = room.min(OF_VM_MAX);
            room -= max.min(found.numbers.len());
            wanted.add_some(&found, lifeline_of(*vm), max, || {
                format!("the files of the VM with pid {}", vm.pid)
            });
        }
    }
}

fn lifeline_of(vm: Process) -> ObjectRow {
    ObjectRow {
        start_ticks: vm.start_ticks,
        tgid: vm.pid,
        class: object_class::LIFELINE,
    }
}

/// What `path` lies in, but for the root of all: nothing can take its place.
fn above(path: &Path) -> Vec<PathBuf> {
    let above = path.ancestors().skip(1);
    let above = above.filter(|folder| folder.parent().is_some());
    above.map(Path::to_owned).collect()
}

/// What is not there, or cannot be named, is not guarded.
fn add(wanted: &mut Wanted<'_>, path: &Path, class: u32) {
    if let Some(number) = executable::link_number(path) {
        wanted.add(number, own(class));
    }
}

/// `path` itself, and at most `max` of what is below it and `is_wanted`.
fn add_tree(
    wanted: &mut Wanted<'_>,
    path: &Path,
    class: u32,
    max: usize,
    is_wanted: &dyn Fn(&CStr, &Entry) -> bool,
) {
    for number in tree::root(path) {
        wanted.add(number, own(class));
    }
    let found = tree::below(path, max, is_wanted);
    wanted.add_some(&found, own(class), max, || path.display().to_string());
}

/// A folder of the daemon's own. What it needs comes first, whatever else is there.
fn add_own(wanted: &mut Wanted<'_>, path: &Path) {
    let class = object_class::STATE;
    let folder = Entry::at(path);
    for name in OWN_FILES {
        let entry = folder.as_ref().and_then(|folder| Entry::of(folder, name));
        if let Some(entry) = entry {
            wanted.add(entry.number, own(class));
        }
    }
    add_tree(wanted, path, class, OWN_FOLDER_MAX, &is_own_file);
}

/// Is what lies in one of the daemon's folders the daemon's? A file that has another
/// name elsewhere may be anybody's, and under guard its owner could not write it any
/// more. By a name of the daemon's own it is the daemon's however many names there
/// are: else one more would take the log off guard.
fn is_own_file(name: &CStr, entry: &Entry) -> bool {
    if entry.is_folder() || entry.links <= 1 {
        return true;
    }
    let Ok(name) = name.to_str() else {
        return false;
    };
    // With another ending it is a copy that was put aside, or is about to be renamed.
    let is_known = |own: &CStr| own.to_str().is_ok_and(|own| stem(own) == stem(name));
    OWN_FILES.into_iter().any(is_known) || rotated_number(AUDIT_FILE, name).is_some()
}

fn stem(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests;
