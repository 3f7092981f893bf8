//! `explain`: what each rule says about a call. Takes the parameters of
//! `authorize`, charges nothing and opens no request for approval.

use serde::{Deserialize, Serialize};

use super::{Decision, Effect, LimitState, ReasonCode, ShadowVerdict};

/// Result of `explain`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExplainResult {
    /// What `authorize` would say now.
    pub decision: Decision,
    /// Why, as a code.
    pub reason_code: ReasonCode,
    /// Why, as a sentence.
    pub message: String,
    /// The rule that decides, as a JSON Pointer into the policy.
    pub rule: String,
    /// The caller's grant.
    pub grant: String,
    /// What the call would do; absent when it stops nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// The entry of the effect map that says so, or why none does.
    pub mapped_by: String,
    /// The VM, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<String>,
    /// Every rule that applies, in the order in which they are judged.
    pub rules: Vec<ExplainedRule>,
    /// What the rules in shadow mode would have said, where it is something
    /// else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowVerdict>,
    /// SHA-256 of the policy in force.
    pub policy_hash: String,
}

/// What one rule says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedRule {
    /// The rule, as a JSON Pointer into the policy.
    pub rule: String,
    /// Why it applies, such as `tool` or `effect`.
    pub applies: String,
    /// True when its verdict is only recorded.
    pub shadow: bool,
    /// What it says.
    pub decision: Decision,
    /// Each thing that it looked at, in order.
    pub steps: Vec<ExplainedStep>,
    /// Each limit of it.
    pub limits: Vec<LimitState>,
}

/// One thing that a rule looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedStep {
    /// Where it stands, as a JSON Pointer into the policy.
    pub at: String,
    /// What it asks for, such as `args.force neq true`.
    pub asks: String,
    /// True when the call passes it.
    pub passes: bool,
    /// What was found instead, where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}
