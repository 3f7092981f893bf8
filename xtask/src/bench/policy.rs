//! `cargo xtask bench policy`: what a decision costs, beside what the least
//! server on a socket and the bare disk cost in the same run.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use super::{
    caller::Caller,
    daemon::{Daemon, Killed, Side, request, result},
    machine::Machine,
    memory,
    polkit::Polkit,
    report::{Budget, Report, Row},
    series::{self, Series, Subject},
};
use crate::{build, paths, wait};

const START_LIMIT: Duration = Duration::from_secs(10);
/// Calls before the first sample.
const WARM_UP: u32 = 200;
/// Callers at once in the series of durable allows.
const CROWDS: [usize; 3] = [1, 8, 32];

// design.md, section 9.
const DECISION_P50_MAX: f64 = 1.5;
const DECISION_P99_MAX: f64 = 5.0;
const DURABLE_P50_MAX: f64 = 1.3;
/// Group commit: so much more than a single caller must the largest crowd get.
const CROWD_GAIN_MIN: f64 = 4.0;

#[derive(Args)]
pub(crate) struct PolicyArgs {
    /// How long to measure, all series together
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Where journal and log lie; without it, cargo's target folder
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// A vmwardd that is built already, with vmward-inventory beside it
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &PolicyArgs) -> Result<ExitCode> {
    let binary = match &args.binary {
        Some(binary) => binary.clone(),
        None => release()?,
    };
    let parent = args.dir.clone().unwrap_or_else(paths::target);
    let disk = Folder::make(&parent)?;
    // Sockets want short paths, and polkitd, no longer root, must reach its own.
    let short = Folder::make(&env::temp_dir())?;
    let report = measure(
        &binary,
        &release_echo()?,
        &disk.0,
        &short.0,
        Duration::from_secs(args.seconds),
    )?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", report.text());
    }
    Ok(if report.all_met() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A folder that goes away at the end.
struct Folder(PathBuf);

impl Folder {
    fn make(parent: &Path) -> Result<Self> {
        let dir = parent.join(format!("vmward-bench-{}", std::process::id()));
        fs::create_dir_all(&dir).with_context(|| format!("Failed to create {}", dir.display()))?;
        Ok(Self(dir))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} is left behind: {error}", self.0.display());
        }
    }
}

pub(super) fn release() -> Result<PathBuf> {
    let probes = build::probes()?;
    build::check(build::cargo("build", &probes).args(["--release", "--quiet", "-p", "vmwardd"]))?;
    Ok(paths::target().join("release/vmwardd"))
}

/// This program built as the daemon is, since servers of its own stand beside it.
fn release_echo() -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    build::check(
        cargo
            .args(["build", "--release", "--quiet", "-p", "xtask"])
            .current_dir(paths::workspace())
            .env_remove("CARGO_MANIFEST_DIR"),
    )?;
    Ok(paths::target().join("release/xtask"))
}

/// What the callers ask, by name of the series.
struct Questions {
    denied: Vec<u8>,
    allowed: Vec<u8>,
    durable: Vec<u8>,
}

impl Questions {
    fn new() -> Self {
        let call = |tool: &str| {
            let vm = json!({"identifier": "web-1"});
            request(
                "authorize",
                &json!({"tool": tool, "arguments": vm, "agent": "bench", "reason": "a bench"}),
            )
        };
        Self {
            denied: call("vm_stop"),
            allowed: call("vm_status"),
            durable: call("vm_start"),
        }
    }
}

/// One tool whose limit is used up by the first call, one without a limit, and
/// one with a limit that is never reached.
fn policy() -> Value {
    let limits = |counter: &str, window: &str, max: u32| {
        json!({"limits": [
            {"counter": counter, "window": window, "max": max, "scope": "grant"}
        ]})
    };
    json!({"version": "1", "default": "deny", "tools": {
        "vm_stop": limits("stops", "day", 1),
        "vm_status": {},
        "vm_start": limits("starts", "minute", 1_000_000),
    }})
}

fn measure(
    binary: &Path,
    echoes: &Path,
    disk: &Path,
    short: &Path,
    time: Duration,
) -> Result<Report> {
    let echo = |name: &str, question: &[u8], answer: usize, flags: &[&str]| {
        echo(echoes, short, name, question, answer, flags)
    };
    let machine = Machine::look(disk)?;
    let daemon = Daemon::start(binary, &disk.join("daemon"), &policy(), "none")?;
    let questions = Questions::new();
    let entry = entry(&daemon, &questions.durable)?;
    let denied = answer(&daemon, &questions.denied, "deny")?;
    let allowed = answer(&daemon, &questions.allowed, "allow")?;
    let (echo_denied, _denied) = echo("denied", &questions.denied, denied, &[])?;
    let (echo_allowed, _allowed) = echo("allowed", &questions.allowed, allowed, &[])?;
    let (json_denied, _json) = echo("json", &questions.denied, denied, &["--json"])?;
    let crowd = |question: &[u8], size: usize| -> Result<Subject> {
        let callers = (0..size).map(|_| Caller::connect(&daemon.socket(), question));
        Ok(Subject::Callers(callers.collect::<Result<_>>()?))
    };
    let mut all = vec![
        Series::new("echo, bytes of a denial", echo_denied),
        Series::new("echo, and JSON in and out", json_denied),
        Series::new("denied", crowd(&questions.denied, 1)?),
        Series::new("echo, bytes of an allow", echo_allowed),
        Series::new("allowed, no limit", crowd(&questions.allowed, 1)?),
        Series::new("bare fdatasync", bare_sync(disk, entry)?),
    ];
    for size in CROWDS {
        let name = format!("durable allow, callers: {size}");
        all.push(Series::new(name, crowd(&questions.durable, size)?));
    }
    let mut skipped = Vec::new();
    match Polkit::start(&short.join("polkit")) {
        Ok(polkit) => {
            let subject = Subject::Polkit(Box::new(polkit));
            all.push(Series::new("polkit CheckAuthorization", subject));
        }
        Err(error) => skipped.push(format!("polkit: {error:#}")),
    }
    series::run(&mut all, time)?;
    let mut budgets = budgets(&all)?;
    let mut beside = Vec::new();
    drop(daemon);
    match memory::measure(binary, &disk.join("memory"), Side::PolicyOnly) {
        Ok(memories) => {
            budgets.extend(memories.budgets);
            beside.push(memories.beside);
            skipped.extend(memories.short);
        }
        Err(error) => skipped.push(format!("memory: {error:#}")),
    }
    Ok(Report {
        machine,
        series: all.iter().map(Row::from).collect(),
        budgets,
        beside,
        skipped,
    })
}

fn budgets(all: &[Series]) -> Result<Vec<Budget>> {
    let find = |name: &str| {
        all.iter()
            .find(|series| series.name.starts_with(name))
            .with_context(|| format!("there is no series {name:?}"))
    };
    let mut budgets = Vec::new();
    for (name, bare) in [
        ("denied", "echo, bytes of a denial"),
        ("allowed, no limit", "echo, bytes of an allow"),
    ] {
        for (percent, max) in [(50, DECISION_P50_MAX), (99, DECISION_P99_MAX)] {
            let ratio = find(name)?.percentile_us(percent) / find(bare)?.percentile_us(percent);
            let what = format!("{name}: p{percent} to that of a bare echo");
            budgets.push(Budget::at_most(what, ratio, max, "x"));
        }
    }
    let single = find("durable allow, callers: 1")?;
    let ratio = single.percentile_us(50) / find("bare fdatasync")?.percentile_us(50);
    budgets.push(Budget::at_most(
        "durable allow: p50 to that of a bare fdatasync".to_owned(),
        ratio,
        DURABLE_P50_MAX,
        "x",
    ));
    let gain = find("durable allow, callers: 32")?.per_second() / single.per_second();
    budgets.push(Budget::at_least(
        "durable allow: 32 callers' throughput to that of one".to_owned(),
        gain,
        CROWD_GAIN_MIN,
        "x",
    ));
    Ok(budgets)
}

/// The journal's bytes of one durable allow.
fn entry(daemon: &Daemon, question: &[u8]) -> Result<Vec<u8>> {
    let before = daemon.journal()?.len();
    let decision = daemon.call(question)?;
    if decision["decision"] != "allow" {
        bail!("the durable call was not allowed: {decision}");
    }
    let after = daemon.journal()?;
    after
        .get(before..)
        .filter(|entry| !entry.is_empty())
        .map(<[u8]>::to_vec)
        .context("a durable allow left nothing in the journal")
}

/// Warms up, and returns the length of the answer once it is `expected`.
fn answer(daemon: &Daemon, question: &[u8], expected: &str) -> Result<usize> {
    let mut caller = Caller::connect(&daemon.socket(), question)?;
    for _ in 0..WARM_UP {
        caller.ask()?;
    }
    let answer = caller.ask()?;
    let len = answer.len();
    let decision = result(answer)?;
    if decision["decision"] != expected {
        bail!("{expected} was expected: {decision}");
    }
    Ok(len)
}

fn echo(
    program: &Path,
    dir: &Path,
    name: &str,
    question: &[u8],
    answer: usize,
    flags: &[&str],
) -> Result<(Subject, Killed)> {
    let socket = dir.join(format!("{name}.sock"));
    let server = Command::new(program)
        .args(["bench", "echo", "--socket"])
        .arg(&socket)
        .args(["--answer", &answer.to_string()])
        .args(flags)
        .stdin(Stdio::null())
        .spawn()
        .context("Failed to start the echo")?;
    let server = Killed(server);
    let mut caller = wait::until("the echo", START_LIMIT, || {
        Ok(Caller::connect(&socket, question).ok())
    })?;
    for _ in 0..WARM_UP {
        caller.ask()?;
    }
    Ok((Subject::Callers(vec![caller]), server))
}

fn bare_sync(dir: &Path, entry: Vec<u8>) -> Result<Subject> {
    let path = dir.join("bare");
    let file = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path)
        .with_context(|| format!("Failed to open {}", path.display()))?;
    Ok(Subject::Sync(file, entry))
}
