//! What one rule says about one call, step by step.

use super::{
    ReasonCode,
    govern::{Applied, Call, Origin},
    message,
    opening::next_opening,
    refusal::Refusal,
};
use crate::{
    clock,
    policy::{
        Action, Rule,
        args_schema::{STEPS_MAX, Unfit},
        hours::Hours,
        predicate::Predicate,
    },
};

/// One thing that a rule asks of a call, in the order of judging.
#[derive(Clone, Copy)]
pub(super) enum Ask<'a> {
    /// The action itself.
    Action,
    ArgsSchema,
    DenyIf(&'a Predicate),
    Require(&'a Predicate),
    Hours,
    Reason,
}

/// Everything that a rule asks, limits and approval apart.
pub(super) fn asks(rule: &Rule) -> impl Iterator<Item = Ask<'_>> {
    let action = (rule.action == Action::Deny).then_some(Ask::Action);
    let schema = rule.args_schema.is_some().then_some(Ask::ArgsSchema);
    let hours = (!rule.hours.is_empty()).then_some(Ask::Hours);
    let reason = rule.require_reason.then_some(Ask::Reason);
    action
        .into_iter()
        .chain(schema)
        .chain(rule.deny_if.iter().map(Ask::DenyIf))
        .chain(rule.require.iter().map(Ask::Require))
        .chain(hours)
        .chain(reason)
}

/// Does the rule deny whatever the arguments are?
pub(super) fn judge_action(applied: &Applied<'_>, call: &Call<'_>) -> Result<(), Refusal> {
    match applied.rule {
        Some(rule) if rule.action == Action::Deny => Err(denied_by(rule, applied.origin, call)),
        _ => Ok(()),
    }
}

/// The first thing that the rule asks and the call does not meet.
pub(super) fn judge(applied: &Applied<'_>, call: &Call<'_>) -> Result<(), Refusal> {
    let rules = applied.rule.into_iter();
    for (rule, ask) in rules.flat_map(|rule| asks(rule).map(move |ask| (rule, ask))) {
        meets(rule, ask, applied.origin, call)?;
    }
    Ok(())
}

/// Does the call meet it?
pub(super) fn meets(
    rule: &Rule,
    ask: Ask<'_>,
    origin: Origin,
    call: &Call<'_>,
) -> Result<(), Refusal> {
    match ask {
        Ask::Action => Err(denied_by(rule, origin, call)),
        Ask::ArgsSchema => args_schema(rule, call),
        Ask::DenyIf(predicate) => condition(rule, predicate, false, call),
        Ask::Require(predicate) => condition(rule, predicate, true, call),
        Ask::Hours => hours(rule, call),
        Ask::Reason => reason(rule, call),
    }
}

impl Ask<'_> {
    /// Where it stands, as a JSON Pointer.
    pub(super) fn pointer(self, rule: &Rule) -> String {
        let rule = &rule.pointer;
        match self {
            Self::Action => rule.clone(),
            Self::ArgsSchema => format!("{rule}/args_schema"),
            Self::DenyIf(predicate) | Self::Require(predicate) => predicate.pointer.clone(),
            Self::Hours => format!("{rule}/hours"),
            Self::Reason => format!("{rule}/require_reason"),
        }
    }

    /// As in `args.force neq true`.
    pub(super) fn describe(self, rule: &Rule) -> String {
        match self {
            Self::Action => "the action is deny".to_owned(),
            Self::ArgsSchema => "the arguments satisfy the schema".to_owned(),
            Self::DenyIf(predicate) => format!("not ({})", predicate.describe()),
            Self::Require(predicate) => predicate.describe(),
            Self::Hours => describe_hours(rule),
            Self::Reason => "the caller says why".to_owned(),
        }
    }
}

impl Refusal {
    /// The same, in the words of the policy where it has some.
    fn in_words_of(mut self, words: Option<&String>) -> Self {
        if let Some(words) = words {
            self.message.clone_from(words);
        }
        self
    }
}

fn denied_by(rule: &Rule, origin: Origin, call: &Call<'_>) -> Refusal {
    let tool = &call.request.tool;
    let (reason, message) = match origin {
        Origin::Protected => (
            ReasonCode::VmProtected,
            format!(
                "{} is protected by the policy: {} is denied",
                message::vm_or_none(call.request),
                message::effect_or_tool(call.request)
            ),
        ),
        Origin::Effect => (
            ReasonCode::RuleDenied,
            format!(
                "the policy denies {} of any VM",
                message::effect_or_tool(call.request)
            ),
        ),
        Origin::AllTools => (
            ReasonCode::RuleDenied,
            "the policy denies every tool".to_owned(),
        ),
        Origin::Host | Origin::Tool | Origin::EffectsTool => {
            (ReasonCode::RuleDenied, format!("the policy denies {tool}"))
        }
    };
    Refusal::new(reason, message, &rule.pointer)
        .in_words_of(rule.reason.as_ref().or(rule.on_deny.as_ref()))
}

fn args_schema(rule: &Rule, call: &Call<'_>) -> Result<(), Refusal> {
    let Some(schema) = &rule.args_schema else {
        return Ok(());
    };
    let tool = &call.request.tool;
    let pointer = Ask::ArgsSchema.pointer(rule);
    let refuse = |message| Refusal::new(ReasonCode::BadArguments, message, &pointer);
    match schema.check(call.facts.arguments) {
        Ok(()) => Ok(()),
        Err(Unfit::Mistakes(error)) => {
            let message = format!("the policy does not take these arguments of {tool}: {error}");
            Err(refuse(message).in_words_of(rule.on_deny.as_ref()))
        }
        // The policy's own words are about arguments that were checked.
        Err(Unfit::TooMuch) => Err(refuse(format!(
            "the arguments of {tool} are too many, or nested too deeply, for the policy's schema: \
             checking them could take more than {STEPS_MAX} steps; send fewer"
        ))),
    }
}

fn condition(
    rule: &Rule,
    predicate: &Predicate,
    wanted: bool,
    call: &Call<'_>,
) -> Result<(), Refusal> {
    let tool = &call.request.tool;
    let refuse = |message| Refusal::new(ReasonCode::Condition, message, &predicate.pointer);
    // Everything but the effect is the same in each view.
    let views = if predicate.asks_effect() {
        usize::MAX
    } else {
        1
    };
    let work = call.work(rule.mode);
    let held: Result<Vec<bool>, String> = call
        .views()
        .take(views)
        .map(|facts| predicate.holds(&facts, work))
        .collect();
    let held = match held {
        Ok(held) => held,
        // The policy's own words are about a condition that was judged.
        Err(error) => {
            let asks = predicate.describe();
            return Err(refuse(format!(
                "{tool} is denied, because {asks} cannot be judged: {error}"
            )));
        }
    };
    if held.into_iter().all(|holds| holds == wanted) {
        return Ok(());
    }
    let asks = predicate.describe();
    let message = if wanted {
        format!("{tool} is allowed only where {asks}")
    } else {
        format!("{tool} is denied where {asks}")
    };
    let words = predicate.on_deny.as_ref().or(rule.on_deny.as_ref());
    Err(refuse(message).in_words_of(words))
}

fn hours(rule: &Rule, call: &Call<'_>) -> Result<(), Refusal> {
    let wall_ns = call.now.wall_ns;
    let local = call.request.local.at(wall_ns);
    let is_open = |hours: &Hours| hours.contain(wall_ns, local.offset_s);
    if rule.hours.iter().any(is_open) {
        return Ok(());
    }
    let opens_ns = next_opening(&rule.hours, wall_ns, local);
    let wait_ms = opens_ns.map(|opens_ns| clock::ceil_ms(opens_ns.saturating_sub(wall_ns)));
    let opens = opens_ns.map_or_else(String::new, |opens_ns| {
        format!("; that begins at {}", clock::rfc3339(opens_ns))
    });
    let words = match &rule.on_deny {
        Some(words) => words.clone(),
        None => format!(
            "{} is allowed only {}",
            call.request.tool,
            describe_hours(rule)
        ),
    };
    let pointer = Ask::Hours.pointer(rule);
    let refusal = Refusal::new(
        ReasonCode::OutsideHours,
        format!("{words}{opens}"),
        &pointer,
    );
    Err(Refusal {
        retry_after_ms: wait_ms,
        ..refusal
    })
}

fn describe_hours(rule: &Rule) -> String {
    let hours: Vec<String> = rule.hours.iter().map(Hours::describe).collect();
    hours.join(" or ")
}

fn reason(rule: &Rule, call: &Call<'_>) -> Result<(), Refusal> {
    let given = call.request.reason.as_deref().unwrap_or_default();
    // What nobody can see is no reason, and there are many ways to write nothing.
    if given.chars().any(char::is_alphanumeric) {
        return Ok(());
    }
    let message = format!(
        "{} needs a reason: make the call again and say why",
        call.request.tool
    );
    let pointer = Ask::Reason.pointer(rule);
    let refusal = Refusal::new(ReasonCode::ReasonRequired, message, &pointer);
    Err(refusal.in_words_of(rule.on_deny.as_ref()))
}
