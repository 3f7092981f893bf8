//! `vmward audit`: show the log, check its chain.
//!
//! Reads the file itself: what a log proves must not depend on the word of
//! the daemon that wrote it.

mod reader;
mod render;

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    process::ExitCode,
};

use anyhow::Context;
use serde_json::json;
use vmward_core::audit::chain::Verifier;

use self::reader::Follower;
pub(crate) use self::render::line;
use crate::{
    exit::Exit,
    text::{Reader, print},
};

/// Prints the newest records, and with `follow` every later one.
pub(crate) fn tail(log: &Path, count: usize, follow: bool, json: bool) -> anyhow::Result<ExitCode> {
    let shown = |line: &str| {
        if json {
            print(&format!("{line}\n"))
        } else {
            print(&format!("{}\n", render::line(line)))
        }
    };
    let mut follower = Follower::open(log).with_context(|| cannot_read(log))?;
    for line in follower.last(count).with_context(|| cannot_read(log))? {
        if shown(&line)? == Reader::Gone {
            return Ok(Exit::Done.into());
        }
    }
    if !follow {
        return Ok(Exit::Done.into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    runtime.block_on(async {
        loop {
            for line in follower.next().with_context(|| cannot_read(log))? {
                if shown(&line)? == Reader::Gone {
                    return Ok(Exit::Done.into());
                }
            }
            tokio::time::sleep(reader::POLL).await;
        }
    })
}

/// Checks the chain from the first record to the last.
pub(crate) fn verify(log: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let file = File::open(log).with_context(|| cannot_read(log))?;
    let mut file = BufReader::new(file);
    let mut verifier = Verifier::new();
    let mut bytes = Vec::new();
    let mut number = 0_u64;
    let mut broken = None;
    let mut incomplete = false;
    while broken.is_none() {
        bytes.clear();
        if file
            .read_until(b'\n', &mut bytes)
            .with_context(|| cannot_read(log))?
            == 0
        {
            break;
        }
        number += 1;
        if bytes.pop_if(|last| *last == b'\n').is_none() {
            // The daemon is writing this very line, or was killed doing so.
            incomplete = true;
            break;
        }
        broken = match std::str::from_utf8(&bytes) {
            Ok(line) => verifier
                .check_line(line)
                .err()
                .map(|error| format!("{:#}", anyhow::Error::from(error))),
            Err(_) => Some("not UTF-8".to_owned()),
        };
    }
    let records = verifier.checked();
    let head = verifier
        .chain()
        .map(|chain| chain.head().to_owned())
        .unwrap_or_default();
    let text = if json {
        let report = json!({
            "log": log.display().to_string(),
            "intact": broken.is_none(),
            "records": records,
            "head": head,
            "broken_line": broken.is_some().then_some(number),
            "error": broken,
            "incomplete_last_line": incomplete,
        });
        format!("{report}\n")
    } else {
        let tail = if incomplete {
            "; the last line is incomplete (being written, or cut off) and not counted"
        } else {
            ""
        };
        match &broken {
            None => format!(
                "{}: {records} records, chain intact, head {head}{tail}\n",
                log.display()
            ),
            Some(error) => format!(
                "{}:{number}: CHAIN BROKEN: {error}; the {records} records before it are intact\n",
                log.display()
            ),
        }
    };
    print(&text)?;
    Ok(if broken.is_some() {
        Exit::ChainBroken.into()
    } else {
        Exit::Done.into()
    })
}

fn cannot_read(log: &Path) -> String {
    format!(
        "Failed to read the audit log {} (root and the group vmward may; --log names another)",
        log.display()
    )
}
