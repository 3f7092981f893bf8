//! `[approvals]`: how long requests wait, how many, and who is told.

use std::path::Path;

use serde::Deserialize;
use vmward_core::approval::{APPROVALS_MAX, ApprovalConfig};
use vmward_core::grant::Grants;

use super::check::Wrong;
use crate::secure_file::check_program;

/// Longest life of a request, and longest memory of a no, in seconds: a day.
const SECONDS_MAX: u32 = 86_400;
/// Most words of the command.
const WORDS_MAX: usize = 64;

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ApprovalsConfig {
    /// Seconds after which a request lapses, where its rule does not say.
    pub expire: u32,
    /// Most requests of one grant that wait at a time.
    #[serde(alias = "per_grant")]
    pub per_grant: usize,
    /// Seconds for which a no answers the same call again.
    #[serde(alias = "denied_for")]
    pub denied_for: u32,
    /// A program, by its absolute path, and its arguments: run for each request
    /// that is opened. Nothing is run where empty.
    pub notify: Vec<String>,
}

impl Default for ApprovalsConfig {
    fn default() -> ApprovalsConfig {
        let core = ApprovalConfig::default();
        ApprovalsConfig {
            expire: core.ttl_s,
            per_grant: core.cap_per_grant,
            denied_for: core.denied_memory_s,
            notify: Vec::new(),
        }
    }
}

impl ApprovalsConfig {
    /// The same for the engine, with the numbers that single grants have.
    pub fn core(&self, grants: &Grants) -> ApprovalConfig {
        let own = grants.iter().filter_map(|grant| {
            let cap = usize::try_from(grant.approvals_max?).unwrap_or(APPROVALS_MAX);
            Some((grant.name.clone(), cap))
        });
        ApprovalConfig {
            ttl_s: self.expire,
            cap_per_grant: self.per_grant,
            caps: own.collect(),
            denied_memory_s: self.denied_for,
        }
    }

    /// Says which values are wrong and what to write instead.
    pub(super) fn check(&self) -> Vec<Wrong> {
        let mut all = Vec::new();
        if !(1..=SECONDS_MAX).contains(&self.expire) {
            let what = format!(
                "approvals.expire must be 1 to {SECONDS_MAX} seconds, not {}",
                self.expire
            );
            all.push(Wrong::new(&["approvals", "expire"], what));
        }
        if self.denied_for > SECONDS_MAX {
            let what = format!(
                "approvals.denied-for must be at most {SECONDS_MAX} seconds, not {}",
                self.denied_for
            );
            all.push(Wrong::new(&["approvals", "denied-for"], what));
        }
        if !(1..=APPROVALS_MAX).contains(&self.per_grant) {
            let what = format!(
                "approvals.per-grant must be 1 to {APPROVALS_MAX}, not {}",
                self.per_grant
            );
            all.push(Wrong::new(&["approvals", "per-grant"], what));
        }
        if let Err(what) = self.check_notify() {
            all.push(Wrong::new(&["approvals", "notify"], what));
        }
        all
    }

    fn check_notify(&self) -> Result<(), String> {
        let Some(program) = self.notify.first() else {
            return Ok(());
        };
        if self.notify.len() > WORDS_MAX {
            return Err(format!("approvals.notify has more than {WORDS_MAX} words"));
        }
        if !Path::new(program).is_absolute() {
            return Err(format!(
                "approvals.notify must begin with the absolute path of a program, not {program:?}"
            ));
        }
        check_program(Path::new(program)).map_err(|error| {
            let error = crate::engine_task::chain(&error);
            format!("approvals.notify cannot be used: {error}")
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn notify(program: &Path) -> ApprovalsConfig {
        ApprovalsConfig {
            notify: vec![program.display().to_string()],
            ..ApprovalsConfig::default()
        }
    }

    #[test]
    fn a_program_that_others_may_write_or_nobody_may_run_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("tell");
        std::fs::write(&program, "#!/bin/sh\n").unwrap();
        for (mode, why) in [
            (0o775, Some("chmod go-w")),
            (0o644, Some("chmod +x")),
            (0o755, None),
        ] {
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(mode)).unwrap();
            match (notify(&program).check_notify(), why) {
                (Ok(()), None) => {}
                (Err(text), Some(why)) => assert!(text.contains(why), "{text}"),
                (outcome, _) => panic!("{mode:o}: {outcome:?}"),
            }
        }
        let error = notify(Path::new("tell")).check_notify().unwrap_err();
        assert!(error.contains("absolute path"), "{error}");
    }

    #[test]
    fn a_program_in_a_folder_that_others_may_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let program = dir.path().join("tell");
        std::os::unix::fs::symlink("/bin/sh", &program).unwrap();
        notify(&program).check_notify().unwrap();
        mode(dir.path(), 0o775);
        let error = notify(&program).check_notify().unwrap_err();
        let help = format!("chmod go-w {}", dir.path().display());
        assert!(error.contains(&help), "{error}");
    }

    #[test]
    fn a_request_that_lapses_at_once_or_never_makes_no_sense() {
        for expire in [0, SECONDS_MAX + 1] {
            let config = ApprovalsConfig {
                expire,
                ..ApprovalsConfig::default()
            };
            let wrong = config.check();
            assert_eq!(wrong.len(), 1);
            assert!(wrong[0].what.contains("approvals.expire"));
        }
    }
}
