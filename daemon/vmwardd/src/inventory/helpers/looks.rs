//! What a process looks like: can it be a VM's helper?

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use vmward_abi::TICK_NS;
use vmward_core::ids::Process;

use crate::process::ProcHandle;

/// What libvirt starts for a VM.
const PROGRAMS: [&str; 7] = [
    "dbus-daemon",
    "nbdkit",
    "passt",
    "qemu-pr-helper",
    "slirp-helper",
    "swtpm",
    "virtiofsd",
];
/// How the names of others begin: builds of passt for a processor, back ends of
/// devices.
const PROGRAM_STARTS: [&str; 2] = ["passt.", "vhost-user-"];
/// Anybody but the owner may write.
const OTHERS_WRITE: u32 = 0o022;
/// How long before its VM libvirt starts a helper, at most: two minutes.
const LEAD_TICKS: u64 = 120 * 1_000_000_000 / TICK_NS;

/// What is known of a process, beside its number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Looks {
    pub(super) start_ticks: u64,
    /// The cgroup of a VM that it is in.
    pub(super) vm_cgroup: Option<String>,
    /// The name of its program's file, where only root can write that.
    pub(super) program: Option<String>,
}

impl Looks {
    /// `None` when it has ended.
    pub(super) fn of(process: Process) -> Option<Self> {
        let handle = ProcHandle::open(process.pid)?;
        if handle.stat()?.process != process {
            return None;
        }
        let cgroup = handle.cgroup().unwrap_or_default();
        Some(Self {
            start_ticks: process.start_ticks,
            vm_cgroup: own_part(&cgroup).map(str::to_owned),
            program: handle
                .exe()
                .filter(|_| is_roots_program(process.pid))
                .and_then(|exe| file_name(&exe)),
        })
    }

    /// Can it be a helper of `vm`, when a pid file says so? One of another VM's
    /// cgroup is that one's. One in no VM's cgroup must be a program that libvirt
    /// starts, and no older than libvirt's work on this VM.
    pub(super) fn may_help(&self, vm: &Self) -> bool {
        if self.vm_cgroup.is_some() {
            return self.vm_cgroup == vm.vm_cgroup;
        }
        let is_known = self.program.as_deref().is_some_and(|name| {
            PROGRAMS.contains(&name) || PROGRAM_STARTS.iter().any(|start| name.starts_with(start))
        });
        is_known && self.start_ticks.saturating_add(LEAD_TICKS) >= vm.start_ticks
    }
}

/// Only root can have written the program that the process runs. Asked of the file
/// itself: helpers lock themselves into mounts of their own.
fn is_roots_program(pid: u32) -> bool {
    fs::metadata(format!("/proc/{pid}/exe"))
        .is_ok_and(|meta| meta.uid() == 0 && meta.mode() & OTHERS_WRITE == 0)
}

/// An upgrade may have replaced the file.
fn file_name(exe: &str) -> Option<String> {
    let path = exe.trim_end_matches(" (deleted)");
    Some(Path::new(path).file_name()?.to_str()?.to_owned())
}

/// Up to machined's scope, or the folder that libvirt makes where there is no
/// machined.
pub(super) fn own_part(path: &str) -> Option<&str> {
    let mut end = 0;
    for part in path.split_inclusive('/') {
        end += part.len();
        let name = part.trim_end_matches('/');
        let is_scope = name.starts_with("machine-qemu") && has_end(name, "scope");
        if is_scope || has_end(name, "libvirt-qemu") {
            return path.get(..end).map(|own| own.trim_end_matches('/'));
        }
    }
    None
}

fn has_end(name: &str, end: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|found| found == end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VM_START: u64 = 1_000_000;

    fn vm() -> Looks {
        looks(
            "qemu-system-x86_64",
            VM_START,
            Some("/machine.slice/a.scope"),
        )
    }

    fn looks(program: &str, start_ticks: u64, vm_cgroup: Option<&str>) -> Looks {
        Looks {
            start_ticks,
            vm_cgroup: vm_cgroup.map(str::to_owned),
            program: Some(program.to_owned()),
        }
    }

    #[track_caller]
    fn check(one: &Looks, may_help: bool) {
        assert_eq!(one.may_help(&vm()), may_help, "{one:?}");
    }

    #[test]
    fn a_program_that_libvirt_starts_for_a_vm_is_believed_of_its_time_alone() {
        for name in ["swtpm", "virtiofsd", "passt.avx2", "vhost-user-gpu"] {
            check(&looks(name, VM_START - 500, None), true);
            check(&looks(name, VM_START + 1_000_000, None), true);
            // It was there long before: no helper of this VM.
            check(&looks(name, VM_START - LEAD_TICKS - 1, None), false);
        }
    }

    #[test]
    fn no_pid_file_makes_a_helper_of_any_process() {
        for name in ["sshd", "bash", "systemd", "swtpm_setup", "virtiofsd2", ""] {
            check(&looks(name, VM_START + 1, None), false);
        }
        // Of its name, and somebody else's to write.
        let unknown = Looks {
            program: None,
            ..looks("", VM_START + 1, None)
        };
        check(&unknown, false);
    }

    #[test]
    fn a_cgroup_of_a_vm_decides() {
        let own = Some("/machine.slice/a.scope");
        check(&looks("some-backend", 0, own), true);
        let other = Some("/machine.slice/b.scope");
        check(&looks("virtiofsd", VM_START + 1, other), false);
    }

    #[test]
    fn the_cgroup_of_a_vm_is_told_from_those_above_it() {
        let scope = "/machine.slice/machine-qemu\\x2d1\\x2dweb.scope";
        assert_eq!(own_part(&format!("{scope}/libvirt/emulator")), Some(scope));
        assert_eq!(own_part(scope), Some(scope));
        let plain = "/machine/qemu-1-web-1.libvirt-qemu";
        assert_eq!(own_part(&format!("{plain}/emulator")), Some(plain));
        for shared in ["/", "/machine.slice", "/system.slice/libvirtd.service", ""] {
            assert_eq!(own_part(shared), None, "{shared}");
        }
    }
}
