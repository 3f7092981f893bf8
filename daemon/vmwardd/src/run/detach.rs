//! `vmwardd --detach`: the end of enforcement, also without a daemon.

use super::on_record::{on_whose_order, put_on_record};
use super::{make_dirs, take_lock};
use crate::config::Config;
use crate::exit::{Failure, OrExit, UNAVAILABLE};
use crate::kernel::Kernel;

pub(super) fn detach(config: &Config) -> Result<(), Failure> {
    make_dirs(config)?;
    let _lock = take_lock(config)?;
    let had_any = Kernel::detach(&config.pin_dir).or_exit(UNAVAILABLE)?;
    if had_any {
        tracing::warn!("the kernel side was removed; no VM is protected any more");
        record(config);
    } else {
        tracing::info!("there was no kernel side to remove");
    }
    Ok(())
}

/// The end of enforcement goes on record; a log that cannot be written must not
/// keep a host from shutting down.
fn record(config: &Config) {
    let detail = format!("no VM is protected from here on; by {}", on_whose_order());
    if let Err(error) = put_on_record(config, "detached", &detail) {
        tracing::error!("the removal is not in the audit log: {error:#}");
    }
}
