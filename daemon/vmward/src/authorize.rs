//! `vmward authorize`: ask, and show the verdict.

use std::{fmt::Write as _, process::ExitCode, time::Duration};

use serde_json::Value;
use vmward_wire::{
    client::Patience,
    v1::{AuthorizeParams, AuthorizeResult, Decision, approval::ApprovalState, method},
};

use crate::{
    cli::{AuthorizeArgs, Socket},
    exit::Exit,
    text::{plain, print, word},
};

/// Asks and prints. Allowed ends with 0, denied with 3.
pub(crate) fn authorize(socket: &Socket, args: AuthorizeArgs) -> anyhow::Result<ExitCode> {
    let params = AuthorizeParams {
        reason: args.reason,
        agent: args.agent,
        holder: args.holder,
        ..args.call.params()
    };
    let (answer, verdict) = ask(socket, &params, Duration::from_secs(args.wait))?;
    let text = if args.json {
        format!("{answer}\n")
    } else {
        render(&verdict)
    };
    print(&text)?;
    Ok(match verdict.decision {
        Decision::Allow => Exit::Done.into(),
        Decision::Deny | Decision::Pending => Exit::Denied.into(),
    })
}

/// Asks, waits for a person where one must approve, and asks again. Returns the
/// last answer as it came, and read.
pub(crate) fn ask(
    socket: &Socket,
    params: &AuthorizeParams,
    wait: Duration,
) -> anyhow::Result<(Value, AuthorizeResult)> {
    let patience = Patience::new(wait);
    loop {
        let mut client = socket.open()?;
        let answer = client.call_value(method::AUTHORIZE, params)?;
        let verdict: AuthorizeResult = serde_json::from_value(answer.clone())?;
        let left = patience.left();
        let Some(approval) = verdict.approval.as_ref().filter(|_| !left.is_zero()) else {
            return Ok((answer, verdict));
        };
        if verdict.decision != Decision::Pending {
            return Ok((answer, verdict));
        }
        eprintln!(
            "vmward: request {} waits for a person: vmward approvals approve {}",
            approval.id, approval.id
        );
        if client.wait_for_approval(approval.id, left)?.state == ApprovalState::Pending {
            return Ok((answer, verdict));
        }
    }
}

/// The verdict for people.
pub(crate) fn render(verdict: &AuthorizeResult) -> String {
    let mut text = String::new();
    let word_of = match verdict.decision {
        Decision::Allow => "allowed",
        Decision::Deny => "denied",
        Decision::Pending => "pending",
    };
    let message = plain(&verdict.message);
    let _infallible = writeln!(text, "{word_of}: {message}");
    let (id, rule) = (verdict.decision_id, plain(&verdict.rule));
    let _infallible = writeln!(text, "  decision {id} by rule {rule}");
    if let Some(approval) = &verdict.approval {
        let id = approval.id;
        let _infallible = writeln!(
            text,
            "  request {id} lapses in {} s; somebody else has to type: vmward approvals approve \
             {id}",
            approval.expires_in_ms.div_ceil(1000),
        );
    }
    if let Some(shadow) = &verdict.shadow {
        let (message, rule) = (plain(&shadow.message), plain(&shadow.rule));
        let _infallible = writeln!(text, "  in shadow mode only: {message} (rule {rule})");
    }
    if let Some(lease) = &verdict.lease {
        let _infallible = writeln!(
            text,
            "  lease {}: {} of {} within {} s, for process {} and its descendants",
            lease.id,
            word(&lease.effect),
            plain(&lease.vm.name),
            lease.expires_in_ms.div_ceil(1000),
            lease.holder_pid,
        );
    }
    for limit in &verdict.limits {
        let _infallible = writeln!(
            text,
            "  limit {} for {}: {} of {} left per {} s",
            plain(&limit.counter),
            plain(&limit.key),
            limit.remaining,
            limit.max,
            limit.window_s,
        );
    }
    if let Some(ms) = verdict.retry_after_ms {
        let _infallible = writeln!(text, "  retry after {} s", ms.div_ceil(1000));
    }
    text
}
