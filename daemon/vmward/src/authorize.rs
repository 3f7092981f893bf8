//! `vmward authorize`: ask, and show the verdict.

use std::{fmt::Write as _, process::ExitCode};

use vmward_wire::v1::{AuthorizeParams, AuthorizeResult, Decision, method};

use crate::{
    cli::{AuthorizeArgs, Socket},
    exit::Exit,
    text::{plain, print, word},
};

/// Asks and prints. Allowed ends with 0, denied with 3.
pub(crate) fn authorize(socket: &Socket, args: AuthorizeArgs) -> anyhow::Result<ExitCode> {
    let params = AuthorizeParams {
        tool: args.tool,
        server: None,
        arguments: args.args.unwrap_or_default(),
        vm: args.vm,
        effect: args.effect,
        reason: args.reason,
        agent: None,
        holder: args.holder,
    };
    let answer = socket.open()?.call_value(method::AUTHORIZE, &params)?;
    let verdict: AuthorizeResult = serde_json::from_value(answer.clone())?;
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
