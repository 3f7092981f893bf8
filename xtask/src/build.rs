//! `cargo xtask build`: the BPF programs, then the binaries that carry them.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{paths, setup};

#[derive(Args)]
pub(crate) struct BuildArgs {
    /// Optimised binaries
    #[arg(long)]
    pub(crate) release: bool,
}

pub(crate) fn run(args: &BuildArgs) -> Result<()> {
    let probes = probes()?;
    let mut build = cargo("build", &probes);
    if args.release {
        build.arg("--release");
    }
    check(&mut build)
}

/// A cargo command of the BPF programs.
fn probes_cargo(command: &str) -> Result<Command> {
    let linker = setup::for_build()?;
    let mut cargo = Command::new("cargo");
    cargo
        .arg(command)
        .args(["--quiet", "--release", "-Z", "build-std=core"])
        .args(["--target", "bpfel-unknown-none", "--target-dir"])
        .arg(paths::target().join("bpf"))
        .current_dir(paths::workspace().join("ebpf/vmward-probes"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("PATH", with_path(&linker)?)
        // Flags meant for this machine's processor mean nothing to BPF.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    Ok(cargo)
}

/// Lints the BPF programs.
pub(crate) fn lint_probes() -> Result<()> {
    check(probes_cargo("clippy")?.args(["--", "-D", "warnings"]))
}

/// Builds the BPF programs; returns the object that the daemon embeds.
pub(crate) fn probes() -> Result<PathBuf> {
    check(&mut probes_cargo("build")?).context("the BPF programs do not build")?;
    let target = paths::target().join("bpf");
    let built = target.join("bpfel-unknown-none/release/vmward-probes");
    let object = paths::target().join("probes/vmward-probes.o");
    fs::create_dir_all(paths::target().join("probes"))?;
    let new = fs::read(&built).with_context(|| format!("Failed to read {}", built.display()))?;
    // An untouched file keeps the daemon from being rebuilt.
    if !fs::read(&object).is_ok_and(|old| old == new) {
        fs::write(&object, new).with_context(|| format!("Failed to write {}", object.display()))?;
    }
    Ok(object)
}

/// A cargo command of the workspace, told where the BPF object is.
pub(crate) fn cargo(command: &str, probes: &Path) -> Command {
    let mut cargo = Command::new("cargo");
    cargo
        .arg(command)
        .current_dir(paths::workspace())
        .env("VMWARD_PROBES", probes)
        // Set by `cargo run` for this program, and not meant for its children.
        .env_remove("CARGO_MANIFEST_DIR");
    cargo
}

/// Runs a command whose output is the caller's to see.
pub(crate) fn check(command: &mut Command) -> Result<()> {
    let words: Vec<_> = command
        .get_args()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    let status = command.status().context("Failed to run cargo")?;
    if !status.success() {
        bail!("cargo {} failed ({status})", words.join(" "));
    }
    Ok(())
}

/// The search path with one more folder in front.
pub(crate) fn with_path(first: &Path) -> Result<std::ffi::OsString> {
    let old = env::var_os("PATH").unwrap_or_default();
    env::join_paths(std::iter::once(first.to_path_buf()).chain(env::split_paths(&old)))
        .with_context(|| format!("{} cannot stand in PATH", first.display()))
}
