//! A denial before it has a number.

use super::{LimitRow, ReasonCode};

/// What a denial says.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) reason: ReasonCode,
    pub(super) message: String,
    pub(super) rule: String,
    pub(super) limits: Vec<LimitRow>,
    pub(super) retry_after_ms: Option<u64>,
}

impl Refusal {
    pub(super) fn new(reason: ReasonCode, message: String, rule: &str) -> Self {
        Self {
            reason,
            message,
            rule: rule.to_owned(),
            limits: Vec::new(),
            retry_after_ms: None,
        }
    }

    pub(super) fn unnamed(tool: &str) -> Self {
        let message = format!("no rule names {tool:?} and the policy denies what it does not name");
        Self::new(ReasonCode::DefaultDeny, message, "/default")
    }

    pub(super) fn hidden(tool: &str) -> Self {
        let message = format!("the policy hides {tool:?} from agents: it may not be called");
        Self::new(ReasonCode::Hidden, message, "/hide")
    }

    pub(super) fn unmapped(tool: &str, why: &str) -> Self {
        let message = format!(
            "{tool:?} could stop a VM ({why}) and the effect map does not know it; an entry in \
             \"effect_map\" that says what it does lets its rule decide"
        );
        Self::new(ReasonCode::UnmappedTool, message, "/effect_map")
    }
}
