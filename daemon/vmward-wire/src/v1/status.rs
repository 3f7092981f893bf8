//! `status`: the daemon's whole state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Lease, LimitState, VmRef, disarm::Disarmed};

/// Parameters of `status`: there are none.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusParams {}

/// Result of `status`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StatusResult {
    /// The daemon's product version.
    pub version: String,
    /// The daemon's process id.
    pub pid: u32,
    /// What happens to a stop without a lease.
    pub mode: Mode,
    /// Seconds since the daemon became ready.
    pub ready_s: u64,
    /// The kernel side.
    pub kernel: KernelStatus,
    /// The policy in force.
    pub policy: PolicyStatus,
    /// The connection to libvirt.
    pub libvirt: LibvirtStatus,
    /// Every running VM.
    pub vms: Vec<VmStatus>,
    /// Every live lease that the caller is shown.
    pub leases: Vec<LeaseStatus>,
    /// Every counter that holds a call and that the caller is shown.
    pub limits: Vec<LimitState>,
    /// How many of those are left out, since there are more than an answer holds: the
    /// emptiest. Absent where none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits_left_out: Option<u64>,
    /// Requests for approval that wait for a person, among those that the caller
    /// is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals_waiting: Option<u64>,
    /// How much there is that the caller is not shown; `None` where it is shown
    /// everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub others: Option<OthersStatus>,
    /// The host rules that the kernel honours now; `None` where the kernel side
    /// is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_rules: Option<Vec<HostRuleStatus>>,
    /// Protection that a person took away; absent where nobody has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disarmed: Vec<Disarmed>,
    /// Counters of everything that was refused, dropped or degraded.
    pub counters: BTreeMap<String, u64>,
    /// What does not work as it should, each as a sentence. Empty is good.
    pub degraded: Vec<String>,
}

/// What is other grants' business: how much of it there is, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OthersStatus {
    /// Live leases.
    pub leases: u64,
    /// Counters that hold a call, those of VMs among them.
    pub limits: u64,
    /// Requests for approval that wait for a person.
    pub approvals_waiting: u64,
}

/// What happens to a stop without a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Refused.
    Enforce,
    /// Let through, recorded as would-have-refused.
    Observe,
    /// The kernel side is off; only the policy socket answers.
    PolicyOnly,
}

/// The kernel side.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KernelStatus {
    /// `uname -r`.
    pub release: String,
    /// True when every hook refused the canary's attacker on this kernel.
    pub ready: bool,
    /// Each program.
    pub hooks: Vec<HookStatus>,
    /// Events made by the kernel so far.
    pub events: u64,
    /// Events that the full ring buffer could not take.
    pub events_lost: u64,
}

/// One BPF program.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HookStatus {
    /// The hook's name.
    pub name: String,
    /// `wall` or `witness`.
    pub kind: String,
    /// Attached now.
    pub attached: bool,
    /// `passed`, `failed` or `not-run`.
    pub self_test: String,
    /// What the self-test saw.
    pub detail: String,
    /// How often it ran, where the kernel counts (`kernel.bpf_stats_enabled`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<u64>,
    /// How long it ran on average, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_ns: Option<u64>,
}

/// The policy in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PolicyStatus {
    /// The file.
    pub path: String,
    /// SHA-256 of its bytes.
    pub hash: String,
    /// RFC 3339 time of loading.
    pub loaded_at: String,
    /// Rules whose verdict is only recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow_rules: Option<u64>,
    /// What is right and still worth a second look: `vmward policy check`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lints: Option<u64>,
    /// Why the newest file was not taken, where that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<String>,
}

/// The connection to libvirt.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LibvirtStatus {
    /// The URI.
    pub uri: String,
    /// Connected now.
    pub connected: bool,
    /// Why not, where that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The process that asks libvirt for the daemon, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory_pid: Option<u32>,
}

/// One running VM.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VmStatus {
    /// Which.
    #[serde(flatten)]
    pub vm: VmRef,
    /// The QEMU process.
    pub pid: u32,
    /// True when the kernel refuses a stop without lease.
    pub protected: bool,
    /// Why it is not protected, or what is special.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Events about this VM so far.
    pub events: u64,
}

/// One live lease.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LeaseStatus {
    /// The lease.
    #[serde(flatten)]
    pub lease: Lease,
    /// `granted` or `executing`.
    pub state: String,
    /// The grant that it was charged to.
    pub grant: String,
}

/// A host rule that the kernel honours.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostRuleStatus {
    /// Its name in the policy.
    pub name: String,
    /// Whom it names, for people.
    pub who: String,
    /// How many users, programs and cgroups of those are there now.
    pub actors: u64,
    /// Signals that it let through since the daemon started.
    pub uses: u64,
    /// How many more it lets through now; `None` where nothing limits it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<u64>,
}
