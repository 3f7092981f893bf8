//! bpf-linker, built against Debian's LLVM.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result};

use super::LONG;
use crate::{paths, step::step};

const VERSION: &str = "0.13.0";

/// Returns the folder with `bpf-linker` in it.
pub(super) fn ensure() -> Result<PathBuf> {
    let root = paths::cache()?.join(format!("bpf-linker-{VERSION}"));
    let bin = root.join("bin");
    if !bin.join("bpf-linker").exists() {
        step(&format!("bpf-linker {VERSION}"), |step| {
            step.say("compiling it takes about 75 s");
            let mut cargo = Command::new("cargo");
            cargo
                .args(["install", "bpf-linker", "--version", VERSION, "--locked"])
                .args(["--no-default-features", "--features", "llvm-22", "--root"])
                .arg(&root)
                .env("LLVM_PREFIX", "/usr/lib/llvm-22")
                // The caller's target folder must not fill up with the linker's objects.
                .env("CARGO_TARGET_DIR", root.join("target"));
            step.run(cargo, LONG)
                .context("bpf-linker cannot be fetched and built")?;
            std::fs::remove_dir_all(root.join("target")).context("Failed to remove the objects")
        })?;
    }
    Ok(bin)
}
