//! What no two processes may have at the same time: folders, sockets, the kernel side.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use super::attached::{self, Attached, real};
use crate::boot_switch::BootSwitch;
use crate::cli::Cli;
use crate::config::Config;
use crate::exit::{CANT_CREATE, Failure, TEMP_FAIL, UNAVAILABLE};
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
) -> Result<(Vec<InstanceLock>, Option<PinLock>), Failure> {
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

/// Two daemons must share neither their state nor their sockets nor their log: each
/// would go on from records that the other has not written.
pub(super) fn take_lock(config: &Config) -> Result<Vec<InstanceLock>, Failure> {
    let dirs = [&config.run_dir, &config.state_dir, &config.log_dir];
    // One folder may be more than one of these.
    let dirs: BTreeSet<_> = dirs.into_iter().map(|dir| real(dir)).collect();
    let take = |dir: &PathBuf| InstanceLock::take(dir).map_err(lock_failure);
    dirs.iter().map(take).collect()
}

pub(super) fn lock_failure(error: LockError) -> Failure {
    // The programs keep what is vmward's from a process that may not be it.
    let is_refused = matches!(
        &error,
        LockError::Open { source, .. } if source.kind() == io::ErrorKind::PermissionDenied
    );
    if is_refused && let Err(why) = PinLock::check_process() {
        return Failure::new(UNAVAILABLE, why);
    }
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
