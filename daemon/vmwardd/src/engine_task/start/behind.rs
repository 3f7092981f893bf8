//! A journal that lacks what the audit log has: lines at its end, or all of them.
//!
//! Each line tells what was charged, so one that is missing gives quota back. The
//! numbers of the lines show a hole before the last of them; for the end there is
//! only the audit log, which says of each allow whether the journal has it too, and
//! of each request for approval how far it came.

mod requests;

use std::collections::HashSet;
use std::io;

use self::requests::unsettled;

use vmward_core::approval::ApprovalConfig;
use vmward_core::audit::AuditBody;
use vmward_core::clock::{self, NS_PER_S, Now};
use vmward_core::engine::Engine;
use vmward_core::ids::DecisionId;
use vmward_core::journal::{REMEDY, Replay, ReplayedState};
use vmward_core::policy::Policy;

use super::{Recovered, damaged};
use crate::audit_file::{AuditFile, Resumed, Written};
use crate::config::Config;
use crate::ledger_file::{FileStorage, JOURNAL_FILE, Ledger};
use crate::spool::Left;

/// No lease is unfinished for longer.
const LEASE_NS: i64 = 600 * NS_PER_S;

/// What is to be said of a journal at `path` that lacks what the audit log has of
/// it, and what may still count by this policy and these settings. Where that is too
/// old nothing is lost with it, and hosts whose journal was begun anew by a former
/// version have such.
pub(super) fn behind(
    path: &str,
    replayed: &ReplayedState,
    resumed: &Resumed,
    left: &Left,
    policy: &Policy,
    approvals: &ApprovalConfig,
    now: Now,
) -> Option<String> {
    let why = lacks_allow(replayed, resumed, left, policy, now)
        .or_else(|| requests::lacks(replayed, &resumed.requests, policy, approvals, now))?;
    Some(format!(
        "{path} {why}: lines at its end, or all of it, are missing; {REMEDY}"
    ))
}

fn lacks_allow(
    replayed: &ReplayedState,
    resumed: &Resumed,
    left: &Left,
    policy: &Policy,
    now: Now,
) -> Option<String> {
    let spooled = left.records.iter().find_map(|body| match body {
        AuditBody::Decision(record) if record.journalled => Some(record.decision_id),
        _ => None,
    });
    let windows = policy.limits().map(|limit| limit.window.ns());
    let longest_ns = windows.max().unwrap_or(0).max(LEASE_NS);
    let logged = resumed.journalled.as_ref();
    let logged =
        logged.filter(|newest| age_ns(&newest.written, &replayed.boot_id, now) <= longest_ns);
    let id = logged.map(|newest| newest.id).max(spooled)?;
    (id.0 >= replayed.next_id).then(|| {
        format!(
            "lacks decision {}, which was allowed and charged and is in the audit log",
            id.0
        )
    })
}

fn age_ns(written: &Written, boot_id: &str, now: Now) -> i64 {
    // Within a boot nobody can set the clock that tells the age.
    if written.boot_id == boot_id {
        return now.boot_ns.saturating_sub(written.boot_ns);
    }
    let at_ns = clock::parse_rfc3339(&written.time);
    at_ns.map_or(0, |at_ns| now.wall_ns.saturating_sub(at_ns))
}

/// Why a daemon with this configuration would decide nothing by this journal; nothing
/// where it would. Nothing is changed, on disk or elsewhere.
///
/// # Errors
/// The audit log cannot be read.
pub fn refusal(
    config: &Config,
    policy: &Policy,
    journal: &[u8],
    left: &Left,
    boot_id: &str,
    now: Now,
) -> io::Result<Option<String>> {
    let path = config.state_dir.join(JOURNAL_FILE).display().to_string();
    let replayed = match Replay::read(journal) {
        Ok(replay) => replay.finish(boot_id, now),
        Err(error) => return Ok(Some(damaged(&path, &error))),
    };
    let wanted = wanted(&replayed, left);
    let resumed = AuditFile::look(&config.log_dir, boot_id, &wanted)?;
    let approvals = config.approvals.core(&config.grants);
    Ok(behind(
        &path, &replayed, &resumed, left, policy, &approvals, now,
    ))
}

/// The decisions that are looked for in the audit log.
pub(super) fn wanted(replayed: &ReplayedState, left: &Left) -> HashSet<DecisionId> {
    let decisions = replayed.decisions.iter().map(|found| found.id);
    decisions
        .chain(left.ids())
        .chain(unsettled(replayed))
        .collect()
}

/// A state that denies every call, since the journal cannot be gone on with. It is
/// kept as it is.
pub(super) fn refusing(
    mut engine: Engine,
    storage: FileStorage,
    why: String,
    (mut audit, resumed): (AuditFile, Resumed),
    boot_id: &str,
    now: Now,
) -> Recovered {
    tracing::error!(why, "the journal is damaged; every call will be denied");
    // A repair asks the log which daemons have decided anything.
    audit.append(AuditBody::daemon("journal-refused", Some(why.clone())), now);
    // Numbers of decisions that the log has are not used again.
    if let Some(newest) = resumed.newest {
        engine.skip_ids(newest);
    }
    Recovered {
        engine,
        ledger: Ledger::closed(Box::new(storage), why),
        audit,
        spool: None,
        warnings: resumed.warnings(),
        resumed,
        boot_id: boot_id.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit_file::Journalled;

    const POLICY: &str = r#"{"version": "1", "default": "deny", "tools": {
        "vm_stop": {"limits": [{"counter": "c", "window": "hour", "max": 1, "scope": "grant"}]}
    }}"#;
    const HOUR_S: i64 = 3600;

    fn at(seconds: i64) -> Now {
        let ns = seconds * NS_PER_S;
        Now {
            boot_ns: ns,
            wall_ns: ns,
        }
    }

    /// Is an empty journal `age_s` after an allow of that boot refused?
    fn is_behind(age_s: i64, boot_id: &str, time: &str) -> bool {
        let policy = Policy::parse(POLICY, "policy.json").unwrap();
        let now = at(10 * HOUR_S + age_s);
        let replayed = Replay::read(b"").unwrap().finish("now", now);
        let resumed = Resumed {
            journalled: Some(Journalled {
                id: DecisionId(3),
                written: Written {
                    boot_id: boot_id.to_owned(),
                    boot_ns: 10 * HOUR_S * NS_PER_S,
                    time: time.to_owned(),
                },
            }),
            ..Resumed::default()
        };
        lacks_allow(&replayed, &resumed, &Left::default(), &policy, now).is_some()
    }

    #[test]
    fn an_allow_that_the_journal_lacks_matters_as_long_as_a_window_can_hold_it() {
        // The wall clock says nothing within a boot.
        for time in ["1970-01-01T00:00:00Z", "2030-01-01T00:00:00Z"] {
            assert!(is_behind(HOUR_S, "now", time));
            assert!(!is_behind(HOUR_S + 1, "now", time));
        }
        assert!(is_behind(HOUR_S, "before", "1970-01-01T10:00:00Z"));
        assert!(!is_behind(HOUR_S + 1, "before", "1970-01-01T10:00:00Z"));
        // One that is dated from the future, or not at all, may be recent.
        assert!(is_behind(0, "before", "2030-01-01T00:00:00Z"));
        assert!(is_behind(20 * HOUR_S, "before", "yesterday"));
    }

    #[test]
    fn a_log_without_such_an_allow_is_no_reproach() {
        let policy = Policy::parse(POLICY, "policy.json").unwrap();
        let replayed = Replay::read(b"").unwrap().finish("now", at(1));
        let (resumed, left) = (Resumed::default(), Left::default());
        let approvals = ApprovalConfig::default();
        assert_eq!(
            behind("j", &replayed, &resumed, &left, &policy, &approvals, at(1)),
            None
        );
    }
}
