//! Which files are to be under guard: where they are, and what is there now.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::path::{Path, PathBuf};

use vmward_abi::{ObjectRow, object_class};
use vmward_core::audit::files::rotated_number;
use vmward_core::ids::Process;

use super::own;
use super::tree;
use super::wanted::{
    CONFIG_MAX, LIFELINES_MAX, OF_VM_MAX, OWN_FOLDER_MAX, PINS_MAX, Rows, Wanted, of_file,
};
use crate::audit_file::AUDIT_FILE;
use crate::executable::{self, Entry};
use crate::kernel::lifeline::{self, Kept, MemoryFiles};

/// Folders of the host on the way to the pins.
const PLACES: [&str; 3] = ["/sys", "/sys/fs", "/sys/fs/bpf"];

/// What the daemon makes in its folders.
const OWN_FILES: [&CStr; 10] = [
    c"admin.sock",
    c"audit-head",
    c"audit-spool",
    c"audit-spool-2",
    c"audit.jsonl",
    c"journal.jsonl",
    c"kernel-seq.json",
    c"policy.sock",
    c"vm-names.json",
    c"vmwardd.lock",
];

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
mod tests {
    use std::fs;

    use super::*;
    use crate::spool::{SPOOL_FILE, SPOOL_FILE_2};

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
    fn somebody_elses_file_in_a_folder_of_the_daemons_is_not_the_daemons() {
        let mut host = Host::new();
        fs::write(host.at("image"), "").unwrap();
        fs::hard_link(host.at("image"), host.at("state/x")).unwrap();
        fs::write(host.at("state/new"), "").unwrap();
        fs::create_dir(host.at("state/folder")).unwrap();
        assert_eq!(host.class("image"), 0);
        assert_eq!(host.class("state/new"), object_class::STATE);
        assert_eq!(host.class("state/folder"), object_class::STATE);
    }

    #[test]
    fn one_more_name_takes_no_file_of_the_daemons_off_guard() {
        let mut host = Host::new();
        let asides = [
            "audit-000017.jsonl",
            "audit.torn-17",
            "journal.new",
            "journal.aside-1",
        ];
        let own = OWN_FILES.iter().map(|name| name.to_str().unwrap());
        for name in own.chain(asides) {
            let path = format!("state/{name}");
            fs::write(host.at(&path), "").unwrap();
            fs::hard_link(host.at(&path), host.at("other")).unwrap();
            assert_eq!(host.class(&path), object_class::STATE, "{name}");
            fs::remove_file(host.at("other")).unwrap();
        }
    }

    #[test]
    fn the_daemons_files_are_called_as_it_calls_them() {
        let config = crate::config::Config::default();
        let sockets = [config.policy_socket(), config.admin_socket()];
        let sockets = sockets.iter().filter_map(|path| path.file_name()?.to_str());
        let files = [AUDIT_FILE, SPOOL_FILE, SPOOL_FILE_2];
        for name in files.into_iter().chain(sockets) {
            let is_listed = OWN_FILES.iter().any(|own| own.to_str() == Ok(name));
            assert!(is_listed, "{name}");
        }
    }

    #[test]
    fn a_flood_in_a_folder_of_the_daemons_leaves_its_files_under_guard() {
        let mut host = Host::new();
        for file in 0..2 * OWN_FOLDER_MAX {
            fs::write(host.at(&format!("state/{file}")), "").unwrap();
        }
        for name in OWN_FILES {
            let path = format!("state/{}", name.to_str().unwrap());
            fs::write(host.at(&path), "").unwrap();
            assert_eq!(host.class(&path), object_class::STATE, "{path}");
        }
    }

    #[test]
    fn a_large_tree_among_configuration_leaves_room_for_the_rest() {
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
