//! `cargo xtask ci`: what a change must pass, quick checks first, all of them reported.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::{build, paths, test, tidy};

#[derive(Args)]
pub(crate) struct CiArgs {
    #[command(flatten)]
    test: test::TestArgs,
}

pub(crate) fn run(args: &CiArgs) -> Result<ExitCode> {
    let probes = build::probes()?;
    let mut failed = Vec::new();
    let mut check = |name: &'static str, result: Result<()>| {
        eprintln!(
            "=== {name}: {}",
            if result.is_ok() { "ok" } else { "FAILED" }
        );
        if let Err(error) = result {
            eprintln!("{error:#}");
            failed.push(name);
        }
    };
    check("format", format(&probes));
    check(
        "lints",
        build::check(build::cargo("clippy", &probes).args([
            "--workspace",
            "--all-targets",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ])),
    );
    // Ordinary runs leave them out, and `--all-targets` with them.
    let kernel_tests = ["-p", "vmward-tests", "--test", "kernel", "--quiet"];
    check(
        "lints of the kernel tests",
        build::check(
            build::cargo("clippy", &probes)
                .args(kernel_tests)
                .args(["--", "-D", "warnings"]),
        ),
    );
    check("lints of the BPF programs", build::lint_probes());
    check("house rules", tidy::run());
    check("coverage of the attacks", test::check_coverage());
    let tests = test::run(&args.test)?;
    if failed.is_empty() {
        return Ok(tests);
    }
    eprintln!("error: failed: {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}

fn format(probes: &std::path::Path) -> Result<()> {
    build::check(build::cargo("fmt", probes).args(["--all", "--check"]))?;
    let bpf = paths::workspace().join("ebpf/vmward-probes");
    build::check(build::cargo("fmt", probes).arg("--check").current_dir(bpf))
}
