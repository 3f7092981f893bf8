//! The host's walls: the canary asks for what ends every VM at once.

use nix::errno::Errno;

use super::process::Canary;
use super::{Findings, KernelError};
use crate::kernel::{Kernel, teach};

/// The canary asks; nothing happens where it is not refused: reboot(2) with
/// wrong numbers fails, what the kernel's auditing is told begins with a value that it
/// does not know, and a program that is attached to nothing never runs.
pub(super) fn attack(
    _kernel: &mut Kernel,
    canary: &mut Canary,
    findings: &mut Findings,
) -> Result<(), KernelError> {
    let refused = canary.ask("reboot")?;
    findings.refused("reboot", refused);
    match canary.ask("audit")? {
        // This service may open no such socket, or the kernel's auditing is off for good.
        Err(Errno::EAFNOSUPPORT | Errno::EPROTONOSUPPORT) => {}
        refused => findings.refused("a panic at each lost audit record", refused),
    }
    for (number, call) in teach::CALLS.iter().enumerate() {
        let what = format!("a BPF program with {call:?}");
        match canary.ask(&format!("program {number}"))? {
            // This kernel has no such call.
            Err(Errno::ENOSYS) => {}
            refused => findings.refused(&what, refused),
        }
    }
    Ok(())
}
