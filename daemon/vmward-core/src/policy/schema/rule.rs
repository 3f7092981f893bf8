//! A rule and what it is made of.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::Value;

use crate::policy::{
    parse::{COUNTER_CHARS_MAX, LIMITS_MAX, TEXT_CHARS_MAX},
    rule::{APPROVAL_TIMEOUT_S_MAX, LIMIT_MAX, WINDOW_SECONDS_MAX},
};

/// What must hold for a call. An empty rule lets every call pass.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Rule {
    #[schemars(flatten)]
    body: RuleBody,
}

#[derive(JsonSchema)]
pub(super) struct RuleBody {
    /// For readers of the policy.
    description: Option<Text>,
    /// What happens to a call that passes the rest of the rule.
    action: Option<Action>,
    mode: Option<Mode>,
    /// What the agent is told when the action denies or waits for approval.
    reason: Option<Text>,
    /// What the agent is told when a condition or limit denies.
    on_deny: Option<Text>,
    /// All must hold.
    require: Option<Vec<Condition>>,
    /// None may hold.
    deny_if: Option<Vec<Condition>>,
    /// A JSON Schema that the arguments must satisfy.
    args_schema: Option<BTreeMap<String, Value>>,
    /// The call must fall into one of them.
    #[schemars(length(min = 1))]
    hours: Option<Vec<Hours>>,
    /// The caller must say why.
    require_reason: Option<bool>,
    /// All must have room.
    #[schemars(length(max = LIMITS_MAX))]
    limits: Option<Vec<Limit>>,
    rate_limit: Option<RateLimit>,
    /// Seconds after which a request for approval lapses.
    #[schemars(range(min = 1, max = APPROVAL_TIMEOUT_S_MAX))]
    approval_timeout: Option<u32>,
}

/// Text for people: something, and not too long.
#[derive(JsonSchema)]
pub(super) struct Text(#[schemars(length(max = TEXT_CHARS_MAX), regex(pattern = r"\S"))] String);

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(super) enum Action {
    Allow,
    Deny,
    RequireApproval,
}

/// `shadow`: the verdict is recorded and changes nothing.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(super) enum Mode {
    Enforce,
    Shadow,
}

/// A place in the call, an operator, a value.
#[derive(JsonSchema)]
#[schemars(
    deny_unknown_fields,
    extend("anyOf" = [{"required": ["value"]}, {"properties": {"op": {"const": "exists"}}}])
)]
pub(super) struct Condition {
    /// Such as `args.force`, or `/args/a.b` for names with dots. Begins with
    /// args, vm, caller, tool, server or effect.
    path: String,
    op: Op,
    /// Needed by every operator but `exists`.
    value: Option<Value>,
    on_deny: Option<Text>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(super) enum Op {
    Eq,
    Neq,
    In,
    NotIn,
    Lt,
    Lte,
    Gt,
    Gte,
    Regex,
    Contains,
    Exists,
}

/// Some hours of some days. An end that is not later than the beginning is on
/// the next day.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Hours {
    /// Every day, where it is missing.
    days: Option<Days>,
    #[schemars(regex(pattern = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    from: String,
    #[schemars(regex(pattern = r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"))]
    to: String,
    /// Universal time, where it is missing.
    #[schemars(regex(pattern = r"^(utc|local|[+-](0[0-9]|1[0-3]):[0-5][0-9]|[+-]14:00)$"))]
    zone: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Days {
    Set(DaySet),
    Days(#[schemars(length(min = 1))] Vec<Day>),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(super) enum DaySet {
    Weekdays,
    Weekends,
    Daily,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(super) enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// At most `max` calls in any window of that length.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Limit {
    /// Rules that name the same counter share it.
    #[schemars(length(max = COUNTER_CHARS_MAX), regex(pattern = r"\S"))]
    counter: String,
    window: Window,
    #[schemars(range(min = 1, max = LIMIT_MAX))]
    max: u32,
    scope: Scope,
    /// How much one call counts: 1, where it is missing.
    #[schemars(range(min = 1, max = LIMIT_MAX))]
    increment: Option<u32>,
    /// The place of the number that one call counts, such as `args.count`.
    increment_from: Option<String>,
}

/// A limit in short: one counter of the rule's own.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct RateLimit {
    #[schemars(range(min = 1, max = LIMIT_MAX))]
    max: u32,
    window: Window,
    /// `grant`, where it is missing.
    scope: Option<Scope>,
}

/// A word, or a number of seconds.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Window {
    Word(WindowWord),
    Seconds(#[schemars(range(min = 1, max = WINDOW_SECONDS_MAX))] u32),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(super) enum WindowWord {
    Second,
    Minute,
    Hour,
    Day,
}

/// Who has a counter of their own.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(super) enum Scope {
    Grant,
    Session,
    Agent,
    Uid,
    Vm,
    Host,
    Tool,
}
