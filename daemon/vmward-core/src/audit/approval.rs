//! What the audit log says about requests for approval.

use serde::{Deserialize, Serialize};

use super::{AuditBody, VmRef};
use crate::{
    approval::{Approval, ApprovalState, Person},
    effect::Effect,
    ids::DecisionId,
};

/// What happened to a request for approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApprovalEvent {
    /// A call asked for it.
    Opened,
    /// A person said yes.
    Approved,
    /// A person said no.
    Denied,
    /// The call came again and was allowed.
    Used,
    /// Its time was over, or the policy changed.
    Expired,
}

impl ApprovalEvent {
    /// Later in a request's life is more. Records of one round are not in the order
    /// of its steps, and no request goes back.
    pub fn stage(self) -> u8 {
        match self {
            Self::Opened => 0,
            Self::Approved => 1,
            Self::Denied | Self::Used => 2,
            Self::Expired => 3,
        }
    }
}

impl From<ApprovalState> for ApprovalEvent {
    fn from(state: ApprovalState) -> Self {
        match state {
            ApprovalState::Pending => Self::Opened,
            ApprovalState::Approved => Self::Approved,
            ApprovalState::Denied => Self::Denied,
            ApprovalState::Used => Self::Used,
            ApprovalState::Expired => Self::Expired,
        }
    }
}

/// A request for approval was opened, or changed its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalRecord {
    /// The request: the decision that opened it.
    pub approval: DecisionId,
    /// What happened to it.
    pub event: ApprovalEvent,
    /// The caller's grant.
    pub grant: String,
    /// Who asked first.
    pub requester: Person,
    /// Who else asked until now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_asked: Vec<Person>,
    /// The tool.
    pub tool: String,
    /// What it would do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// To which VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<VmRef>,
    /// SHA-256 of the arguments in canonical form.
    pub args_digest: String,
    /// The rule that asks for approval, as a JSON Pointer into the policy.
    pub rule: String,
    /// The decision that used it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionId>,
    /// Who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<Person>,
    /// What the one who decided had to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// True when a crash kept the record from being written and the journal gave it
    /// back: the record's own time is that of the recovery.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recovered: bool,
}

impl AuditBody {
    /// A request for approval is in this state now. `decision`: the one that
    /// used it.
    pub fn approval(approval: &Approval, decision: Option<DecisionId>) -> Self {
        let binding = &approval.binding;
        Self::Approval(Box::new(ApprovalRecord {
            approval: approval.id,
            event: approval.state.into(),
            grant: binding.grant.clone(),
            requester: approval.requester.clone(),
            also_asked: approval.also_asked.clone(),
            tool: binding.tool.clone(),
            effect: binding.effect,
            vm: approval.vm_name.clone().map(|name| VmRef {
                uuid: binding.vm,
                name,
            }),
            args_digest: binding.args_digest.clone(),
            rule: approval.rule.clone(),
            decision,
            decided_by: approval.decided_by.clone(),
            note: approval.note.clone(),
            recovered: false,
        }))
    }
}
