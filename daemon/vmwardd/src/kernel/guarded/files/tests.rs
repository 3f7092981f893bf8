use std::fs;
use std::os::unix::fs::symlink;

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
fn what_the_guarded_folders_lie_in_stays_where_it_is() {
    let mut host = Host::new();
    for folder in ["a/b/state", "c/log", "c/run"] {
        fs::create_dir_all(host.at(folder)).unwrap();
    }
    fs::create_dir(host.at("a/other")).unwrap();
    symlink(host.at("c"), host.at("link")).unwrap();
    let folders = ["a/b/state", "link/log"].map(|name| host.at(name));
    host.files.are_in(folders.into(), vec![host.at("etc")]);
    for (name, class) in [
        ("", object_class::ABOVE),
        ("a", object_class::ABOVE),
        ("a/b", object_class::ABOVE),
        ("a/b/state", object_class::STATE),
        ("link", object_class::ABOVE),
        ("c", object_class::ABOVE),
        ("c/log", object_class::STATE),
        // What nothing of this lies in.
        ("a/other", 0),
        ("c/run", 0),
        // Configuration is only recorded.
        ("etc", object_class::CONFIG),
    ] {
        assert_eq!(host.class(name), class, "{name}");
    }
    assert_eq!(host.class("/"), 0);
}

#[test]
fn the_folders_above_libvirts_and_the_daemons_are_under_guard() {
    let mut files = Files::new(Path::new("/sys/fs/bpf/vmward"));
    let own = ["/var/lib/vmward", "/var/log/vmward", "/run/vmward"];
    files.are_in(own.map(PathBuf::from).into(), Vec::new());
    let folders = files.above();
    for folder in [
        "/run",
        "/run/libvirt",
        "/var",
        "/var/lib",
        "/var/lib/libvirt",
        "/var/log",
        // Places already, and that is stricter.
        "/sys/fs/bpf",
    ] {
        assert!(folders.contains(Path::new(folder)), "{folder}");
    }
    assert!(!folders.contains(Path::new("/")));
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
