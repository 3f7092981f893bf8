//! `vmward approvals`: what waits for a person, and the person's word.

use std::{fmt::Write as _, process::ExitCode};

use serde_json::{Map, Value};
use vmward_wire::v1::{
    approval::{Approval, ApprovalState, DecideParams, ListResult, Person, ShowParams},
    method,
};

use crate::{
    cli::{
        Socket,
        approvals::{ApprovalsCommand, DecideArgs},
    },
    events,
    exit::Exit,
    text::{plain, print, table, word},
};

/// Runs one of the commands.
pub(crate) fn run(socket: &Socket, command: ApprovalsCommand) -> anyhow::Result<ExitCode> {
    match command {
        ApprovalsCommand::List { json } => list(socket, json),
        ApprovalsCommand::Show { id, json } => {
            let params = ShowParams { approval: id };
            show(
                socket.look()?.call_value(method::APPROVAL_SHOW, &params)?,
                json,
            )
        }
        ApprovalsCommand::Approve(args) => decide(socket, method::APPROVAL_APPROVE, args),
        ApprovalsCommand::Deny(args) => decide(socket, method::APPROVAL_DENY, args),
        ApprovalsCommand::Watch { json } => {
            if !json {
                list(socket, false)?;
            }
            events::watch(socket, vec!["approval".to_owned()], json)
        }
    }
}

fn list(socket: &Socket, json: bool) -> anyhow::Result<ExitCode> {
    let answer = socket
        .look()?
        .call_value(method::APPROVAL_LIST, &Map::new())?;
    let text = if json {
        format!("{answer}\n")
    } else {
        let ListResult { approvals } = serde_json::from_value(answer)?;
        render_list(&approvals)
    };
    print(&text)?;
    Ok(Exit::Done.into())
}

fn show(answer: Value, json: bool) -> anyhow::Result<ExitCode> {
    let text = if json {
        format!("{answer}\n")
    } else {
        render(&serde_json::from_value(answer)?)
    };
    print(&text)?;
    Ok(Exit::Done.into())
}

fn decide(socket: &Socket, method: &str, args: DecideArgs) -> anyhow::Result<ExitCode> {
    let DecideArgs { id, note, json } = args;
    let params = DecideParams { approval: id, note };
    show(socket.look()?.call_value(method, &params)?, json)
}

fn render_list(approvals: &[Approval]) -> String {
    if approvals.is_empty() {
        return "no request waits for approval\n".to_owned();
    }
    let rows = approvals.iter().map(|approval| {
        [
            approval.id.to_string(),
            word(&approval.state),
            approval
                .vm
                .as_ref()
                .map_or_else(|| "-".to_owned(), |vm| plain(&vm.name)),
            plain(&approval.tool),
            plain(&approval.grant),
            format!("{} s", approval.expires_in_ms.div_ceil(1000)),
            plain(approval.reason.as_deref().unwrap_or("-")),
        ]
    });
    let head = [
        "REQUEST",
        "STATE",
        "VM",
        "TOOL",
        "GRANT",
        "LAPSES IN",
        "REASON",
    ];
    table(head, &rows.collect::<Vec<_>>())
}

/// All that a yes allows, and what became of it.
fn render(approval: &Approval) -> String {
    let mut text = format!("request   {}, {}\n", approval.id, word(&approval.state));
    let mut row = |name: &str, value: &str| {
        let _infallible = writeln!(text, "{name:9} {value}");
    };
    match &approval.vm {
        Some(vm) if vm.uuid.is_empty() => {
            row("VM", &format!("{}, unknown to this host", plain(&vm.name)));
        }
        Some(vm) => row("VM", &format!("{}, {}", plain(&vm.name), plain(&vm.uuid))),
        None => row("VM", "none"),
    }
    row("tool", &plain(&approval.tool));
    row(
        "effect",
        &approval
            .effect
            .map_or("none".to_owned(), |effect| word(&effect)),
    );
    row("arguments", &plain(&approval.arguments));
    if let Some(server) = &approval.server {
        row("server", &plain(server));
    }
    row("sha256", &plain(&approval.args_digest));
    row(
        "reason",
        &plain(approval.reason.as_deref().unwrap_or("none given")),
    );
    let agent = approval.agent.as_deref();
    let agent = agent.map_or(String::new(), |agent| {
        format!(", calls itself {}", plain(agent))
    });
    let who = person(&approval.requester);
    row("who", &format!("{}: {who}{agent}", plain(&approval.grant)));
    for asker in &approval.also_asked {
        row("and", &person(asker));
    }
    row("since", &plain(&approval.opened));
    let left = format!("in {} s", approval.expires_in_ms.div_ceil(1000));
    row("lapses", &left);
    row(
        "rule",
        &format!(
            "{} of policy {}",
            plain(&approval.rule),
            plain(&approval.policy_hash)
        ),
    );
    if let Some(by) = &approval.decided_by {
        row("decided", &format!("by {}", person(by)));
    }
    if let Some(note) = &approval.note {
        row("note", &plain(note));
    }
    text.push_str(match approval.state {
        ApprovalState::Pending => {
            "A yes allows this very call once, until it lapses; every rule is checked again then.\n"
        }
        ApprovalState::Approved => "The one who asked has to make the same call again.\n",
        ApprovalState::Denied => "The same call is denied until it lapses.\n",
        ApprovalState::Used => "The call was made and allowed.\n",
        ApprovalState::Expired => "Its time is over.\n",
    });
    text
}

fn person(person: &Person) -> String {
    match person.loginuid {
        Some(login) if login != person.uid => {
            format!("user {}, logged in as user {login}", person.uid)
        }
        _ => format!("user {}", person.uid),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_person_sees_what_a_yes_allows_and_no_name_can_forge_a_line() {
        let approval: Approval = serde_json::from_value(json!({
            "id": 7, "state": "pending", "grant": "uid:1000",
            "requester": {"uid": 0, "loginuid": 1000}, "agent": "claude\nVM        db-1",
            "tool": "vm_stop", "effect": "force_stop",
            "vm": {"uuid": "4dea22b3-1d52-d8f3-2516-782e98ab3fa0", "name": "web-1"},
            "arguments": "{\"force\":true,\"identifier\":\"web-1\"}", "args_digest": "aa",
            "reason": "patching", "also_asked": [{"uid": 1001}], "rule": "/tools/vm_stop", "policy_hash": "ff",
            "opened": "2026-01-02T03:04:05.006Z", "expires_in_ms": 899_001,
        }))
        .unwrap();
        let text = render(&approval);
        for line in [
            "VM        web-1, 4dea22b3-1d52-d8f3-2516-782e98ab3fa0",
            "effect    force_stop",
            "arguments {\"force\":true,\"identifier\":\"web-1\"}",
            "reason    patching",
            "who       uid:1000: user 0, logged in as user 1000, calls itself claude\\nVM        db-1",
            "and       user 1001",
            "lapses    in 900 s",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}: {text}");
        }
        let list = render_list(&[approval]);
        assert!(list.contains("7        pending  web-1  vm_stop"), "{list}");
    }
}
