//! Taking protection away and putting it back. Admin socket only.

use serde::{Deserialize, Serialize};

use super::{VmRef, approval::Person};

/// Parameters of `disarm`: one of `vm` and `all`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisarmParams {
    /// The VM, by name or UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<String>,
    /// The whole host.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Why, for the audit.
    pub reason: String,
    /// For how long, in milliseconds; until it is armed, or the VM's process or
    /// the boot ends, where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
}

/// Parameters of `arm`: one of `vm` and `all`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmParams {
    /// The VM, by name or UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<String>,
    /// The whole host, and every VM.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Why, for the audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Protection that was taken away. The result of `disarm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disarmed {
    /// Of which VM; of the whole host where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<VmRef>,
    /// The VM's process: a VM that starts again is protected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Who did it.
    pub by: Person,
    /// By which process.
    pub by_pid: u32,
    /// The process's name.
    pub by_comm: String,
    /// Why.
    pub reason: String,
    /// Since when, RFC 3339, UTC.
    pub since: String,
    /// Milliseconds until protection comes back by itself, where a time was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_in_ms: Option<u64>,
}

/// Result of `arm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArmResult {
    /// What was disarmed and is protected from now on; empty where nothing was.
    pub armed: Vec<Disarmed>,
    /// The host as a whole, where it is still disarmed, and every VM with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Disarmed>,
}
