//! `vmward policy check`: mistakes and second looks.

use std::{fmt::Write as _, path::Path, process::ExitCode};

use serde_json::{Value, json};
use vmward_core::policy::{Lint, Policy, PolicyError, PolicyErrors};

use super::read_policy;
use crate::{exit::Exit, text::print};

pub(super) fn check(path: &Path, strict: bool, json: bool) -> anyhow::Result<ExitCode> {
    let file = path.display().to_string();
    let policy = match read_policy(path) {
        Ok(policy) => policy,
        Err(error) => {
            let Some(errors) = error.downcast_ref::<PolicyErrors>().filter(|_| json) else {
                return Err(error);
            };
            print(&format!("{}\n", mistakes(&file, errors)))?;
            return Ok(Exit::Failed.into());
        }
    };
    print(&if json {
        format!("{}\n", good(&file, &policy))
    } else {
        text(&file, &policy)
    })?;
    Ok(if strict && !policy.lints.is_empty() {
        Exit::Failed.into()
    } else {
        Exit::Done.into()
    })
}

fn mistakes(file: &str, errors: &PolicyErrors) -> Value {
    let all: Vec<Value> = errors.errors().iter().map(place).collect();
    json!({"file": file, "good": false, "mistakes": all, "mistakes_not_shown": errors.more(),
        "warnings": []})
}

fn good(file: &str, policy: &Policy) -> Value {
    let warnings: Vec<Value> = policy.lints.iter().map(|Lint(lint)| place(lint)).collect();
    json!({"file": file, "good": true, "mistakes": [], "mistakes_not_shown": 0,
        "warnings": warnings, "tools": policy.tools().count(),
        "limits": policy.limits().count(), "default_allow": policy.default_allow(),
        "sha256": policy.hash()})
}

fn place(error: &PolicyError) -> Value {
    json!({"line": error.line, "column": error.column, "message": error.message,
        "help": error.help})
}

fn text(file: &str, policy: &Policy) -> String {
    let mut text = policy.lints_text(file);
    if !text.is_empty() {
        text.push_str("\n\n");
    }
    let default = if policy.default_allow() {
        "allow"
    } else {
        "deny"
    };
    let _infallible = writeln!(
        text,
        "{file}: good; {} tools, {} limits, default {default}, {} to look at again; sha256 {}",
        policy.tools().count(),
        policy.limits().count(),
        policy.lints.len(),
        policy.hash()
    );
    text
}
