//! What is said of effects, of VMs and of the host's own services.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::rule::{Condition, Limit, Mode, Rule, RuleBody, Text};
use crate::policy::parse::{LIMITS_MAX, TEXT_CHARS_MAX, UID_MAX};

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(super) enum Effect {
    Stop,
    ForceStop,
    Reboot,
    Reset,
    Pause,
    Save,
    Migrate,
    Delete,
    HostReboot,
}

/// An effect, or that the tool stops nothing.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(super) enum MappedEffect {
    Stop,
    ForceStop,
    Reboot,
    Reset,
    Pause,
    Save,
    Migrate,
    Delete,
    HostReboot,
    None,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Effects {
    All(All),
    One(Effect),
    Some(#[schemars(length(min = 1))] Vec<Effect>),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(super) enum All {
    All,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct EffectRules {
    stop: Option<Rule>,
    force_stop: Option<Rule>,
    reboot: Option<Rule>,
    reset: Option<Rule>,
    pause: Option<Rule>,
    save: Option<Rule>,
    migrate: Option<Rule>,
    delete: Option<Rule>,
    host_reboot: Option<Rule>,
}

/// VMs by all that is given; at least one of the keys.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("minProperties" = 1))]
pub(super) struct Selector {
    #[schemars(flatten)]
    body: SelectorBody,
}

#[derive(JsonSchema)]
pub(super) struct SelectorBody {
    #[schemars(regex(pattern = r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"))]
    uuid: Option<String>,
    /// A pattern: `*` stands for any text, `?` for one character.
    name: Option<Text>,
    /// Labels of the VM's metadata.
    #[schemars(extend("minProperties" = 1))]
    metadata: Option<BTreeMap<String, String>>,
}

/// A rule for some VMs. Its action is `deny`, where it is missing.
#[derive(JsonSchema)]
#[schemars(
    deny_unknown_fields,
    extend("anyOf" = [{"required": ["uuid"]}, {"required": ["name"]}, {"required": ["metadata"]}])
)]
pub(super) struct Protected {
    #[schemars(flatten)]
    vms: SelectorBody,
    /// All, where it is missing.
    effects: Option<Effects>,
    #[schemars(flatten)]
    rule: RuleBody,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct MapEntry {
    /// The MCP server's name; any, where it is missing.
    server: Option<Text>,
    /// The tool's exact name.
    tool: Text,
    /// Only for calls for which all of these hold.
    when: Option<Vec<Condition>>,
    effect: MappedEffect,
    /// Where the VM's name or UUID stands, such as `args.name`.
    vm: Option<OneOrMore<String>>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct HostRule {
    /// `false` switches a rule off.
    enabled: Option<bool>,
    /// Full names of systemd units.
    unit: Option<OneOrMore<Unit>>,
    uid: Option<OneOrMore<Uid>>,
    /// Whole paths of programs.
    exe: Option<OneOrMore<Exe>>,
    effects: Option<Effects>,
    /// Every VM, where it is missing.
    #[schemars(length(min = 1))]
    vms: Option<Vec<Selector>>,
    #[schemars(length(max = LIMITS_MAX))]
    limits: Option<Vec<Limit>>,
    mode: Option<Mode>,
    /// What it is for.
    reason: Option<Text>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum OneOrMore<T> {
    One(T),
    More(#[schemars(length(min = 1))] Vec<T>),
}

#[derive(JsonSchema)]
pub(super) struct Unit(#[schemars(length(max = TEXT_CHARS_MAX), regex(pattern = r"\."))] String);

#[derive(JsonSchema)]
pub(super) struct Uid(#[schemars(range(min = 1, max = UID_MAX))] u32);

#[derive(JsonSchema)]
pub(super) struct Exe(#[schemars(length(max = TEXT_CHARS_MAX), regex(pattern = "^/"))] String);
