//! The daemon under its own guard.

use crate::config::Config;
use crate::engine_task::KernelSide;
use crate::exit::{Failure, OrExit, UNAVAILABLE};
use crate::kernel::EventReader;

/// Guards the daemon and its folders, and gives the reader of the kernel's
/// events; none without the kernel side.
///
/// # Errors
/// The kernel's maps refuse.
pub(super) fn guard(
    side: &mut KernelSide,
    config: &Config,
    observe: bool,
) -> Result<Option<EventReader>, Failure> {
    let KernelSide::On(kernel) = side else {
        return Ok(None);
    };
    let folders = [&config.state_dir, &config.log_dir, &config.run_dir];
    let folders = folders.into_iter().cloned().collect();
    kernel.guard_self(observe, folders).or_exit(UNAVAILABLE)?;
    Ok(kernel.take_events())
}
