//! Why, rule by rule. Decides as [`Engine::authorize`] does and changes nothing.

use serde::{Deserialize, Serialize};

use super::{
    Engine, LimitRow, Origin, ReasonCode, Request, Shadow, Target, Via,
    charge::of_rule,
    govern::{Applied, Call, govern, uuid_text},
    judge::{asks, meets},
    message,
    weigh::{Approved, asks_for_approval},
};
use crate::{
    audit::Verdict,
    clock::Now,
    effect::Effect,
    policy::{RuleMode, map::Mapped},
};

/// What the policy says about a call, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// What [`Engine::authorize`] would say now.
    pub decision: Verdict,
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
    /// Every rule that applies, in the order in which they are judged. They
    /// decide together: all that are not in shadow mode must let the call pass.
    pub rules: Vec<ExplainedRule>,
    /// What the rules in shadow mode would have said, where it is something
    /// else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadow>,
    /// Milliseconds after which asking again makes sense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// What one rule says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedRule {
    /// The rule, as a JSON Pointer into the policy.
    pub rule: String,
    /// Why it applies.
    pub applies: Origin,
    /// True when its verdict is only recorded.
    pub shadow: bool,
    /// What it says by itself.
    pub decision: Verdict,
    /// Each thing that it asks for, in order.
    pub steps: Vec<ExplainedStep>,
    /// Each limit of it, as it stands before the call.
    pub limits: Vec<LimitRow>,
}

/// One thing that a rule asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedStep {
    /// Where it stands, as a JSON Pointer into the policy.
    pub at: String,
    /// What it asks for, such as `args.force neq true`.
    pub asks: String,
    /// True when the call passes it.
    pub passes: bool,
    /// What the caller would be told, where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

impl Engine {
    /// What [`Engine::authorize`] would say now, and what each rule says. Charges
    /// nothing and opens no request for approval.
    pub fn explain(&self, request: &Request, now: Now) -> Explanation {
        let uuid = uuid_text(request);
        let call = Call::new(request, uuid.as_deref(), now);
        let governing = govern(&self.policy, &call);
        let verdict = self.weigh(&governing, &call).and_then(|weighed| {
            match weighed.approval {
                Approved::Waits(_) | Approved::MustAsk(..) => {}
                Approved::NotNeeded | Approved::Given(_) => self.room(&weighed.charged, &call)?,
            }
            Ok(weighed.approval)
        });
        let (decision, reason_code, message, rule, retry_after_ms) = match verdict {
            Ok(Approved::NotNeeded | Approved::Given(_)) => (
                Verdict::Allow,
                ReasonCode::Allowed,
                format!("{} is allowed", message::call(request)),
                governing.pointer.to_owned(),
                None,
            ),
            Ok(Approved::Waits(approval)) => (
                Verdict::Pending,
                ReasonCode::ApprovalRequired,
                format!(
                    "{} waits for a person's approval: request {}",
                    message::call(request),
                    approval.id
                ),
                approval.rule,
                None,
            ),
            Ok(Approved::MustAsk(rule, _)) => (
                Verdict::Pending,
                ReasonCode::ApprovalRequired,
                format!("{} needs a person's approval", message::call(request)),
                rule.pointer.clone(),
                None,
            ),
            Err(refusal) => (
                Verdict::Deny,
                refusal.reason,
                refusal.message,
                refusal.rule,
                refusal.retry_after_ms,
            ),
        };
        let shadow = self.shadow(&governing, &call);
        let allowed = decision == Verdict::Allow;
        let shadow = shadow.filter(|shadow| !(allowed && shadow.lets_pass()));
        let rules = governing.applied.iter();
        // Each rule is asked again, and what that takes was not taken from the verdict.
        let again = Call::new(request, uuid.as_deref(), now);
        Explanation {
            decision,
            reason_code,
            message,
            rule,
            grant: request.caller.grant.clone(),
            effect: request.effect,
            mapped_by: mapped_by(request),
            vm: match &request.target {
                Target::None => None,
                Target::Vm(_) | Target::Unchecked(_) | Target::Unknown(_) => {
                    Some(message::vm_or_none(request).to_owned())
                }
            },
            rules: rules
                .map(|applied| self.explained(applied, &again))
                .collect(),
            shadow,
            retry_after_ms,
        }
    }

    fn explained(&self, applied: &Applied<'_>, call: &Call<'_>) -> ExplainedRule {
        let mut steps: Vec<ExplainedStep> = Vec::new();
        if let Some(rule) = applied.rule {
            for ask in asks(rule) {
                let found = meets(rule, ask, applied.origin, call).err();
                steps.push(ExplainedStep {
                    at: ask.pointer(rule),
                    asks: ask.describe(rule),
                    passes: found.is_none(),
                    found: found.map(|refusal| refusal.message),
                });
            }
        }
        let mut limits = Vec::new();
        for (limit, charged) in applied.limits.iter().zip(of_rule(applied, call)) {
            let room = charged.and_then(|charged| {
                let one = std::slice::from_ref(&charged);
                limits.extend(self.rows(one, call.now));
                self.room(one, call)
            });
            steps.push(ExplainedStep {
                at: limit.pointer.clone(),
                asks: limit.describe(),
                passes: room.is_ok(),
                found: room.err().map(|refusal| refusal.message),
            });
        }
        let decision = if steps.iter().any(|step| !step.passes) {
            Verdict::Deny
        } else if asks_for_approval(applied).is_some() {
            Verdict::Pending
        } else {
            Verdict::Allow
        };
        ExplainedRule {
            rule: applied.pointer.to_owned(),
            applies: applied.origin,
            shadow: applied.mode == RuleMode::Shadow,
            decision,
            steps,
            limits,
        }
    }
}

fn mapped_by(request: &Request) -> String {
    match (request.via, &request.mapped) {
        (Via::Effect, _) => "the caller names the effect itself".to_owned(),
        (Via::Tool, Mapped::Known { pointer, .. }) => pointer.to_string(),
        (Via::Tool, Mapped::Suspect { why, .. }) => {
            format!("no entry; it could stop a VM: {why}")
        }
        (Via::Tool, Mapped::Harmless { .. }) => {
            "no entry, and nothing speaks for a stop".to_owned()
        }
    }
}
