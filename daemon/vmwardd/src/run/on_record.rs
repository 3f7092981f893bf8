//! What is done to vmwardd's state while no daemon runs goes on record all the same.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;

use vmward_core::audit::AuditBody;

use crate::audit_file::{AuditFile, Resumed};
use crate::process::ProcHandle;
use crate::{clock, convert};

/// Appends a durable record to the audit log in `log_dir`, whose head is in
/// `state_dir`, and gives what the log had before.
///
/// # Errors
/// The log cannot be read or written.
pub(super) fn put_on_record(
    log_dir: &Path,
    state_dir: &Path,
    event: &str,
    detail: &str,
) -> anyhow::Result<Resumed> {
    put_all_on_record(log_dir, state_dir, event, detail, Vec::new())
}

/// The same, behind other records.
///
/// # Errors
/// As [`put_on_record`].
pub(super) fn put_all_on_record(
    log_dir: &Path,
    state_dir: &Path,
    event: &str,
    detail: &str,
    before: Vec<AuditBody>,
) -> anyhow::Result<Resumed> {
    let now = convert::now();
    let boot_id = clock::boot_id()?;
    let (mut audit, resumed) =
        AuditFile::open_kept(log_dir, state_dir, &boot_id, now, &HashSet::new())?;
    for body in before {
        audit.append(body, now);
    }
    audit.append(AuditBody::daemon(event, Some(detail.to_owned())), now);
    audit.sync()?;
    match audit.fault() {
        Some(fault) => Err(anyhow::anyhow!(fault)),
        None => Ok(resumed),
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
