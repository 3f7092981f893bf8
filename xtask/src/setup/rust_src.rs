//! The sources of `core`, from which cargo builds `core` for the BPF target.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::{LONG, apt::PrivateApt, fresh, publish};
use crate::{process, step::step};

/// rustup retries for minutes where it cannot reach its server.
const RUSTUP_LIMIT: Duration = Duration::from_secs(20);

pub(super) fn ensure() -> Result<()> {
    let place = place()?;
    if place.join("core/src/lib.rs").exists() {
        return Ok(());
    }
    step("Sources of core for the BPF target", |step| {
        let mut rustup = Command::new("rustup");
        rustup.args(["component", "add", "rust-src"]);
        if step.run(rustup, RUSTUP_LIMIT).is_ok() && place.join("core/src/lib.rs").exists() {
            return Ok(());
        }
        step.say("rustup could not provide rust-src, taking Debian's");
        from_debian(step, &place)
    })
}

fn place() -> Result<PathBuf> {
    let sysroot = process::output(Command::new("rustc").args(["--print", "sysroot"]))?;
    Ok(Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library"))
}

fn from_debian(step: &crate::step::Step, place: &Path) -> Result<()> {
    let rustc = process::output(Command::new("rustc").arg("-V"))?;
    let release = rustc
        .split_whitespace()
        .nth(1)
        .context("rustc -V printed no version")?;
    let apt = PrivateApt::open(step)?;
    let wanted = format!("{release}+");
    let Some(version) = apt
        .versions("rust-src")?
        .into_iter()
        .find(|v| v.starts_with(&wanted))
    else {
        bail!("Debian has no rust-src {release}; `rustup component add rust-src` is the other way");
    };
    let work = fresh("rust-src")?;
    apt.unpack(step, &format!("rust-src={version}"), &work)?;
    let library = work.join(format!("usr/src/rustc-{release}/library"));
    if !library.join("core/src/lib.rs").exists() {
        bail!("Debian's rust-src {version} has no usr/src/rustc-{release}/library");
    }
    // The toolchain may lie on another file system: copy first, then rename, so
    // that a copy that was cut short is never taken for the sources.
    let copied = place.with_extension("new");
    std::fs::create_dir_all(&copied)
        .with_context(|| format!("Failed to create {}", copied.display()))?;
    let mut copy = Command::new("cp");
    copy.arg("-a").arg(library.join(".")).arg(&copied);
    step.run(copy, LONG)?;
    publish(&copied, place)?;
    std::fs::remove_dir_all(&work).with_context(|| format!("Failed to remove {}", work.display()))
}
