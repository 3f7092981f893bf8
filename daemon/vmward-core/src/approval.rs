//! Approvals: a person's yes to one call, and to no other.
//!
//! ```text
//!   pending --- approve ---> approved --- the same call again ---> used
//!     |   \                     |
//!     |    \-- deny --> denied  +-- deadline --> expired
//!     +-- deadline --> expired  +-- deny --> denied
//! ```
//!
//! A yes that is not used yet can be taken back by a no; a no is the last word.
//! The deadline is set when the request is opened; a yes does not move it, and a
//! no sets the time until which it is remembered. A request of a former policy
//! lapses like one whose time is over, and says so in its note; a no outlives it.
//!
//! An approval is bound to everything that was shown to the approver: caller, the
//! agent that it names, tool and server, effect, the VM and its very process, the
//! arguments in canonical form, and the policy. Whatever of it changes, the call is
//! another call. It is used once, by a call that passes every rule again.
//!
//! Everybody who makes the call while it waits asks for it, and none of them may
//! say yes; nor may who said yes use it. A grant may have several users, and two
//! of them must not come to an agreement that no third person has seen.

mod store;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
pub use store::{APPROVALS_MAX, Approvals, OpenError, PersonsVerdict};
use thiserror::Error;

use crate::{
    clock::Now,
    effect::Effect,
    ids::{DecisionId, Process, VmUuid},
};

/// What an approval is for. Two calls are the same call iff these are equal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The caller's grant.
    pub grant: String,
    /// The agent on whose behalf, as it names itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The tool.
    pub tool: String,
    /// The MCP server that offers it: the same name elsewhere is another tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// The VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<VmUuid>,
    /// What the caller calls the VM, where no hypervisor knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_vm: Option<String>,
    /// The VM's process: after a restart of the VM it is another call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// SHA-256 of the arguments in canonical form (RFC 8785).
    pub args_digest: String,
    /// SHA-256 of the policy.
    pub policy_hash: String,
}

/// A person or a service, as the kernel vouches for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The user that the process runs as.
    pub uid: u32,
    /// The user who logged in, whatever user it became later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loginuid: Option<u32>,
}

impl Person {
    /// Is it certain that these are two people? The login counts where both
    /// have one, because `sudo` changes the user and not the person. A service
    /// has none: it is taken for its user's.
    pub fn differs_from(&self, other: &Self) -> bool {
        let login = |person: &Self| person.loginuid.unwrap_or(person.uid);
        let both = self.loginuid.is_some() && other.loginuid.is_some();
        login(self) != login(other) && (both || self.uid != other.uid)
    }
}

/// Most people who may ask for one approval: each is written down.
pub const ASKERS_MAX: usize = 16;

/// Where an approval is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalState {
    /// Nobody has decided.
    Pending,
    /// Somebody said yes; the call has not come again.
    Approved,
    /// Somebody said no.
    Denied,
    /// The call came again and was allowed.
    Used,
    /// Nobody decided, or nobody used it, in time.
    Expired,
}

impl ApprovalState {
    /// The word used on the wire and in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Used => "used",
            Self::Expired => "expired",
        }
    }
}

/// One request for approval, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The decision that asked for it.
    pub id: DecisionId,
    /// What it is for.
    pub binding: Binding,
    /// Where it is in its life.
    pub state: ApprovalState,
    /// Who asked first.
    pub requester: Person,
    /// Who else made the same call while it waited; with the first at most
    /// [`ASKERS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_asked: Vec<Person>,
    /// The VM's name at that time, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm_name: Option<String>,
    /// The arguments in canonical form, cut where they are long.
    pub arguments: String,
    /// Why the caller asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The agent on whose behalf, as it names itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The rule that asks for it, as a JSON Pointer.
    pub rule: String,
    /// When it was opened.
    pub opened: Now,
    /// When it lapses, in boot-time nanoseconds: it can no longer be decided or
    /// used, and a no is forgotten.
    pub deadline_ns: i64,
    /// Who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<Person>,
    /// What the one who decided had to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Approval {
    /// May it still come to something: a decision, a use, or a remembered no?
    pub fn is_open(&self) -> bool {
        matches!(
            self.state,
            ApprovalState::Pending | ApprovalState::Approved | ApprovalState::Denied
        )
    }

    /// Everybody who asks, the first one first.
    pub fn askers(&self) -> impl Iterator<Item = &Person> {
        std::iter::once(&self.requester).chain(&self.also_asked)
    }

    /// Has this very person asked, or is there room to write another one down?
    pub fn may_be_asked_by(&self, person: &Person) -> bool {
        self.askers().count() < ASKERS_MAX || self.askers().any(|asker| asker == person)
    }

    /// May this person use the yes? Not who gave it, nor anyone where it is not
    /// known who did.
    pub fn may_be_used_by(&self, person: &Person) -> bool {
        let by = self.decided_by.as_ref();
        by.is_some_and(|by| by.differs_from(person))
    }

    /// The binding, the policy apart, and the agent: it is a name that the caller
    /// picks, and must not get it past what a person has denied.
    fn is_for_call(&self, binding: &Binding) -> bool {
        let own = &self.binding;
        own.args_digest == binding.args_digest
            && own.grant == binding.grant
            && own.tool == binding.tool
            && own.server == binding.server
            && own.effect == binding.effect
            && own.vm == binding.vm
            && own.unknown_vm == binding.unknown_vm
            && own.process == binding.process
    }
}

/// What holds for all requests for approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalConfig {
    /// Seconds after which a request lapses, where its rule does not say.
    pub ttl_s: u32,
    /// Most requests of one grant that wait at a time.
    pub cap_per_grant: usize,
    /// The same for the grants that have a number of their own.
    pub caps: BTreeMap<String, usize>,
    /// Seconds for which a no answers the same call again.
    pub denied_memory_s: u32,
}

impl Default for ApprovalConfig {
    fn default() -> Self {
        Self {
            ttl_s: 900,
            cap_per_grant: 5,
            caps: BTreeMap::new(),
            denied_memory_s: 900,
        }
    }
}

impl ApprovalConfig {
    /// Most requests of this grant that wait at a time.
    pub fn cap_of(&self, grant: &str) -> usize {
        self.caps.get(grant).copied().unwrap_or(self.cap_per_grant)
    }
}

/// Why a request for approval is not decided.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ApprovalError {
    /// No such request, or too long ago.
    #[error(
        "there is no request {0} for approval, or it lapsed and is forgotten; `vmward approvals \
         list` shows those that wait"
    )]
    Unknown(DecisionId),
    /// Somebody was faster.
    #[error("request {id} is {} already; a request is decided once", state.name())]
    NotPending {
        /// Which.
        id: DecisionId,
        /// Where it is in its life.
        state: ApprovalState,
    },
    /// Who asks for it may not approve.
    #[error(
        "request {id} comes from user {uid}, and it is not certain that you are somebody else; \
         it takes another person, logged in under another account"
    )]
    OwnRequest {
        /// Which.
        id: DecisionId,
        /// The user of the one who asks and may be the same person.
        uid: u32,
    },
    /// Its time is over.
    #[error(
        "request {0} has lapsed: its time is over, or the policy has changed since; the call must \
         be made again"
    )]
    Expired(DecisionId),
}

#[cfg(test)]
mod tests;
