//! `vmward policy explain`: why, rule by rule.

use std::{fmt::Write as _, process::ExitCode};

use anyhow::Context;
use serde::Serialize;
use vmward_core::{
    audit::Verdict,
    clock,
    engine::{Engine, Explanation},
};
use vmward_wire::v1::{AuthorizeParams, method};

use super::{
    case::{Call, MONDAY_NOON_NS, Vm, Who, instant},
    config, read_policy,
};
use crate::{
    cli::{Socket, policy::ExplainArgs},
    exit::Exit,
    text::{plain, print, word},
};

pub(super) fn explain(socket: &Socket, args: ExplainArgs) -> anyhow::Result<ExitCode> {
    let json = args.json;
    let (explanation, judged, answer) = if args.policy.is_some() {
        let (explanation, judged) = alone(args)?;
        let mut answer = serde_json::to_value(&explanation)?;
        answer["judged"] = serde_json::to_value(&judged)?;
        (explanation, Some(judged), answer)
    } else {
        let (explanation, answer) = ask(socket, args)?;
        (explanation, None, answer)
    };
    let text = if json {
        format!("{answer}\n")
    } else {
        render(&explanation, judged.as_ref())
    };
    print(&text)?;
    Ok(match explanation.decision {
        Verdict::Allow => Exit::Done.into(),
        Verdict::Deny | Verdict::Pending => Exit::Denied.into(),
    })
}

/// For whom and when a policy on its own was asked, which the daemon sees itself.
#[derive(Serialize)]
struct Judged {
    uid: u32,
    /// RFC 3339, universal time.
    when: String,
}

/// By a policy on its own: no limit is used yet, and the VM runs. Who asks and
/// when is as in a case of `vmward policy test` that does not say.
fn alone(args: ExplainArgs) -> anyhow::Result<(Explanation, Judged)> {
    let path = args.policy.context("a policy")?;
    let mut engine = Engine::new(read_policy(&path)?, "explain");
    engine.set_approval_config(config::approvals(args.config.as_deref())?);
    let now_ns = match &args.when {
        Some(when) => clock::parse_rfc3339(when)
            .with_context(|| format!("{when:?} is no instant such as 2026-11-23T09:30:00Z"))?,
        None => MONDAY_NOON_NS,
    };
    let grant = args.grant.as_deref();
    let uid = grant.and_then(|grant| grant.strip_prefix("uid:")?.parse().ok());
    let who = Who {
        uid: uid.unwrap_or_default(),
        grant: args.grant,
        ..Who::default()
    };
    let judged = Judged {
        uid: who.uid,
        when: clock::rfc3339(now_ns),
    };
    let call = Call {
        effect: args.call.effect().map(super::case::effect),
        tool: args.call.tool,
        arguments: args.call.args.unwrap_or_default(),
        server: args.call.server,
        vm: args.call.vm.map(Vm::Name),
        who,
        reason: args.reason,
    };
    let now = instant(now_ns);
    let request = call
        .checked_request(&engine, now)
        .map_err(anyhow::Error::msg)?;
    Ok((engine.explain(&request, now), judged))
}

/// The daemon's answer, read and as it came.
fn ask(socket: &Socket, args: ExplainArgs) -> anyhow::Result<(Explanation, serde_json::Value)> {
    let params = AuthorizeParams {
        reason: args.reason,
        ..args.call.params()
    };
    let answer = socket.open()?.call_value(method::EXPLAIN, &params)?;
    let explanation = serde_json::from_value(answer.clone())
        .context("vmwardd explains in a way that this vmward does not understand")?;
    Ok((explanation, answer))
}

fn render(explanation: &Explanation, judged: Option<&Judged>) -> String {
    let mut text = String::new();
    let mut line = |line: String| {
        let _infallible = writeln!(text, "{}", plain(&line));
    };
    line(format!(
        "{}: {} ({})",
        word(&explanation.decision),
        explanation.message,
        word(&explanation.reason_code)
    ));
    line(format!("decided by  {}", shown(&explanation.rule)));
    line(format!("grant       {}", explanation.grant));
    if let Some(Judged { uid, when }) = judged {
        line(format!(
            "judged      for uid {uid} at {when}, with nothing charged yet"
        ));
    }
    let effect = explanation
        .effect
        .map_or("stops nothing", |effect| effect.name());
    line(format!(
        "effect      {effect}, by {}",
        explanation.mapped_by
    ));
    if let Some(vm) = &explanation.vm {
        line(format!("vm          {vm}"));
    }
    for rule in &explanation.rules {
        let shadow = if rule.shadow { ", only recorded" } else { "" };
        line(format!(
            "{}: {} ({}{shadow})",
            shown(&rule.rule),
            word(&rule.decision),
            word(&rule.applies).replace('_', " ")
        ));
        for step in &rule.steps {
            let mark = if step.passes { "ok  " } else { "FAIL" };
            let found = step.found.as_ref().map(|found| format!(": {found}"));
            line(format!(
                "  {mark}  {}{}",
                step.asks,
                found.unwrap_or_default()
            ));
        }
        for limit in &rule.limits {
            let wait = if limit.remaining == 0 {
                format!(", one more in {} s", limit.next_free_in_ms.div_ceil(1000))
            } else {
                String::new()
            };
            line(format!(
                "  limit {} ({}): {} of {} in {} s left{wait}",
                limit.counter, limit.key, limit.remaining, limit.max, limit.window_s
            ));
        }
    }
    if let Some(shadow) = &explanation.shadow {
        line(format!(
            "in shadow: {} by {}: {}",
            word(&shadow.reason_code),
            shown(&shadow.rule),
            shadow.message
        ));
    }
    text
}

/// A pointer of no rule is empty.
fn shown(pointer: &str) -> &str {
    if pointer.is_empty() {
        "no rule"
    } else {
        pointer
    }
}
