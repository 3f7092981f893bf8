//! `vmward audit`: show the log, check its chain.
//!
//! Reads the file itself: what a log proves must not depend on the word of
//! the daemon that wrote it.

pub(crate) mod chain;
pub(crate) mod files;
mod packed;
mod reader;
mod render;
mod verify;

use std::{fs::File, io::BufReader, path::Path, process::ExitCode};

use anyhow::Context;

use self::reader::Follower;
pub(crate) use self::{render::line, verify::verify};
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
    let mut follower = open(log)?;
    let newest = follower.last(count).with_context(|| cannot_read(log))?;
    let older = older(log, count.saturating_sub(newest.len()))?;
    for line in older.into_iter().chain(newest) {
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

/// The last `count` lines of the files that were put aside.
fn older(log: &Path, count: usize) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    let files = files::all(log).with_context(|| cannot_read(log))?;
    for path in files.iter().rev().skip(1) {
        let left = count.saturating_sub(lines.len());
        if left == 0 {
            break;
        }
        let older = open(path)?.last(left).with_context(|| cannot_read(path))?;
        lines.splice(0..0, older);
    }
    Ok(lines)
}

fn open(path: &Path) -> anyhow::Result<Follower> {
    let opened = File::open(path).with_context(|| cannot_read(path))?;
    let checked = packed::check(path, &mut BufReader::new(opened));
    checked
        .with_context(|| cannot_read(path))?
        .map_err(anyhow::Error::msg)?;
    Follower::open(path).with_context(|| cannot_read(path))
}

fn cannot_read(log: &Path) -> String {
    format!(
        "Failed to read the audit log {} (only root may: use sudo, or name another with --log)",
        log.display()
    )
}
