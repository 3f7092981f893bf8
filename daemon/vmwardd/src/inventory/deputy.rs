//! libvirt's own daemon: the process that carries out what a lease holder
//! asked for. Found by its pid file and checked: root's, and that program.

use std::path::Path;

use vmward_core::ids::Process;

use crate::process::ProcHandle;
use crate::secure_file::read_bounded;

/// The modular daemon first: where both are installed, it runs the QEMUs.
const PID_FILES: [&str; 2] = ["/run/virtqemud.pid", "/run/libvirtd.pid"];
const PROGRAMS: [&str; 2] = ["virtqemud", "libvirtd"];

/// libvirt's QEMU daemons, the one that runs the QEMUs first.
pub(super) fn find() -> Vec<Process> {
    let files = PID_FILES.iter();
    files.filter_map(|file| checked(Path::new(file))).collect()
}

fn checked(pid_file: &Path) -> Option<Process> {
    let pid: u32 = read_bounded(pid_file, 64).ok()?.trim().parse().ok()?;
    let handle = ProcHandle::open(pid)?;
    let exe = handle.exe()?;
    let program = Path::new(exe.trim_end_matches(" (deleted)")).file_name()?;
    let is_libvirt = PROGRAMS.iter().any(|name| program == *name);
    let process = handle.stat()?.process;
    (is_libvirt && handle.effective_uid() == Some(0)).then_some(process)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_that_names_another_program_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("libvirtd.pid");
        std::fs::write(&file, std::process::id().to_string()).unwrap();
        assert_eq!(checked(&file), None);
    }
}
