//! The daemon under its own guard.

use std::path::PathBuf;

use crate::config::Config;
use crate::engine_task::KernelSide;
use crate::exit::{Failure, OrExit, UNAVAILABLE};
use crate::kernel::EventReader;
use crate::lock::HOST_DIR;

/// Where libvirt's and vmward's configuration is: what is done to it is recorded.
const CONFIG_FOLDERS: [&str; 2] = ["/etc/libvirt", "/etc/vmward"];

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
    let host = PathBuf::from(HOST_DIR);
    let folders = folders.into_iter().cloned().chain([host]).collect();
    let mut watched: Vec<PathBuf> = CONFIG_FOLDERS.map(PathBuf::from).to_vec();
    watched.push(config.policy.clone());
    kernel
        .guard_self(observe, folders, watched)
        .or_exit(UNAVAILABLE)?;
    Ok(kernel.take_events())
}
