//! What no two processes may have at the same time: folders, sockets, the kernel side.

use super::attached::{self, Attached};
use crate::boot_switch::BootSwitch;
use crate::cli::Cli;
use crate::config::Config;
use crate::exit::{CANT_CREATE, Failure, TEMP_FAIL};
use crate::kernel::PinLock;
use crate::lock::{InstanceLock, LockError};

/// Every lock that a daemon needs.
///
/// # Errors
/// Another one has one of them, or it cannot be had.
pub(super) fn take_all(
    config: &Config,
    cli: &Cli,
    switch: BootSwitch,
    warnings: &mut Vec<String>,
) -> Result<([InstanceLock; 2], Option<PinLock>), Failure> {
    let locks = take_lock(config)?;
    warnings.extend(
        locks
            .iter()
            .filter_map(InstanceLock::warning)
            .map(str::to_owned),
    );
    let pins = lock_kernel(config, cli, switch, warnings)?;
    Ok((locks, pins))
}

/// Two daemons must share neither their state nor their sockets.
pub(super) fn take_lock(config: &Config) -> Result<[InstanceLock; 2], Failure> {
    let take = |dir| InstanceLock::take(dir).map_err(lock_failure);
    Ok([take(&config.run_dir)?, take(&config.state_dir)?])
}

pub(super) fn lock_failure(error: LockError) -> Failure {
    let code = match error {
        LockError::Busy { .. } => TEMP_FAIL,
        LockError::Open { .. } => CANT_CREATE,
    };
    Failure::new(code, error)
}

/// The kernel side is nobody else's from here on, where this daemon has anything to do
/// with it; and whoever had it before with other folders has it on record.
fn lock_kernel(
    config: &Config,
    cli: &Cli,
    switch: BootSwitch,
    warnings: &mut Vec<String>,
) -> Result<Option<PinLock>, Failure> {
    let is_wanted = match switch {
        BootSwitch::Off => config.pin_dir.exists(),
        BootSwitch::Observe | BootSwitch::Absent => !cli.policy_only,
    };
    if !is_wanted {
        return Ok(None);
    }
    let pins = attached::lock(config)?;
    warnings.extend_from_slice(pins.warnings());
    let what = "a vmwardd with other folders takes over; what happens from here on is in its log";
    Attached::find(config)?.record("taken-over", what, config);
    Ok(Some(pins))
}
