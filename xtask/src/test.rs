//! `cargo xtask test`: every test, on the host and in the VM, and one table at the end.

mod count;
mod coverage;
mod passed;
mod plan;
mod vms;

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{build, paths, setup::Kernel, sources};
use count::Count;
pub(crate) use coverage::{CoverageArgs, check as check_coverage, run as coverage};
use passed::Passed;
use plan::Choice;
use vms::Vms;

/// The one binary of kernel tests, in the package of that name.
const PACKAGE: &str = "vmward-tests";
const KERNEL_TESTS: &str = "kernel";
/// The daemon of the tests can be told to die at a step; the shipped one cannot.
const CRASH_POINTS: [&str; 2] = ["--features", "vmwardd/crash-points"];
/// Seconds that the parts of one VM run may take.
const VM_LIMIT: u64 = 3600;
/// The same where every row is played in every way.
const FULL_VM_LIMIT: u64 = 6 * 3600;

#[derive(Args)]
pub(crate) struct TestArgs {
    /// Only the tests that run on this machine itself
    #[arg(long)]
    no_vm: bool,
    /// Only the tests that run in the VM
    #[arg(long, conflicts_with = "no_vm")]
    only_vm: bool,
    #[command(flatten)]
    choice: Choice,
}

struct Suite {
    name: String,
    count: Count,
    seconds: f32,
    broken: Option<String>,
}

pub(crate) fn run(args: &TestArgs) -> Result<ExitCode> {
    let choice = &args.choice;
    let runs = if args.no_vm {
        Vec::new()
    } else {
        choice.runs()?
    };
    if choice.list {
        let mut out = std::io::stdout().lock();
        for run in &runs {
            // Whoever reads the list may have read enough.
            if writeln!(out, "{}", run.name).is_err() {
                break;
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    // Everything that can be missing is got first: a test run does not stop half-way for it.
    let probes = build::probes()?;
    for kernel in Kernel::ALL {
        if runs.iter().any(|run| run.kernel == *kernel) {
            crate::setup::for_vm(*kernel)?;
        }
    }
    // The end-to-end tests start the real binaries, which `cargo test` alone does not build.
    build::check(build::cargo("build", &probes).args(CRASH_POINTS))?;
    let mut suites = Vec::new();
    if !args.only_vm && !choice.is_narrowed() {
        suites.push(suite("host", || host(&probes)));
    }
    if !runs.is_empty() {
        let binary = kernel_tests(&probes)?;
        let mut passed = None;
        if choice.full {
            let file = paths::workspace().join(passed::FILE);
            passed = Some(Passed::open(file, sources::digest()?)?);
        }
        if !choice.is_narrowed() && !choice.resume {
            coverage::forget()?;
            passed.as_mut().map_or(Ok(()), Passed::forget)?;
        }
        let vms = Vms {
            binary: &binary,
            limit: if choice.full { FULL_VM_LIMIT } else { VM_LIMIT },
            resume: choice.resume,
            passed: passed.as_ref(),
        };
        suites.extend(vms.run_all(&runs));
    }
    Ok(summary(&suites))
}

fn suite(name: &str, work: impl FnOnce() -> Result<Count>) -> Suite {
    eprintln!("=== {name}");
    let start = Instant::now();
    let (count, broken) = match work() {
        Ok(count) if count.is_empty() => (Count::BROKEN, Some("no test ran".to_owned())),
        Ok(count) => (count, None),
        Err(error) => (Count::BROKEN, Some(format!("{error:#}"))),
    };
    if let Some(why) = &broken {
        eprintln!("{name}: {why}");
    }
    Suite {
        name: name.to_owned(),
        count,
        seconds: start.elapsed().as_secs_f32(),
        broken,
    }
}

fn host(probes: &Path) -> Result<Count> {
    let mut cargo = build::cargo("test", probes);
    cargo
        .args(["--workspace", "--no-fail-fast"])
        .args(CRASH_POINTS)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = cargo.spawn().context("Failed to run cargo test")?;
    let stdout = child.stdout.take().context("cargo test has no output")?;
    let mut count = Count::default();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.context("Failed to read the output of cargo test")?;
        let mut out = std::io::stdout().lock();
        out.write_all(&line).and_then(|()| out.write_all(b"\n"))?;
        count.add_line(&String::from_utf8_lossy(&line));
    }
    let status = child.wait()?;
    // A test program that does not compile or dies reports no failed test.
    if !status.success() && count.failed == 0 {
        bail!("cargo test failed ({status}) without naming a failed test");
    }
    Ok(count)
}

/// Builds the kernel tests; returns their program.
fn kernel_tests(probes: &Path) -> Result<PathBuf> {
    let mut cargo = build::cargo("test", probes);
    cargo
        .args([
            "-p",
            PACKAGE,
            "--test",
            KERNEL_TESTS,
            "--no-run",
            "--message-format=json",
        ])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = cargo
        .output()
        .context("Failed to run cargo test --no-run")?;
    if !output.status.success() {
        bail!("the kernel tests do not build ({})", output.status);
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == KERNEL_TESTS)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo built no program for the kernel tests")
}

/// The table, and as the very last line the sums.
fn summary(suites: &[Suite]) -> ExitCode {
    println!();
    let mut sum = Count::default();
    for Suite {
        name,
        count,
        seconds,
        broken,
    } in suites
    {
        sum += *count;
        let why = broken
            .as_ref()
            .map(|why| format!("  {}", why.lines().last().unwrap_or("")));
        println!(
            "{name:<26} {count}  ({seconds:.0} s){}",
            why.unwrap_or_default()
        );
    }
    println!("{sum}");
    if sum.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
