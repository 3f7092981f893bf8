//! `cargo xtask fuzz`: millions of inputs for everything that reads what others
//! wrote.
//!
//! libFuzzer needs nothing of a nightly compiler but a pass that counts edges,
//! and that is a plain code generation flag.

use std::{fs, process::Command};

use anyhow::{Context, Result};
use clap::Args;

use crate::{build, paths};

/// Count edges and watch comparisons, so that the fuzzer learns from both.
const FLAGS: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];
/// Overflow must be found, not wrapped.
const CHECKS: [&str; 2] = ["-Coverflow-checks=on", "-Cdebug-assertions=on"];
const TARGETS: [&str; 4] = ["frame", "policy", "predicate", "journal"];

#[derive(Args)]
pub(crate) struct FuzzArgs {
    /// Only these
    #[arg(value_parser = TARGETS)]
    targets: Vec<String>,
    /// How long each may take
    #[arg(long, default_value_t = 600)]
    seconds: u32,
    /// Put what is new in coverage into the committed corpus
    #[arg(long)]
    keep: bool,
}

pub(crate) fn run(args: &FuzzArgs) -> Result<()> {
    let package = paths::workspace().join("tests/fuzz");
    let target = paths::target().join("fuzz");
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let flags: Vec<&str> = FLAGS.into_iter().chain(CHECKS).collect();
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--release", "--features", "libfuzzer", "--bins"])
        // Named, so that the flags are not for build scripts.
        .args(["--target", &triple, "--target-dir"])
        .arg(&target)
        .current_dir(&package)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_PANIC", "unwind")
        .env_remove("CARGO_MANIFEST_DIR");
    build::check(&mut cargo).context("the fuzz targets do not build")?;
    let all = TARGETS.iter().map(ToString::to_string).collect();
    let chosen = if args.targets.is_empty() {
        all
    } else {
        args.targets.clone()
    };
    for name in chosen {
        let corpus = package.join("corpus").join(&name);
        // New inputs go into the first folder; the committed ones are only read.
        let found = target.join("found").join(&name);
        let failures = target.join("failures").join(&name);
        fs::create_dir_all(&found)?;
        fs::create_dir_all(&failures)?;
        let program = target
            .join(&triple)
            .join("release")
            .join(format!("fuzz-{name}"));
        let mut fuzz = Command::new(&program);
        fuzz.arg(format!("-max_total_time={}", args.seconds))
            .arg(format!("-artifact_prefix={}/", failures.display()))
            .args([
                "-timeout=5",
                "-rss_limit_mb=1024",
                "-max_len=8192",
                "-print_final_stats=1",
            ])
            .arg(&found)
            .arg(&corpus);
        let failed = format!(
            "fuzz target {name}: the input is in {}; put it into {} once it is mended",
            failures.display(),
            corpus.display()
        );
        build::check(&mut fuzz).context(failed)?;
        if args.keep {
            let mut merge = Command::new(&program);
            merge
                .args(["-set_cover_merge=1", "-max_len=8192"])
                .arg(&corpus)
                .arg(&found);
            build::check(&mut merge)?;
        }
    }
    Ok(())
}
