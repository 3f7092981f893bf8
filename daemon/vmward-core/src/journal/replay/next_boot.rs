//! A request for approval over a restart of the host.

use crate::{approval::Approval, clock::Now};

/// A request for approval in the time of a boot that began since the instant
/// `last` of the former one, `since_last_ns` ago.
pub(super) fn in_next_boot(approval: &mut Approval, last: Now, since_last_ns: i64, at: Now) {
    let before_ns = last.boot_ns.saturating_sub(approval.opened.boot_ns).max(0);
    let age_ns = since_last_ns.saturating_add(before_ns);
    let time_ns = approval.deadline_ns.saturating_sub(approval.opened.boot_ns);
    approval.opened.boot_ns = at.boot_ns.saturating_sub(age_ns);
    approval.deadline_ns = if at.wall_ns < last.wall_ns {
        // The clock was set back, so its age is not known: its time is over.
        at.boot_ns
    } else {
        approval.opened.boot_ns.saturating_add(time_ns)
    };
}
