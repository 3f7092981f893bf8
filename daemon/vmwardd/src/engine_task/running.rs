//! Which VMs are under protection, kept over the end of the host: it takes them with
//! it, be it by a loss of power, a panic or a forced reboot, and nobody is there to
//! see it. The next boot's daemon takes down that they ended.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vmward_core::audit::{AuditBody, VmRef};
use vmward_core::ids::{Process, VmUuid};

use super::shell::Shell;
use super::vms::vm_body;
use crate::secure_file;

/// In the daemon's state folder.
const FILE: &str = "vms-running.json";
/// Longest file: 8,192 VMs, each with a name of the longest kind.
const BYTES_MAX: u64 = 16 << 20;
/// What the records of VMs say that ended with the host.
const CAUSE: &str = "host-restarted";

/// The file, and what it says of this boot.
#[derive(Debug)]
pub(super) struct Running {
    path: PathBuf,
    boot_id: String,
    /// As of an earlier boot, until it is told.
    lost: Vec<Kept>,
}

#[derive(Debug, Serialize, Deserialize)]
struct File {
    boot_id: String,
    vms: Vec<Kept>,
}

/// A VM under protection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    uuid: VmUuid,
    name: String,
    #[serde(flatten)]
    process: Process,
}

impl Running {
    /// A file that cannot be read costs the records of what it held, and is written
    /// anew.
    pub(super) fn load(state_dir: &Path, boot_id: &str) -> Running {
        let path = state_dir.join(FILE);
        let read = match secure_file::read_own(&path, BYTES_MAX) {
            Ok(text) => serde_json::from_str::<File>(&text).map_err(io::Error::from),
            Err(error) => Err(error),
        };
        let lost = match read {
            Ok(file) if file.boot_id != boot_id => file.vms,
            Ok(_) => Vec::new(),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(
                        path = %path.display(),
                        %error,
                        "which VMs ran when the host went down cannot be read"
                    );
                }
                Vec::new()
            }
        };
        Running {
            path,
            boot_id: boot_id.to_owned(),
            lost,
        }
    }

    fn keep(&self, vms: Vec<Kept>) -> io::Result<()> {
        let file = File {
            boot_id: self.boot_id.clone(),
            vms,
        };
        secure_file::replace_for_good(&self.path, &serde_json::to_vec(&file)?)
    }
}

impl Shell {
    /// Those that an earlier boot of the host took with it.
    pub(super) fn lost_with_host(&mut self) -> Vec<AuditBody> {
        let lost = std::mem::take(&mut self.running.lost);
        lost.into_iter()
            .map(
                |Kept {
                     uuid,
                     name,
                     process,
                 }| {
                    tracing::warn!(vm = name, pid = process.pid, "a VM ended with the host");
                    let vm = VmRef {
                        uuid: Some(uuid),
                        name,
                    };
                    vm_body("ended", vm, process, Some(CAUSE.to_owned()))
                },
            )
            .collect()
    }

    /// Keeps which VMs are under protection, where that has changed; what cannot be
    /// written now is tried again with the next tick.
    pub(super) fn keep_running(&mut self) {
        if !self.vms.have_changed() {
            return;
        }
        let vms = self.vms.guarded().map(|(process, vm)| Kept {
            uuid: vm.uuid,
            name: vm.name.clone(),
            process,
        });
        match self.running.keep(vms.collect()) {
            Ok(()) => self.vms.are_kept(),
            Err(error) => self.complain("the file of running VMs", &error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm() -> Kept {
        Kept {
            uuid: VmUuid::from_bytes([7; 16]),
            name: "web-1".to_owned(),
            process: Process {
                pid: 7,
                start_ticks: 9,
            },
        }
    }

    #[test]
    fn what_ran_in_an_earlier_boot_is_lost_and_what_runs_in_this_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let first = Running::load(dir.path(), "first");
        assert_eq!(first.lost, []);
        first.keep(vec![vm()]).unwrap();
        assert_eq!(Running::load(dir.path(), "first").lost, []);
        let next = Running::load(dir.path(), "next");
        assert_eq!(next.lost, [vm()]);
        next.keep(Vec::new()).unwrap();
        assert_eq!(Running::load(dir.path(), "third").lost, []);
    }

    #[test]
    fn an_unreadable_file_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        let running = Running::load(dir.path(), "next");
        assert_eq!(running.lost, []);
        running.keep(vec![vm()]).unwrap();
        assert_eq!(Running::load(dir.path(), "third").lost, [vm()]);
    }
}
