//! Which files are to be under guard: where they are, and what is there now.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use vmward_abi::{ObjectRow, object_class};
use vmward_core::ids::Process;

use super::own;
use super::tree;
use super::wanted::{
    CONFIG_MAX, LIFELINES_MAX, OF_VM_MAX, OWN_FOLDER_MAX, PINS_MAX, Rows, Wanted, of_file,
};
use crate::executable;
use crate::kernel::lifeline::{self, Kept, MemoryFiles};

/// Folders of the host on the way to the pins.
const PLACES: [&str; 3] = ["/sys", "/sys/fs", "/sys/fs/bpf"];

/// Where the files are.
pub(in crate::kernel) struct Files {
    pin_dir: PathBuf,
    /// The daemon's own.
    folders: Vec<PathBuf>,
    /// Its configuration and libvirt's.
    config: Vec<PathBuf>,
    memory: MemoryFiles,
    /// The places of which the last look left something out.
    full: BTreeSet<String>,
}

impl Files {
    pub(super) fn new(pin_dir: &Path) -> Self {
        Self {
            pin_dir: pin_dir.to_owned(),
            folders: Vec::new(),
            config: Vec::new(),
            memory: MemoryFiles::default(),
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
        add_tree(&mut wanted, &self.pin_dir, object_class::BPF, PINS_MAX);
        // The policy may lie among what is guarded more strictly.
        let share = CONFIG_MAX / self.config.len().max(1);
        for path in &self.config {
            add_tree(&mut wanted, path, object_class::CONFIG, share);
        }
        for folder in &self.folders {
            add_tree(&mut wanted, folder, object_class::STATE, OWN_FOLDER_MAX);
        }
        self.memory.look(vms, |vm, number| {
            before.get(&of_file(number)) == Some(&lifeline_of(vm))
        });
        self.add_lifelines(&mut wanted, vms);
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

    fn add_lifelines(&self, wanted: &mut Wanted<'_>, vms: &[Process]) {
        let kept = Kept::read();
        let mut room = LIFELINES_MAX;
        for vm in vms {
            let mut found = self.memory.of(*vm).to_owned();
            found.extend(kept.files(vm.pid));
            let max = room.min(OF_VM_MAX);
            room -= max.min(found.len());
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

/// What is not there, or cannot be named, is not guarded.
fn add(wanted: &mut Wanted<'_>, path: &Path, class: u32) {
    if let Some(number) = executable::link_number(path) {
        wanted.add(number, own(class));
    }
}

/// `path` itself, and at most `max` objects below it.
fn add_tree(wanted: &mut Wanted<'_>, path: &Path, class: u32, max: usize) {
    for number in tree::root(path) {
        wanted.add(number, own(class));
    }
    let found = tree::below(path, max, &|_, _| true);
    wanted.add_some(&found, own(class), max, || path.display().to_string());
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Pins, state and configuration in folders of a temporary one.
    struct Host {
        dir: tempfile::TempDir,
        files: Files,
    }

    impl Host {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let at = |name: &str| dir.path().join(name);
            for name in ["etc", "pins", "state"] {
                fs::create_dir(at(name)).unwrap();
            }
            let mut files = Files::new(&at("pins"));
            files.are_in(vec![at("state")], vec![at("etc")]);
            Self { dir, files }
        }

        fn at(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        /// What a file is after a look; 0 where it is nothing.
        #[track_caller]
        fn class(&mut self, name: &str) -> u32 {
            let number = executable::link_number(&self.at(name)).unwrap();
            let rows = self.files.look(&Rows::new(), &[]);
            rows.get(&of_file(number)).map_or(0, |row| row.class)
        }
    }

    #[test]
    fn what_is_put_among_configuration_stays_what_it_is() {
        let mut host = Host::new();
        fs::write(host.at("pins/link"), "").unwrap();
        fs::hard_link(host.at("pins/link"), host.at("etc/x")).unwrap();
        fs::write(host.at("etc/libvirtd.conf"), "").unwrap();
        assert_eq!(host.class("pins/link"), object_class::BPF);
        assert_eq!(host.class("etc/x"), object_class::BPF);
        assert_eq!(host.class("etc/libvirtd.conf"), object_class::CONFIG);
        assert_eq!(host.class("etc"), object_class::CONFIG);
        // All of it, as by a mount there.
        let pins = host.at("pins");
        host.files.are_in(Vec::new(), vec![pins]);
        assert_eq!(host.class("pins"), object_class::BPF);
    }

    #[test]
    fn a_large_tree_among_configuration_leaves_room_and_is_told_once() {
        let mut host = Host::new();
        for file in 0..=CONFIG_MAX {
            fs::write(host.at(&format!("etc/{file}")), "").unwrap();
        }
        let rows = host.files.look(&Rows::new(), &[]);
        let of_config = |rows: &Rows| {
            let rows = rows.values();
            rows.filter(|row| row.class == object_class::CONFIG).count()
        };
        // And the folder itself.
        assert_eq!(of_config(&rows), CONFIG_MAX + 1);
        assert_eq!(host.files.full.len(), 1);
        let again = host.files.look(&rows, &[]);
        assert_eq!(again, rows);
    }
}
