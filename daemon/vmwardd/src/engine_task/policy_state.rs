//! What `status` shows about the policy file.

use std::path::PathBuf;

use vmward_core::clock::{Now, rfc3339};
use vmward_core::policy::{Policy, RuleMode};
use vmward_wire::v1::PolicyStatus;

/// The file, and what became of its newest text.
#[derive(Debug)]
pub(super) struct PolicyState {
    path: PathBuf,
    loaded_at: String,
    rejected: Option<String>,
}

impl PolicyState {
    pub(super) fn loaded(path: PathBuf, now: Now) -> PolicyState {
        PolicyState {
            path,
            loaded_at: rfc3339(now.wall_ns),
            rejected: None,
        }
    }

    pub(super) fn taken(&mut self, now: Now) {
        self.loaded_at = rfc3339(now.wall_ns);
        self.rejected = None;
    }

    pub(super) fn rejected(&mut self, why: String) {
        self.rejected = Some(why);
    }

    pub(super) fn is_stale(&self) -> bool {
        self.rejected.is_some()
    }

    pub(super) fn status(&self, policy: &Policy) -> PolicyStatus {
        let rules = policy.tools().map(|(_, rule)| rule);
        let rules = rules.chain(policy.effects.values());
        let rules = rules.chain(policy.protected.iter().map(|entry| &entry.rule));
        let rules = rules.chain(&policy.all_tools).map(|rule| rule.mode);
        let modes = rules.chain(policy.host_rules.values().map(|rule| rule.mode));
        let shadow_rules = modes.filter(|mode| *mode == RuleMode::Shadow).count();
        PolicyStatus {
            path: self.path.display().to_string(),
            hash: policy.hash().to_owned(),
            loaded_at: self.loaded_at.clone(),
            shadow_rules: Some(shadow_rules as u64),
            lints: Some(policy.lints.len() as u64),
            rejected: self.rejected.clone(),
        }
    }
}
