//! Which rules apply to a call.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Request, Target, Via, refusal::Refusal};
use crate::{
    clock::Now,
    effect::Effect,
    ids::VmUuid,
    policy::{
        LimitRule, Policy, Rule, RuleMode,
        facts::{Facts, VmFacts},
        host::{HostActor, HostRule},
        map::Mapped,
        predicate::Work,
    },
};

/// The VM of a call that names one which no hypervisor knows has no labels.
static NO_LABELS: BTreeMap<String, String> = BTreeMap::new();

/// One call, at one instant.
pub(super) struct Call<'a> {
    pub(super) request: &'a Request,
    pub(super) facts: Facts<'a>,
    pub(super) now: Now,
    /// For the patterns of the rules that decide.
    enforced: Work,
    /// The same for those in shadow mode: what is only recorded takes nothing away.
    shadowed: Work,
}

/// Why a rule applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A host rule names the caller.
    Host,
    /// It protects the VM.
    Protected,
    /// It is the tool's own.
    Tool,
    /// It is that of the tool which stands for the effect, such as `vm_stop`.
    EffectsTool,
    /// It is the effect's.
    Effect,
    /// It is for every tool.
    AllTools,
}

/// A rule that applies.
pub(super) struct Applied<'a> {
    pub(super) origin: Origin,
    pub(super) pointer: &'a str,
    pub(super) mode: RuleMode,
    /// All that the rule says; `None` where only its limits are meant.
    pub(super) rule: Option<&'a Rule>,
    pub(super) limits: &'a [LimitRule],
    /// What the agent is told when a limit denies.
    pub(super) on_deny: Option<&'a str>,
}

/// All that governs a call.
pub(super) struct Governing<'a> {
    /// Where an allow points.
    pub(super) pointer: &'a str,
    /// In the order in which they are judged.
    pub(super) applied: Vec<Applied<'a>>,
    /// What the policy says before any rule is asked: the tool is hidden, could
    /// stop a VM unknown to the effect map, or is named by no rule.
    pub(super) base: Option<Refusal>,
    /// A rule in shadow mode that would let the call pass `base`.
    pub(super) lifts: Option<&'a str>,
}

impl<'a> Call<'a> {
    /// `uuid`: that of the call's VM, as text.
    pub(super) fn new(request: &'a Request, uuid: Option<&'a str>, now: Now) -> Self {
        let vm = match &request.target {
            Target::None => None,
            Target::Unknown(name) | Target::Unchecked(name) => Some(VmFacts {
                uuid,
                name,
                labels: &NO_LABELS,
            }),
            Target::Vm(vm) => Some(VmFacts {
                uuid,
                name: &vm.name,
                labels: &vm.labels,
            }),
        };
        let facts = Facts {
            tool: &request.tool,
            server: request.server.as_deref(),
            effect: request.effect,
            arguments: request.arguments.map(),
            vm,
            caller: request.caller.facts(),
        };
        Self {
            request,
            facts,
            now,
            enforced: Work::default(),
            shadowed: Work::default(),
        }
    }

    /// The work that the patterns of rules in this mode share.
    pub(super) fn work(&self, mode: RuleMode) -> &Work {
        match mode {
            RuleMode::Enforce => &self.enforced,
            RuleMode::Shadow => &self.shadowed,
        }
    }

    /// The call as conditions see it: once for each of its effects, because a
    /// claim must not hide the true one.
    pub(super) fn views(&self) -> impl Iterator<Item = Facts<'a>> {
        let (facts, claimed) = (self.facts, self.request.effect);
        let mapped = mapped_effect(self.request).filter(|effect| Some(*effect) != claimed);
        let truly = mapped.map(|effect| Facts {
            effect: Some(effect),
            ..facts
        });
        std::iter::once(facts).chain(truly)
    }

    /// The effects that the call has by somebody's word: the caller's and the
    /// effect map's.
    fn effects(&self) -> impl Iterator<Item = Effect> {
        let claimed = self.request.effect;
        let mapped = mapped_effect(self.request).filter(|effect| Some(*effect) != claimed);
        claimed.into_iter().chain(mapped)
    }
}

/// The UUID of the request's VM as text, for [`Call::new`]. Where nobody knows
/// the VM, a name that is a UUID must be one to the policy, too.
pub(super) fn uuid_text(request: &Request) -> Option<String> {
    let uuid = match &request.target {
        Target::Vm(vm) => Some(vm.uuid),
        Target::Unknown(name) | Target::Unchecked(name) => VmUuid::named(name),
        Target::None => None,
    };
    uuid.map(|uuid: VmUuid| uuid.to_string())
}

/// Collects what applies to a call.
pub(super) fn govern<'a>(policy: &'a Policy, call: &Call<'_>) -> Governing<'a> {
    if let Some(host) = host_rule(policy, call, RuleMode::Enforce) {
        return Governing {
            pointer: &host.pointer,
            applied: vec![of_host(host)],
            base: None,
            lifts: None,
        };
    }
    let request = call.request;
    let mut applied = Vec::new();
    for effect in call.effects() {
        protected(policy, call, effect, &mut applied);
    }
    let own = policy.tool(&request.tool);
    if let Some(rule) = own {
        applied.push(whole(rule, Origin::Tool));
    }
    for effect in call.effects() {
        canonical_rule(policy, request, effect, &mut applied);
    }
    for rule in call
        .effects()
        .filter_map(|effect| policy.effects.get(&effect))
    {
        applied.push(whole(rule, Origin::Effect));
    }
    if let Some(rule) = &policy.all_tools {
        applied.push(whole(rule, Origin::AllTools));
    }
    let (base, lifts) = base(policy, call, own);
    let names = |origin| {
        let mut enforced = applied
            .iter()
            .filter(|rule| rule.mode == RuleMode::Enforce && rule.origin == origin);
        enforced.next().map(|rule| rule.pointer)
    };
    let pointer = names(Origin::Tool)
        .or_else(|| names(Origin::Effect).filter(|_| request.via == Via::Effect))
        .unwrap_or("/default");
    Governing {
        pointer,
        applied,
        base,
        lifts,
    }
}

/// What the policy says before any rule is asked, and the rule in shadow mode
/// that would say otherwise.
fn base<'a>(
    policy: &'a Policy,
    call: &Call<'_>,
    own: Option<&'a Rule>,
) -> (Option<Refusal>, Option<&'a str>) {
    let request = call.request;
    let host = host_rule(policy, call, RuleMode::Shadow).map(|rule| rule.pointer.as_str());
    // A tool that claims another's effect must not do what a hidden tool may not.
    let stands_for = request.effect.filter(|_| !is_mapped(request));
    let mut names = [Some(request.tool.as_str()), stands_for.map(Effect::tool)]
        .into_iter()
        .flatten();
    if let Some(tool) = names.find(|tool| policy.hide.hides(tool)) {
        return (Some(Refusal::hidden(tool)), host);
    }
    if policy.default_allow() {
        return (None, host);
    }
    if let (Via::Tool, Mapped::Suspect { why, .. }) = (request.via, &request.mapped) {
        return (Some(Refusal::unmapped(&request.tool, why)), None);
    }
    let of_effect = request
        .effect
        .filter(|_| request.via == Via::Effect)
        .and_then(|effect| policy.effects.get(&effect));
    let mut naming = own.into_iter().chain(of_effect);
    let mut shadow = naming.clone().filter(|rule| rule.mode == RuleMode::Shadow);
    let lifts = host.or_else(|| shadow.next().map(|rule| rule.pointer.as_str()));
    if !naming.any(|rule| rule.mode == RuleMode::Enforce) {
        return (Some(Refusal::unnamed(&request.tool)), lifts);
    }
    // A harmless tool's name must not open the door to a stop.
    if let Some(effect) = stands_for
        && effect.tool() != request.tool
        && policy
            .canonical(&request.tool, effect)
            .is_none_or(|rule| rule.mode == RuleMode::Shadow)
    {
        return (Some(Refusal::unnamed(effect.tool())), host);
    }
    (None, host)
}

/// Adds the rule of the tool that stands for one of the call's effects, where the
/// call names another tool. Where the effect map gives the named tool this
/// effect, the two are names for the same thing and share their limits; where
/// only the caller claims it, the call is one of that tool as well.
fn canonical_rule<'a>(
    policy: &'a Policy,
    request: &Request,
    effect: Effect,
    applied: &mut Vec<Applied<'a>>,
) {
    let Some(rule) = policy.canonical(&request.tool, effect) else {
        return;
    };
    // Two effects may have one tool.
    if applied.iter().any(|other| other.pointer == rule.pointer) {
        return;
    }
    let only_limits = mapped_effect(request) == Some(effect);
    applied.push(Applied {
        rule: (!only_limits).then_some(rule),
        ..whole(rule, Origin::EffectsTool)
    });
}

/// The effect that the map gives the tool that the call names.
pub(super) fn mapped_effect(request: &Request) -> Option<Effect> {
    match &request.mapped {
        Mapped::Known { effect, .. } if request.via == Via::Tool => *effect,
        Mapped::Known { .. } | Mapped::Suspect { .. } | Mapped::Harmless { .. } => None,
    }
}

/// Does the effect map give the tool the effect that is claimed?
pub(super) fn is_mapped(request: &Request) -> bool {
    mapped_effect(request) == request.effect
}

fn whole(rule: &Rule, origin: Origin) -> Applied<'_> {
    Applied {
        origin,
        pointer: &rule.pointer,
        mode: rule.mode,
        rule: Some(rule),
        limits: &rule.limits,
        on_deny: rule.on_deny.as_deref(),
    }
}

fn of_host(rule: &HostRule) -> Applied<'_> {
    Applied {
        origin: Origin::Host,
        pointer: &rule.pointer,
        mode: rule.mode,
        rule: None,
        limits: &rule.limits,
        on_deny: None,
    }
}

fn protected<'a>(
    policy: &'a Policy,
    call: &Call<'_>,
    effect: Effect,
    applied: &mut Vec<Applied<'a>>,
) {
    let Some(vm) = &call.facts.vm else { return };
    // What ends the host cuts the power of every VM.
    let of_all = effect.is_of_host();
    for entry in &policy.protected {
        let there = |other: &Applied<'_>| other.pointer == entry.rule.pointer;
        let covered = entry.covers(effect) || of_all && entry.covers(Effect::ForceStop);
        if covered && (of_all || entry.vms.picks(vm)) && !applied.iter().any(there) {
            applied.push(whole(&entry.rule, Origin::Protected));
        }
    }
}

/// The host rule that lets a caller pass who names only an effect.
fn host_rule<'a>(policy: &'a Policy, call: &Call<'_>, mode: RuleMode) -> Option<&'a HostRule> {
    let request = call.request;
    let effect = request.effect.filter(|_| request.via == Via::Effect)?;
    let caller = &request.caller;
    let actor = HostActor {
        unit: caller.unit.as_deref(),
        uid: caller.uid,
        // Anyone else can make a mount namespace in which any path names a
        // program of his own.
        exe: caller.exe.as_deref().filter(|_| caller.uid == 0),
    };
    policy.host_rules.values().find(|rule| {
        rule.enabled
            && rule.mode == mode
            && rule.effects.contains(&effect)
            && rule.who.names(&actor)
            && of_vms(rule, call)
    })
}

fn of_vms(rule: &HostRule, call: &Call<'_>) -> bool {
    let picked = |vm| rule.vms.iter().any(|selector| selector.picks(vm));
    rule.vms.is_empty() || call.facts.vm.as_ref().is_some_and(picked)
}
