//! `vmward disarm` and `vmward arm`: protection taken away, and put back.

use std::{fmt::Write as _, process::ExitCode};

use serde_json::Value;
use vmward_wire::v1::{
    approval::Person,
    disarm::{ArmParams, ArmResult, DisarmParams, Disarmed},
    method,
};

use crate::{
    cli::{
        Socket,
        protection::{ArmArgs, DisarmArgs},
    },
    exit::Exit,
    text::{plain, print},
};

/// Takes protection away.
pub(crate) fn disarm(socket: &Socket, args: DisarmArgs) -> anyhow::Result<ExitCode> {
    let DisarmArgs {
        vm,
        all,
        for_ms,
        reason,
        json,
    } = args;
    let params = DisarmParams {
        vm,
        all,
        reason,
        for_ms,
    };
    let answer = socket.look()?.call_value(method::DISARM, &params)?;
    show(&answer, json, |disarmed: &Disarmed| {
        let again = match &disarmed.vm {
            Some(vm) => format!("vmward arm --vm {}", plain(&vm.name)),
            None => "vmward arm --all".to_owned(),
        };
        format!(
            "{} {}: what would be refused is let through and recorded.\n\
             To put it back before that: {again}\n",
            subject(disarmed),
            end(disarmed)
        )
    })
}

/// Puts it back.
pub(crate) fn arm(socket: &Socket, args: ArmArgs) -> anyhow::Result<ExitCode> {
    let ArmArgs {
        vm,
        all,
        reason,
        json,
    } = args;
    let params = ArmParams { vm, all, reason };
    let answer = socket.look()?.call_value(method::ARM, &params)?;
    show(&answer, json, render_armed)
}

fn show<T: serde::de::DeserializeOwned>(
    answer: &Value,
    json: bool,
    render: impl Fn(&T) -> String,
) -> anyhow::Result<ExitCode> {
    let text = if json {
        format!("{answer}\n")
    } else {
        render(&serde_json::from_value(answer.clone())?)
    };
    print(&text)?;
    Ok(Exit::Done.into())
}

fn render_armed(result: &ArmResult) -> String {
    let mut text = String::new();
    for disarmed in &result.armed {
        let what = match &disarmed.vm {
            Some(vm) => plain(&vm.name),
            None => "the whole host".to_owned(),
        };
        let _infallible = writeln!(text, "{what} is no longer disarmed");
    }
    if result.armed.is_empty() {
        text.push_str("nothing was disarmed\n");
    }
    if let Some(host) = &result.host {
        let _infallible = writeln!(
            text,
            "!! {} {}, and every VM with it: vmward arm --all",
            subject(host),
            end(host)
        );
    }
    text
}

/// What is disarmed, and by whom.
fn subject(disarmed: &Disarmed) -> String {
    let by = person(&disarmed.by);
    match (&disarmed.vm, disarmed.pid) {
        (Some(vm), Some(pid)) => {
            format!("{} (process {pid}) is disarmed by {by}", plain(&vm.name))
        }
        (Some(vm), None) => format!("{} is disarmed by {by}", plain(&vm.name)),
        (None, _) => format!("the whole host is disarmed by {by}"),
    }
}

fn end(disarmed: &Disarmed) -> String {
    match (disarmed.ends_in_ms, &disarmed.vm) {
        (Some(ms), _) => format!("for {} s", ms.div_ceil(1000)),
        (None, Some(_)) => "until it is armed or ends".to_owned(),
        (None, None) => "until it is armed or started again".to_owned(),
    }
}

fn person(person: &Person) -> String {
    match person.loginuid {
        Some(login) if login != person.uid => {
            format!("uid {} (logged in as uid {login})", person.uid)
        }
        _ => format!("uid {}", person.uid),
    }
}

/// One line for `vmward status`.
pub(crate) fn alarm(disarmed: &Disarmed) -> String {
    format!(
        "DISARMED: {} {}: {}",
        subject(disarmed),
        end(disarmed),
        plain(&disarmed.reason)
    )
}
