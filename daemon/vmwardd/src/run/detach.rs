//! `vmwardd --detach`: the end of enforcement, also without a daemon.

use super::attached::{self, Attached};
use super::locks::take_lock;
use super::make_dirs;
use super::on_record::{on_whose_order, put_on_record};
use crate::config::Config;
use crate::exit::{Failure, OrExit, UNAVAILABLE};

const UNPROTECTED: &str = "no VM is protected from here on";

pub(super) fn detach(config: &Config) -> Result<(), Failure> {
    make_dirs(config)?;
    let _lock = take_lock(config)?;
    if !config.pin_dir.exists() {
        tracing::info!("there was no kernel side to remove");
        return Ok(());
    }
    // A daemon with other folders may run.
    let pins = attached::lock(config)?;
    for warning in pins.warnings() {
        tracing::warn!("{warning}");
    }
    let attached = Attached::find(config)?;
    if pins.detach().or_exit(UNAVAILABLE)? {
        tracing::warn!("the kernel side was removed; no VM is protected any more");
        record(config);
        attached.record("detached", UNPROTECTED, config);
        attached.forget();
    }
    Ok(())
}

/// The end of enforcement goes on record; a log that cannot be written must not
/// keep a host from shutting down.
fn record(config: &Config) {
    let detail = format!("{UNPROTECTED}; by {}", on_whose_order());
    if let Err(error) = put_on_record(&config.log_dir, &config.state_dir, "detached", &detail) {
        tracing::error!("the removal is not in the audit log: {error:#}");
    }
}
