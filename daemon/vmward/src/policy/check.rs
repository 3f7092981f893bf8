//! `vmward policy check`: mistakes and second looks.

use std::{fmt::Write as _, path::Path, process::ExitCode};

use super::read_policy;
use crate::{exit::Exit, text::print};

pub(super) fn check(path: &Path, strict: bool) -> anyhow::Result<ExitCode> {
    let policy = read_policy(path)?;
    let file = path.display().to_string();
    let mut text = policy.lints_text(&file);
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
    print(&text)?;
    Ok(if strict && !policy.lints.is_empty() {
        Exit::Failed.into()
    } else {
        Exit::Done.into()
    })
}
