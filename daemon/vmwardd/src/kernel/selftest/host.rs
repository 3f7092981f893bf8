//! The host's walls: the canary asks for what ends every VM at once.

use super::process::Canary;
use super::{Findings, KernelError};
use crate::kernel::{Kernel, teach};

/// The canary asks; nothing happens where it is not refused: reboot(2) with
/// wrong numbers fails, and a program that is attached to nothing never runs.
pub(super) fn attack(
    _kernel: &mut Kernel,
    canary: &mut Canary,
    findings: &mut Findings,
) -> Result<(), KernelError> {
    let refused = canary.ask("reboot")?;
    findings.refused("reboot", refused);
    for (number, call) in teach::CALLS.iter().enumerate() {
        let what = format!("a BPF program with {call:?}");
        match canary.ask(&format!("program {number}"))? {
            // This kernel has no such call.
            Err(nix::errno::Errno::ENOSYS) => {}
            refused => findings.refused(&what, refused),
        }
    }
    Ok(())
}
