//! What `vmward.toml` says about requests for approval: it decides as the policy
//! does, and stands beside it. Everything else in the file is the daemon's.

use std::{collections::BTreeMap, io::ErrorKind, path::Path};

use anyhow::Context;
use serde::Deserialize;
use vmward_core::approval::ApprovalConfig;

/// The file that the daemon reads.
const CONFIG: &str = "/etc/vmward/vmward.toml";

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    approvals: Approvals,
    grants: Vec<Grant>,
}

#[derive(Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Approvals {
    expire: u32,
    #[serde(alias = "per_grant")]
    per_grant: usize,
    #[serde(alias = "denied_for")]
    denied_for: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Grant {
    name: String,
    #[serde(alias = "approvals_max")]
    approvals_max: Option<usize>,
}

impl Default for Approvals {
    fn default() -> Self {
        let ApprovalConfig {
            ttl_s,
            cap_per_grant,
            denied_memory_s,
            ..
        } = ApprovalConfig::default();
        Self {
            expire: ttl_s,
            per_grant: cap_per_grant,
            denied_for: denied_memory_s,
        }
    }
}

/// What holds for requests for approval: by the file that is named, else by the
/// daemon's, where there is one and the caller may read it.
pub(super) fn approvals(named: Option<&Path>) -> anyhow::Result<ApprovalConfig> {
    let path = named.unwrap_or(Path::new(CONFIG));
    let text = match std::fs::read_to_string(path) {
        Err(error)
            if named.is_none()
                && matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::PermissionDenied
                ) =>
        {
            return Ok(ApprovalConfig::default());
        }
        read => read.with_context(|| format!("Failed to read {}", path.display()))?,
    };
    let File { approvals, grants } =
        toml::from_str(&text).with_context(|| format!("{} is wrong", path.display()))?;
    let caps = grants
        .into_iter()
        .filter_map(|grant| Some((grant.name, grant.approvals_max?)));
    Ok(ApprovalConfig {
        ttl_s: approvals.expire,
        cap_per_grant: approvals.per_grant,
        caps: caps.collect::<BTreeMap<_, _>>(),
        denied_memory_s: approvals.denied_for,
    })
}
