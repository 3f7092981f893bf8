//! A lease: the permission that the kernel holds for one effect on one VM.
//!
//! ```text
//!            first use seen by the kernel
//!   granted ------------------------------> executing
//!    |  |  \                                    |
//!    |  |   \ holder gives it back              | VM ended, or 60 s after the claim
//!    |  |    v                                  v
//!    |  |   released --- VM ended ----------> done      (charged)
//!    |  |      |
//!    |  |      +-- deadline, VM runs --> closed as released (refunded, see below)
//!    |  +--------- deadline, VM runs --> expired            (refunded, see below)
//!    +-- kernel row gone, VM runs -----> lost               (charged)
//! ```
//!
//! A lease for a reset is also done when it is given back after its use: the kernel
//! takes one reset by it, and nothing else.
//! One that the kernel does not take is denied to its caller and undone, its charge
//! and its approval with it: nobody ever had it.
//! One that is given back unused is closed at once where nothing can bring a refund.
//!
//! The kernel decides by its own row; this is the daemon's copy of it. A refund
//! needs all of: the kernel never saw the lease used, the VM's process still
//! runs at the deadline, that is proof for this effect, and the caller did not
//! report that it began. A released lease can no longer be used, but its refund
//! waits for the deadline all the same: a guest that was asked to power off
//! before the release may still be on its way down.

use serde::{Deserialize, Serialize};

use crate::{
    effect::Effect,
    ids::{DecisionId, Process, VmUuid},
};

/// How long a lease stays usable after its first use, in milliseconds: libvirt's
/// destroy sends TERM, waits ten seconds, and sends KILL.
pub const EXECUTING_MS: i64 = 60_000;

/// Where a lease is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseState {
    /// Not used yet.
    Granted,
    /// The kernel saw its first use.
    Executing,
    /// Used, or the VM ended. Stays charged.
    Done,
    /// Nobody used it.
    Expired,
    /// Given back by its holder.
    Released,
    /// The kernel no longer has it and the reason is unknown. Stays charged.
    Lost,
}

impl LeaseState {
    /// The word used on the wire and in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Executing => "executing",
            Self::Done => "done",
            Self::Expired => "expired",
            Self::Released => "released",
            Self::Lost => "lost",
        }
    }

    /// May the holder still use it?
    pub fn is_live(self) -> bool {
        matches!(self, Self::Granted | Self::Executing)
    }
}

/// One lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The decision that granted it.
    pub id: DecisionId,
    /// The one VM that it covers.
    pub vm: VmUuid,
    /// The VM's name at that time, for people.
    pub vm_name: String,
    /// The VM's process: the lease dies with it.
    pub process: Process,
    /// The one effect that it covers.
    pub effect: Effect,
    /// This process and its descendants may use it.
    pub holder: Process,
    /// The boot-time nanosecond at which it lapses: unused, or, once executing,
    /// altogether.
    pub deadline_ns: i64,
    /// Where it is in its life.
    pub state: LeaseState,
    /// Whom it was charged to, such as `uid:0`.
    pub grant: String,
    /// The caller reported that it sent the request.
    #[serde(default)]
    pub begun: bool,
}

/// What the kernel's row for a lease says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelLease {
    /// There, and never used.
    Granted,
    /// There, and used.
    Executing,
    /// Not there.
    Missing,
}
