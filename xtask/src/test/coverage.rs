//! `cargo xtask coverage`: what the attack suite found, as data and as a page.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use clap::Args;

use crate::{build, paths};

const DATA: &str = "tests/data/coverage.jsonl";
const PAGE: &str = "ebpf/COVERAGE.md";

#[derive(Args)]
pub(crate) struct CoverageArgs {
    /// Change nothing; fail where page, data and table do not fit each other
    #[arg(long)]
    check: bool,
    /// Files with results to take up; without any, those of the last test run
    #[arg(conflicts_with = "check")]
    results: Vec<PathBuf>,
}

pub(crate) fn run(args: &CoverageArgs) -> Result<()> {
    if args.check {
        return check();
    }
    let mut cargo = program()?;
    cargo.args([DATA, PAGE]);
    if args.results.is_empty() {
        cargo.args(collected()?);
    } else {
        cargo.args(&args.results);
    }
    build::check(&mut cargo)
}

/// Fails where page, data and table do not fit each other.
pub(crate) fn check() -> Result<()> {
    build::check(program()?.args(["--check", DATA, PAGE]))
}

fn program() -> Result<Command> {
    let mut cargo = build::cargo("run", &build::probes()?);
    cargo.args([
        "--quiet",
        "-p",
        "vmward-tests",
        "--bin",
        "vmward-coverage",
        "--",
    ]);
    Ok(cargo)
}

/// Where `cargo xtask test` leaves the results of its runs.
fn folder() -> PathBuf {
    paths::target().join("attack-results")
}

/// Forgets the results of earlier test runs.
pub(super) fn forget() -> Result<()> {
    let folder = folder();
    if folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("Failed to remove {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("Failed to create {}", folder.display()))
}

/// Keeps the results of one VM run, where it has any.
pub(super) fn keep(name: &str, run: &Path) -> Result<()> {
    let results = run.join("results.jsonl");
    if !results.exists() {
        return Ok(());
    }
    let folder = folder();
    // A run by its name alone, or one that goes on with others', finds none.
    fs::create_dir_all(&folder)
        .with_context(|| format!("Failed to create {}", folder.display()))?;
    let to = folder.join(format!("{}.jsonl", name.replace(' ', "-")));
    fs::copy(&results, &to).with_context(|| format!("Failed to write {}", to.display()))?;
    Ok(())
}

fn collected() -> Result<Vec<PathBuf>> {
    let folder = folder();
    let list = fs::read_dir(&folder).with_context(|| {
        format!(
            "no results in {}: cargo xtask test leaves them there",
            folder.display()
        )
    })?;
    let mut files: Vec<_> = list
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    Ok(files)
}
