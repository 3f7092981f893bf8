//! `vmwardd --detach`: the end of enforcement, also without a daemon.

use std::collections::HashSet;
use std::fmt::Write as _;

use vmward_core::audit::{AuditBody, DaemonRecord};

use super::{make_dirs, take_lock};
use crate::audit_file::AuditFile;
use crate::config::Config;
use crate::exit::{Failure, OrExit, UNAVAILABLE};
use crate::kernel::Kernel;
use crate::process::ProcHandle;
use crate::{clock, convert};

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
    let now = convert::now();
    let body = AuditBody::Daemon(DaemonRecord {
        event: "detached".to_owned(),
        detail: Some(format!(
            "no VM is protected from here on; by {}",
            on_whose_order()
        )),
    });
    let written = clock::boot_id()
        .map_err(anyhow::Error::from)
        .and_then(|boot_id| {
            let (mut audit, _) = AuditFile::open(&config.log_dir, &boot_id, now, &HashSet::new())?;
            audit.append(body, now);
            audit.flush();
            Ok(audit.sync()?)
        });
    if let Err(error) = written {
        tracing::error!("the removal is not in the audit log: {error:#}");
    }
}

/// The user, who logged in as that user, and what started this program.
pub(super) fn on_whose_order() -> String {
    let mut text = format!("uid {}", nix::unistd::Uid::current());
    let Some(own) = ProcHandle::open(std::process::id()) else {
        return text;
    };
    if let Some(login) = own.loginuid() {
        // Writing to a string cannot fail.
        write!(text, " (logged in as uid {login})").unwrap_or_default();
    }
    let parent = own.stat().map(|stat| stat.parent);
    let parent = parent.and_then(|pid| ProcHandle::open(pid)?.stat());
    if let Some(parent) = parent {
        let (comm, pid) = (&parent.comm, parent.process.pid);
        write!(text, ", from {comm}[{pid}]").unwrap_or_default();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_names_the_user_and_what_started_the_program() {
        let order = on_whose_order();
        let uid = nix::unistd::Uid::current();
        assert!(order.starts_with(&format!("uid {uid}")), "{order}");
        let parent = std::os::unix::process::parent_id();
        assert!(order.ends_with(&format!("[{parent}]")), "{order}");
    }
}
