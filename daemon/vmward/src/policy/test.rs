//! `vmward policy test`: a file of cases against a policy.

mod file;

use std::{fmt::Write as _, path::Path, process::ExitCode};

use anyhow::{Context, bail};
use serde::Serialize;
use vmward_core::{
    approval::{ApprovalConfig, Person},
    clock::{self, NS_PER_S, Now},
    engine::{Authorized, Decision, Engine, ReasonCode},
    ids::DecisionId,
};

use self::file::{Case, Expect, File, Step, Word, YesOrNo};
use super::{
    case::{MONDAY_NOON_NS, instant},
    read_policy, read_text,
};
use crate::{
    exit::Exit,
    text::{plain, print, word},
};

/// What `--example` prints.
pub(crate) const EXAMPLE: &str = include_str!("example-cases.json");

/// One expectation that did not hold.
#[derive(Debug, Serialize)]
struct Failure {
    case: String,
    /// From 1.
    step: usize,
    /// From 1.
    repetition: u32,
    expected: String,
    got: String,
}

pub(super) fn run(
    cases: &Path,
    policy: Option<&Path>,
    approvals: &ApprovalConfig,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let text = read_text(cases)?;
    let file = File::read(&text).map_err(|why| {
        anyhow::anyhow!(
            "{} is no file of cases, such as --example prints: {why}",
            cases.display()
        )
    })?;
    let own = file.policy.as_ref().map(|own| {
        let folder = cases.parent().unwrap_or(Path::new(""));
        folder.join(own)
    });
    let Some(path) = policy.map(Path::to_owned).or(own) else {
        bail!(
            "{} names no policy: add \"policy\": \"policy.json\", or give --policy FILE",
            cases.display()
        );
    };
    let policy = read_policy(&path)?;
    if file.cases.is_empty() {
        bail!("{} has no cases", cases.display());
    }
    let mut failures = Vec::new();
    for (index, case) in file.cases.iter().enumerate() {
        let mut engine = Engine::new(policy.clone(), "case");
        engine.set_approval_config(approvals.clone());
        play(case, engine, &mut failures)
            .with_context(|| format!("case {} ({:?})", index + 1, case.name))?;
    }
    report(file.cases.len(), &failures, json)
}

fn play(case: &Case, mut engine: Engine, failures: &mut Vec<Failure>) -> anyhow::Result<()> {
    let mut before_ns = None;
    let mut open: Option<DecisionId> = None;
    let says = |step: &Step| step.expect.is_some() && step.repeat() > 0;
    if !case.steps.iter().any(says) {
        bail!("it expects nothing, so it could not fail");
    }
    for (index, step) in case.steps.iter().enumerate() {
        let number = index + 1;
        let now_ns = time_of(step, before_ns).with_context(|| format!("step {number}"))?;
        before_ns = Some(now_ns);
        let now = instant(now_ns);
        match (&step.call, step.approve) {
            (Some(call), None) => {
                for repetition in 1..=step.repeat() {
                    let request = call
                        .checked_request(&engine, now)
                        .map_err(|why| anyhow::anyhow!("step {number}: {why}"))?;
                    let answer = engine.authorize(request.clone(), now);
                    if let Decision::Pending(pending) = &answer.decision {
                        open = Some(pending.approval);
                    }
                    let Some(expect) = &step.expect else { continue };
                    if !expect.meets(&answer) {
                        failures.push(Failure {
                            case: case.name.clone(),
                            step: number,
                            repetition,
                            expected: expect.describe(),
                            got: describe(&answer),
                        });
                    }
                }
            }
            (None, Some(verdict)) => {
                decide(&mut engine, open, verdict, now)
                    .with_context(|| format!("step {number}"))?;
            }
            _ => bail!("step {number} must have either `call` or `approve`"),
        }
    }
    Ok(())
}

/// `before_ns`: when the step before was, where there is one.
fn time_of(step: &Step, before_ns: Option<i64>) -> anyhow::Result<i64> {
    let now_ns = match (&step.when, step.after_s) {
        (Some(_), Some(_)) => bail!("give either `when` or `after_s`"),
        (Some(when), None) => clock::parse_rfc3339(when).with_context(|| {
            format!("{when:?} is no instant; one looks like 2026-11-23T09:30:00Z")
        })?,
        (None, seconds) => {
            let later_ns = i64::from(seconds.unwrap_or(0)) * NS_PER_S;
            before_ns.unwrap_or(MONDAY_NOON_NS).saturating_add(later_ns)
        }
    };
    if before_ns.is_some_and(|before_ns| now_ns < before_ns) {
        bail!("the step is earlier than the one before");
    }
    Ok(now_ns)
}

/// Decides as somebody who never is the one who asks.
fn decide(
    engine: &mut Engine,
    open: Option<DecisionId>,
    verdict: YesOrNo,
    now: Now,
) -> anyhow::Result<()> {
    let id = open.context("no step before it opened a request for approval")?;
    let approver = Person {
        uid: u32::MAX - 1,
        loginuid: None,
    };
    engine.decide_approval(id, approver, verdict == YesOrNo::Yes, None, now)?;
    Ok(())
}

impl Expect {
    fn meets(&self, answer: &Authorized) -> bool {
        let (decision, reason_code, rule) = facts(answer);
        match self {
            Self::Word(word) => *word == decision,
            Self::Parts(parts) => {
                parts.decision == decision
                    && parts.reason_code.is_none_or(|code| code == reason_code)
                    && parts.rule.as_deref().is_none_or(|wanted| wanted == rule)
                    && parts.shadow.is_none_or(|code| {
                        let shadow = answer.shadow.as_ref();
                        shadow.is_some_and(|shadow| shadow.reason_code == code)
                    })
            }
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Word(decision) => word(decision),
            Self::Parts(parts) => {
                let mut text = word(&parts.decision);
                for (name, value) in [
                    ("reason", parts.reason_code.as_ref().map(word)),
                    ("rule", parts.rule.clone()),
                    ("shadow", parts.shadow.as_ref().map(word)),
                ] {
                    if let Some(value) = value {
                        let _infallible = write!(text, ", {name} {value}");
                    }
                }
                text
            }
        }
    }
}

/// Decision, reason and rule of an answer.
fn facts(answer: &Authorized) -> (Word, ReasonCode, &str) {
    match &answer.decision {
        Decision::Allow(permit) => (Word::Allow, ReasonCode::Allowed, permit.rule()),
        Decision::Deny(denial) => (Word::Deny, denial.reason, &denial.rule),
        Decision::Pending(pending) => (Word::Pending, ReasonCode::ApprovalRequired, &pending.rule),
    }
}

fn describe(answer: &Authorized) -> String {
    let (decision, reason, rule) = facts(answer);
    let message = match &answer.decision {
        Decision::Allow(permit) => permit.message(),
        Decision::Deny(denial) => &denial.message,
        Decision::Pending(pending) => &pending.message,
    };
    let shadow = match &answer.shadow {
        Some(shadow) => format!(", shadow {} by {}", word(&shadow.reason_code), shadow.rule),
        None => String::new(),
    };
    format!(
        "{}, reason {}, rule {rule}{shadow}: {message}",
        word(&decision),
        word(&reason)
    )
}

fn report(cases: usize, failures: &[Failure], json: bool) -> anyhow::Result<ExitCode> {
    let text = if json {
        let report = serde_json::json!({ "cases": cases, "failures": failures });
        format!("{report}\n")
    } else {
        let mut text = String::new();
        for failure in failures {
            let Failure {
                case,
                step,
                repetition,
                expected,
                got,
            } = failure;
            let _infallible = writeln!(
                text,
                "{}: step {step}, call {repetition}\n  expected {}\n  got      {}",
                plain(case),
                plain(expected),
                plain(got)
            );
        }
        let failed: std::collections::BTreeSet<&str> = failures
            .iter()
            .map(|failure| failure.case.as_str())
            .collect();
        let _infallible = writeln!(text, "{cases} cases, {} failed", failed.len());
        text
    };
    print(&text)?;
    Ok(if failures.is_empty() {
        Exit::Done.into()
    } else {
        Exit::Failed.into()
    })
}
