//! `cargo xtask test`: every test, on the host and in the VM, and one table at the end.

mod count;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    build,
    setup::Kernel,
    vm::{self, Mode, VmArgs},
};
use count::Count;

/// The one binary of kernel tests, in the package of that name.
const PACKAGE: &str = "vmward-tests";
const KERNEL_TESTS: &str = "kernel";
/// The daemon of the tests can be told to die at a step; the shipped one cannot.
const CRASH_POINTS: [&str; 2] = ["--features", "vmwardd/crash-points"];
/// Seconds that the kernel tests may take on one kernel.
const KERNEL_LIMIT: u64 = 2400;

/// What every kernel must do, in one line: a `kill -9` by root is refused and the guest lives on.
const SMOKE: &str = r#"
pid=$(cat /run/libvirt/qemu/web-1.pid) || exit 1
if words=$(LC_ALL=C kill -9 "$pid" 2>&1); then
    echo "kill -9 of web-1 was not refused" >&2
    exit 1
fi
case $words in
    *"Operation not permitted"*) echo "refused: $words" ;;
    *) echo "kill -9 of web-1 failed, but not with EPERM: $words" >&2; exit 1 ;;
esac
xtask guest wait-ticks web-1
"#;

#[derive(Args)]
pub(crate) struct TestArgs {
    /// Kernels to test on; without it, all tests on 6.1 and 6.12 and a smoke test on 7.3
    #[arg(long = "kernel", value_name = "K")]
    kernels: Vec<Kernel>,
    /// Only the tests that run on this machine itself
    #[arg(long)]
    no_vm: bool,
    /// Only the tests that run in the VM
    #[arg(long, conflicts_with = "no_vm")]
    only_vm: bool,
}

struct Suite {
    name: String,
    count: Count,
    seconds: f32,
    broken: Option<String>,
}

pub(crate) fn run(args: &TestArgs) -> Result<ExitCode> {
    // Everything that can be missing is got first: a test run does not stop half-way for it.
    let probes = build::probes()?;
    let kernels = if args.kernels.is_empty() {
        Kernel::ALL
    } else {
        &args.kernels
    };
    if !args.no_vm {
        for kernel in kernels {
            crate::setup::for_vm(*kernel)?;
        }
    }
    // The end-to-end tests start the real binaries, which `cargo test` alone does not build.
    build::check(build::cargo("build", &probes).args(CRASH_POINTS))?;
    let mut suites = Vec::new();
    if !args.only_vm {
        suites.push(suite("host", || host(&probes)));
    }
    if !args.no_vm {
        vm_suites(&probes, kernels, &mut suites);
    }
    Ok(summary(&suites))
}

fn vm_suites(probes: &Path, kernels: &[Kernel], suites: &mut Vec<Suite>) {
    let tests = kernel_tests(probes);
    for kernel in kernels {
        let name = format!("kernel {kernel}");
        suites.push(match (&tests, kernel) {
            (_, Kernel::V7_3) => suite(&format!("{name} smoke"), || smoke(*kernel)),
            (Ok(binary), _) => suite(&name, || in_vm(*kernel, binary)),
            (Err(error), _) => suite(&name, || bail!("{error:#}")),
        });
    }
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

fn in_vm(kernel: Kernel, binary: &Path) -> Result<Count> {
    let command = vec![
        binary.display().to_string(),
        "--test-threads=1".into(),
        "--include-ignored".into(),
    ];
    let finished = vm::boot(&vm_args(kernel, Mode::Off, 0, command))?;
    let output = fs::read(finished.folder.join("stdout")).unwrap_or_default();
    let mut count = Count::default();
    String::from_utf8_lossy(&output)
        .lines()
        .for_each(|line| count.add_line(line));
    let code = finished.code;
    if code != 0 && count.failed == 0 {
        bail!("the kernel tests ended with status {code} without naming a failed test");
    }
    if count.failed == 0 {
        finished.clear()?;
    } else {
        eprintln!("the logs of the run are in {}", finished.folder.display());
    }
    Ok(count)
}

fn smoke(kernel: Kernel) -> Result<Count> {
    let command = ["bash", "-c", SMOKE].map(str::to_owned).to_vec();
    let finished = vm::boot(&vm_args(kernel, Mode::Enforce, 1, command))?;
    if finished.code == 0 {
        finished.clear()?;
        return Ok(Count {
            passed: 1,
            ..Count::default()
        });
    }
    eprintln!("the logs of the run are in {}", finished.folder.display());
    Ok(Count {
        failed: 1,
        ..Count::default()
    })
}

fn vm_args(kernel: Kernel, mode: Mode, domains: u32, command: Vec<String>) -> VmArgs {
    VmArgs {
        kernel,
        mode,
        domains,
        memory: "4G".to_owned(),
        timeout: KERNEL_LIMIT,
        verbose: true,
        no_build: true,
        keep: false,
        command,
    }
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
            "{name:<18} {count}  ({seconds:.0} s){}",
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
