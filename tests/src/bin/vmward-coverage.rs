//! `vmward-coverage`: keeps `ebpf/COVERAGE.md` and the data behind it.
//!
//! `vmward-coverage DATA PAGE [RESULTS]...` adds the suite's results to the data
//! and writes the page; `vmward-coverage --check DATA PAGE` fails where the page
//! or the data do not fit the table of attacks.
#![forbid(unsafe_code)]

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use vmward_tests::attacks;
use vmward_tests::coverage::Coverage;

fn main() -> ExitCode {
    let all: Vec<String> = std::env::args().skip(1).collect();
    match run(&all.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[&str]) -> Result<()> {
    match args {
        ["--check", data, page] => check(data, page),
        [data, page, results @ ..] => update(data, page, results),
        _ => bail!("usage: vmward-coverage [--check] DATA PAGE [RESULTS]..."),
    }
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("Failed to read {path}"))
}

fn load(data: &str) -> Result<Coverage> {
    let mut coverage = Coverage::default();
    if fs::exists(data).with_context(|| format!("Failed to look for {data}"))? {
        coverage.add(&read(data)?).context(data.to_owned())?;
    }
    Ok(coverage)
}

fn update(data: &str, page: &str, results: &[&str]) -> Result<()> {
    let rows: Vec<_> = attacks::all().collect();
    let mut coverage = load(data)?;
    for path in results {
        coverage.add(&read(path)?).context((*path).to_owned())?;
    }
    coverage.keep(&rows);
    fs::write(data, coverage.lines()?).with_context(|| format!("Failed to write {data}"))?;
    fs::write(page, coverage.page(&rows)).with_context(|| format!("Failed to write {page}"))?;
    for gap in coverage.gaps(&rows) {
        eprintln!("{gap}");
    }
    Ok(())
}

fn check(data: &str, page: &str) -> Result<()> {
    let rows: Vec<_> = attacks::all().collect();
    let coverage = load(data)?;
    let gaps = coverage.gaps(&rows);
    for gap in &gaps {
        eprintln!("{gap}");
    }
    if !gaps.is_empty() {
        bail!(
            "{} gaps between the table of attacks and its committed results: play the rows \
             (cargo xtask test --full), then cargo xtask coverage",
            gaps.len()
        );
    }
    if read(page)? != coverage.page(&rows) {
        bail!("{page} is not what {data} says: cargo xtask coverage writes it anew");
    }
    Ok(())
}
