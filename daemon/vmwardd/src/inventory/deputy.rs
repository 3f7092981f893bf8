//! libvirt's own daemons: the one that carries out what a lease holder asked for,
//! and the one that reads what guests print. Found by their pid files and checked:
//! root's, and that program.

use std::path::Path;

use vmward_core::ids::Process;

use crate::process::ProcHandle;
use crate::secure_file::read_bounded;

/// The modular daemon first: where both are installed, it runs the QEMUs.
const PID_FILES: [&str; 2] = ["/run/virtqemud.pid", "/run/libvirtd.pid"];
const PROGRAMS: [&str; 2] = ["virtqemud", "libvirtd"];
const LOGGER_PID_FILE: &str = "/run/virtlogd.pid";
const LOGGER: &str = "virtlogd";

/// libvirt's QEMU daemons, the one that runs the QEMUs first.
pub(super) fn find() -> Vec<Process> {
    let files = PID_FILES.iter();
    files
        .filter_map(|file| checked(Path::new(file), &PROGRAMS))
        .collect()
}

/// The process id of the first of them; 0 where there is none.
pub(super) fn first(deputies: &[Process]) -> u32 {
    deputies.first().map_or(0, |process| process.pid)
}

/// virtlogd.
pub(super) fn find_logger() -> Option<Process> {
    checked(Path::new(LOGGER_PID_FILE), &[LOGGER])
}

fn checked(pid_file: &Path, programs: &[&str]) -> Option<Process> {
    let pid: u32 = read_bounded(pid_file, 64).ok()?.trim().parse().ok()?;
    let handle = ProcHandle::open(pid)?;
    let exe = handle.exe()?;
    let program = Path::new(exe.trim_end_matches(" (deleted)")).file_name()?;
    let is_libvirt = programs.iter().any(|name| program == *name);
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
        assert_eq!(checked(&file, &PROGRAMS), None);
    }
}
