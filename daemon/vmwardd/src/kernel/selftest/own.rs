//! The walls around vmward itself: the canary reaches for a map, a program, a
//! pin and the mount of the pins. Each attempt is one that does no harm where it
//! is not refused.

use std::fs;
use std::io;

use super::process::Canary;
use super::{Findings, KernelError, failed};
use crate::kernel::Kernel;
use crate::kernel::canary::OWN_WORDS;

pub(super) fn attack(
    kernel: &mut Kernel,
    canary: &mut Canary,
    findings: &mut Findings,
) -> Result<(), KernelError> {
    let folder = kernel.programs.folder();
    let bait = folder.join("canary");
    std::os::unix::fs::symlink("nowhere", &bait).map_err(failed("make a pin"))?;
    kernel.own.guarded().guard_files()?;
    let (map, program) = kernel.own.guarded().one_of_each().ok_or_else(|| {
        failed("find the numbers of its own maps and programs")(io::ErrorKind::NotFound.into())
    })?;
    for word in OWN_WORDS {
        let target = match word {
            "map" => map.to_string(),
            "prog" => program.to_string(),
            "truncate" => folder.with_file_name("ACTIVE").display().to_string(),
            "rmdir" => folder.display().to_string(),
            "unlink" | "rename" => bait.display().to_string(),
            _ => "/sys/fs/bpf".to_owned(),
        };
        let refused = canary.ask(&format!("{word} {target}"))?;
        findings.refused(&format!("{word} of vmward's own"), refused);
    }
    fs::remove_file(&bait).map_err(failed("remove a pin"))
}
