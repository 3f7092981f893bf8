//! `vmward policy diff`: two policies compared by what they let happen.
//!
//! Both are put before the same calls: every tool that either names, every
//! effect that a tool may have, every effect by itself, a tool that neither
//! names; each aimed at a VM of no special kind and at one for each entry of
//! `protected`. What is compared is the verdict and all that the applying rules
//! ask for, not where they stand in the text. The host rules and the effect map
//! are compared entry by entry, the map's in their order.

mod effect_map;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
    process::ExitCode,
};

use serde::Serialize;
use vmward_core::{
    audit::Verdict,
    effect::Effect,
    engine::{
        Engine, ExplainedRule, Explanation, Origin, ReasonCode, Request, Target, Via, VmTarget,
    },
    policy::{
        Action, Policy,
        map::{self, Mapped},
        selector::Selector,
    },
};

use super::{
    case::{Call, FullVm, MONDAY_NOON_NS, Vm, Who, instant},
    read_policy,
};
use crate::{
    exit::Exit,
    text::{plain, print, word},
};

/// A tool that no policy names.
const OTHER_TOOL: &str = "some_other_tool";
/// A VM that no entry of `protected` picks; also how a selector says that it
/// picks all.
const ANY_VM: &str = "any VM";

/// What a call is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Subject {
    /// The tool; absent for a call that names only an effect.
    tool: Option<String>,
    effect: Option<&'static str>,
    /// Which VM.
    vm: String,
    /// Of which VMs this is one: what is said of them need not be said of it.
    #[serde(skip)]
    of: String,
}

/// One thing that a policy says about a call.
type Says = BTreeSet<String>;

/// A call about which the policies differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Difference {
    #[serde(flatten)]
    subject: Subject,
    only_old: Says,
    only_new: Says,
}

pub(super) fn diff(old: &Path, new: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let (old, new) = (read_policy(old)?, read_policy(new)?);
    let calls = universe(&old, &new);
    let (before, after) = (profile(&old, &calls), profile(&new, &calls));
    let mut differences: Vec<Difference> = calls
        .into_keys()
        .filter_map(|subject| {
            let (old, new) = (before.get(&subject)?, after.get(&subject)?);
            difference(subject, old, new)
        })
        .collect();
    drop_repeated(&mut differences);
    let (map_before, map_after) = effect_map::both(&old, &new);
    for (vm, old, new) in [
        ("the host's own services", host(&old), host(&new)),
        ("the effect map", map_before, map_after),
    ] {
        let subject = Subject {
            tool: None,
            effect: None,
            vm: vm.to_owned(),
            of: vm.to_owned(),
        };
        differences.extend(difference(subject, &old, &new));
    }
    print(&report(&differences, json))?;
    Ok(if differences.is_empty() {
        Exit::Done.into()
    } else {
        Exit::Differs.into()
    })
}

fn difference(subject: Subject, old: &Says, new: &Says) -> Option<Difference> {
    (old != new).then(|| Difference {
        subject,
        only_old: old.difference(new).cloned().collect(),
        only_new: new.difference(old).cloned().collect(),
    })
}

/// What differs for any VM need not be said again for a special one, nor what
/// differs for all that a selector picks for one of them.
fn drop_repeated(differences: &mut Vec<Difference>) {
    let all = differences.clone();
    differences.retain(|difference| {
        let subject = &difference.subject;
        let is_said_of = |vm: &str| {
            subject.vm != vm
                && all.iter().any(|other| {
                    let is_same_call = (&other.subject.tool, other.subject.effect)
                        == (&subject.tool, subject.effect);
                    is_same_call
                        && other.subject.vm == vm
                        && other.only_old == difference.only_old
                        && other.only_new == difference.only_new
                })
        };
        !is_said_of(ANY_VM) && !is_said_of(&subject.of)
    });
}

/// Every call that either policy could tell apart.
fn universe(old: &Policy, new: &Policy) -> BTreeMap<Subject, FullVm> {
    let any = (ANY_VM.to_owned(), ANY_VM.to_owned());
    let mut vms = BTreeMap::from([(any, some_vm())]);
    let selectors = || {
        let protected = old.protected.iter().chain(&new.protected);
        protected.map(|protected| &protected.vms)
    };
    let fill = fill(selectors());
    vms.extend(selectors().flat_map(|selector| samples(selector, fill)));
    let mut tools = BTreeSet::from([OTHER_TOOL]);
    for policy in [old, new] {
        tools.extend(policy.tools().map(|(tool, _)| tool));
        tools.extend(policy.hide.tools.iter().map(String::as_str));
        tools.extend(policy.effect_map.iter().map(|entry| entry.tool.as_str()));
        tools.extend(Effect::ALL.map(Effect::tool));
    }
    let mut calls = BTreeMap::new();
    for ((of, name), vm) in &vms {
        let mut add = |tool: Option<&str>, effect: Option<Effect>| {
            let subject = Subject {
                tool: tool.map(ToOwned::to_owned),
                effect: effect.map(Effect::name),
                vm: match effect {
                    Some(effect) if effect.is_of_host() => VmTarget::HOST_NAME.to_owned(),
                    _ => name.clone(),
                },
                of: match effect {
                    Some(effect) if effect.is_of_host() => VmTarget::HOST_NAME.to_owned(),
                    _ => of.clone(),
                },
            };
            calls.insert(subject, vm.clone());
        };
        for tool in &tools {
            let mut effects = map::effects_of(&old.effect_map, tool);
            effects.extend(map::effects_of(&new.effect_map, tool));
            if effects.is_empty() {
                add(Some(tool), None);
            }
            for effect in effects {
                add(Some(tool), Some(effect));
            }
        }
        for effect in Effect::ALL {
            add(None, Some(effect));
        }
    }
    calls
}

/// A VM of no special kind.
fn some_vm() -> FullVm {
    FullVm {
        name: "a-vm".to_owned(),
        uuid: None,
        labels: BTreeMap::new(),
        running: true,
    }
}

/// A character that no name or pattern has: another pattern takes it only by a
/// wildcard, so a `?` is never mistaken for the character that it is tried with.
fn fill<'a>(selectors: impl Iterator<Item = &'a Selector>) -> char {
    let names = selectors.filter_map(|selector| selector.name.as_deref());
    let taken: BTreeSet<char> = names.flat_map(str::chars).collect();
    let mut all = std::iter::once('x').chain('a'..=char::MAX);
    all.find(|one| !taken.contains(one)).unwrap_or('x')
}

/// VMs that the selector picks, by the selector and by what each is called: where
/// the name is a pattern, of the lengths at which another pattern may end.
fn samples(
    selector: &Selector,
    fill: char,
) -> impl Iterator<Item = ((String, String), FullVm)> + use<> {
    let of = selector.describe();
    let with = |text: String| {
        let pattern = selector.name.as_deref().unwrap_or("a-vm");
        pattern.replace('*', &text).replace('?', &fill.to_string())
    };
    let first = with(fill.to_string());
    let longer = [String::new(), format!("{fill}{fill}"), format!("{fill}-1")];
    let names = BTreeSet::from(longer.map(with));
    let others = names
        .into_iter()
        .filter(|name| !name.is_empty() && *name != first);
    let others: Vec<String> = others.collect();
    let labels = selector.labels.clone();
    let uuid = selector.uuid;
    let first = (of.clone(), first);
    let others = others.into_iter().map({
        let of = of.clone();
        move |name| (format!("{of}, called {name:?}"), name)
    });
    std::iter::once(first).chain(others).map(move |(vm, name)| {
        let sample = FullVm {
            name,
            uuid,
            labels: labels.clone(),
            running: true,
        };
        ((of.clone(), vm), sample)
    })
}

fn profile(policy: &Policy, calls: &BTreeMap<Subject, FullVm>) -> BTreeMap<Subject, Says> {
    let engine = Engine::new(policy.clone(), "diff");
    let says = |(subject, vm): (&Subject, &FullVm)| {
        let explanation = engine.explain(&request(&engine, subject, vm)?, instant(MONDAY_NOON_NS));
        Some((subject.clone(), says(&explanation, policy)))
    };
    calls.iter().filter_map(says).collect()
}

fn request(engine: &Engine, subject: &Subject, vm: &FullVm) -> Option<Request> {
    let by_name = |name| Effect::ALL.into_iter().find(|effect| effect.name() == name);
    let effect = subject.effect.and_then(by_name);
    let call = Call {
        tool: subject.tool.clone(),
        effect: if subject.tool.is_none() { effect } else { None },
        vm: Some(Vm::Full(vm.clone())),
        who: Who {
            uid: 1000,
            ..Who::default()
        },
        ..Call::default()
    };
    let mut request = call.request(engine, instant(MONDAY_NOON_NS)).ok()?;
    // The arguments that give a tool this effect are not known here, so the
    // map's answer is put in their place. It must be this policy's own answer:
    // what only the other one maps stays unmapped.
    let own = &engine.policy().effect_map;
    if let (Via::Tool, Some(effect)) = (request.via, effect)
        && map::effects_of(own, &request.tool).contains(&effect)
    {
        request.mapped = Mapped::Known {
            pointer: "".into(),
            effect: Some(effect),
            vm: None,
        };
        request.effect = Some(effect);
    }
    if request.effect.is_some_and(Effect::is_of_host) {
        request.target = Target::Vm(VmTarget::host(false));
    }
    Some(request)
}

/// All that the policy says about a call, place in the text aside.
fn says(explanation: &Explanation, policy: &Policy) -> Says {
    let mut says = Says::new();
    // What else is asked of a call that is denied whatever it is like does not
    // matter; what is only recorded does, because it is to be learnt from.
    let denied = matches!(
        explanation.reason_code,
        ReasonCode::DefaultDeny
            | ReasonCode::Hidden
            | ReasonCode::RuleDenied
            | ReasonCode::UnmappedTool
            | ReasonCode::VmProtected
    );
    let counts = |rule: &&ExplainedRule| rule.shadow || !denied;
    for rule in explanation.rules.iter().filter(counts) {
        let kind = if rule.shadow { "recorded only: " } else { "" };
        let own = policy.rules().find(|own| own.pointer == rule.rule);
        let schema = own.and_then(|own| own.args_schema.as_ref());
        let at_schema = format!("{}/args_schema", rule.rule);
        for step in &rule.steps {
            let which = schema.filter(|_| step.at == at_schema);
            let which = which.map_or_else(String::new, |schema| format!(" {}", schema.source()));
            says.insert(format!("{kind}asks for {}{which}", step.asks));
        }
        // A condition that this very call does not meet must not hide it.
        let asks_a_person = own.filter(|own| {
            own.action == Action::RequireApproval && rule.applies != Origin::EffectsTool
        });
        if let Some(own) = asks_a_person {
            let time = own.approval_timeout_s;
            let time = time.map_or_else(String::new, |time_s| format!(" within {time_s} s"));
            says.insert(format!("{kind}asks for a person's approval{time}"));
        }
    }
    // What depends on arguments, hours or a reason is told by what is asked for.
    let depends = matches!(
        explanation.reason_code,
        ReasonCode::Condition
            | ReasonCode::BadArguments
            | ReasonCode::OutsideHours
            | ReasonCode::ReasonRequired
    );
    says.insert(match explanation.decision {
        _ if depends => "verdict: depends on the call".to_owned(),
        Verdict::Allow => "verdict: allow".to_owned(),
        Verdict::Pending => "verdict: pending".to_owned(),
        Verdict::Deny => format!("verdict: deny, {}", word(&explanation.reason_code)),
    });
    says
}

fn host(policy: &Policy) -> Says {
    let rules = policy.host_rules.iter();
    rules
        .map(|(name, rule)| format!("{name}: {}", rule.describe()))
        .collect()
}

fn report(differences: &[Difference], json: bool) -> String {
    if json {
        let report = serde_json::json!({ "differences": differences });
        return format!("{report}\n");
    }
    if differences.is_empty() {
        return "the policies let the same things happen\n".to_owned();
    }
    let mut text = String::new();
    for difference in differences {
        let Subject {
            tool,
            effect,
            vm,
            of: _,
        } = &difference.subject;
        let what = match (tool.as_deref(), effect) {
            (Some(OTHER_TOOL), _) => "any other tool".to_owned(),
            (Some(tool), Some(effect)) => format!("{tool} ({effect})"),
            (Some(tool), None) => tool.to_owned(),
            (None, Some(effect)) => format!("the effect {effect} by itself"),
            (None, None) => String::new(),
        };
        let comma = if what.is_empty() { "" } else { ", " };
        let _infallible = writeln!(text, "{}{comma}{}", plain(&what), plain(vm));
        for old in &difference.only_old {
            let _infallible = writeln!(text, "  - {}", plain(old));
        }
        for new in &difference.only_new {
            let _infallible = writeln!(text, "  + {}", plain(new));
        }
    }
    text
}
