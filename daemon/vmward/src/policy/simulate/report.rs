//! What `vmward policy simulate` prints.

use std::{fmt::Write as _, process::ExitCode};

use super::Outcome;
use crate::{
    exit::Exit,
    text::{plain, print, table},
};

/// Prints what came of it, as JSON or for people; a damaged log is told on standard
/// error as well.
pub(super) fn report(outcome: &Outcome, json: bool) -> anyhow::Result<ExitCode> {
    if let Some(why) = &outcome.damaged {
        eprintln!(
            "warning: the log is damaged, and what is said here may be wrong: {}; see `vmward audit \
             verify`",
            plain(why)
        );
    }
    print(&if json {
        as_json(outcome)
    } else {
        as_text(outcome)
    })?;
    Ok(Exit::Done.into())
}

fn as_json(outcome: &Outcome) -> String {
    let changes: Vec<_> = outcome
        .changes
        .iter()
        .map(|(change, found)| serde_json::json!({ "change": change, "found": found }))
        .collect();
    let report = serde_json::json!({
        "replayed": outcome.replayed,
        "changed": outcome.changed,
        "left_out": outcome.left_out,
        "without_arguments": outcome.without_arguments,
        "without_labels": outcome.without_labels,
        "incomplete_last_line": outcome.incomplete,
        "chain_broken": outcome.damaged,
        "changes": changes,
    });
    format!("{report}\n")
}

fn as_text(outcome: &Outcome) -> String {
    let Outcome {
        replayed,
        changed,
        left_out,
        without_arguments,
        without_labels,
        incomplete,
        changes,
        ..
    } = outcome;
    let rows: Vec<[String; 6]> = changes
        .iter()
        .map(|(change, found)| {
            [
                found.calls.to_string(),
                plain(&change.tool),
                plain(&change.grant),
                change.was.clone(),
                change.would_be.clone(),
                format!("decision {} at {}", found.first_decision, found.first_time),
            ]
        })
        .collect();
    let mut text = table(
        ["CALLS", "TOOL", "GRANT", "WAS", "WOULD BE", "FIRST"],
        &rows,
    );
    let _infallible = writeln!(
        text,
        "{replayed} decisions replayed, {changed} would change; {left_out} left out (no such \
             VM, a live lease, the daemon could not act, or too many to record)"
    );
    if *without_arguments > 0 {
        let _infallible = writeln!(
            text,
            "{without_arguments} were judged without their arguments, which the log does not \
                 have"
        );
    }
    if *without_labels {
        text.push_str(
            "the policy asks for labels of VMs, which the log does not have: every VM was \
                 judged as if it had none\n",
        );
    }
    if *incomplete {
        text.push_str(
            "the log's last line is incomplete (being written, or cut off) and not counted\n",
        );
    }
    text
}
