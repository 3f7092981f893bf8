//! The files that libvirt needs to keep a running VM: its status, its pid file,
//! and the folder with its monitor socket. Without them libvirtd loses, kills or
//! misreads the VM when it starts the next time.

use std::fs;
use std::path::{Path, PathBuf};

/// Where libvirtd keeps what it knows of running VMs.
const STATUS_DIR: &str = "/run/libvirt/qemu";
/// Where it keeps a folder for each of them.
const DOMAINS_DIR: &str = "/var/lib/libvirt/qemu";
/// libvirt cuts names short in the names of those folders.
const SHORT_NAME_CHARS: usize = 20;

/// The files of the VM that the process `pid` runs; none where libvirt does not
/// name it.
pub(super) fn files(pid: u32) -> Vec<PathBuf> {
    let Some(name) = name_of(pid) else {
        return Vec::new();
    };
    let status = Path::new(STATUS_DIR);
    let mut files = vec![
        status.join(format!("{name}.xml")),
        status.join(format!("{name}.pid")),
    ];
    let short: String = name.chars().take(SHORT_NAME_CHARS).collect();
    let folders = entries(Path::new(DOMAINS_DIR));
    for folder in folders.into_iter().filter(|path| is_of(path, &short)) {
        files.extend(entries(&folder));
        files.push(folder);
    }
    files
}

/// `domain-ID-NAME`
fn is_of(path: &Path, short: &str) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.strip_prefix("domain-")
        .and_then(|rest| rest.split_once('-'))
        .is_some_and(|(id, name)| id.parse::<u32>().is_ok() && name == short)
}

/// The domain whose pid file holds this number.
fn name_of(pid: u32) -> Option<String> {
    entries(Path::new(STATUS_DIR)).into_iter().find_map(|path| {
        let is_pid_file = path.extension().is_some_and(|kind| kind == "pid");
        let text = is_pid_file.then(|| fs::read_to_string(&path).ok())??;
        (text.trim().parse() == Ok(pid))
            .then(|| Some(path.file_stem()?.to_str()?.to_owned()))
            .flatten()
    })
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    // A folder that is not there holds nothing.
    fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_belongs_to_the_domain_whose_name_it_ends_with() {
        let folder = |name: &str| Path::new(DOMAINS_DIR).join(name);
        assert!(is_of(&folder("domain-12-web-1"), "web-1"));
        assert!(!is_of(&folder("domain-12-other-web-1"), "web-1"));
        assert!(!is_of(&folder("domain-x-web-1"), "web-1"));
        assert!(!is_of(&folder("snapshot"), "snapshot"));
    }
}
