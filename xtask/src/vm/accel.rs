//! KVM where it really boots a kernel, emulation elsewhere.
//!
//! `/dev/kvm` alone proves nothing: on nested machines QEMU may abort or the
//! guest hang. So one boot is tried, for a bounded time, and its outcome kept.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::tree;
use crate::{build, paths, setup::Machine, step::step, wait};

/// What is slow to emulate and missed by nobody is off: a fifth of the time.
pub(super) const CPU: &str = "max,la57=off,svm=off,avx=off,avx2=off";
const PROBE_LIMIT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Accel {
    Kvm,
    Emulation,
}

/// `VMWARD_ACCEL=kvm|tcg` decides; without it, a probe whose outcome is cached.
pub(super) fn choose(machine: &Machine) -> Result<Accel> {
    match std::env::var("VMWARD_ACCEL").as_deref() {
        Ok("kvm") => return Ok(Accel::Kvm),
        Ok("tcg") => return Ok(Accel::Emulation),
        Ok(other) => bail!("VMWARD_ACCEL is kvm or tcg, not {other:?}"),
        Err(_) => {}
    }
    if !Path::new("/dev/kvm").exists() {
        return Ok(Accel::Emulation);
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let note = paths::cache()?.join(format!("kvm-{}", release.trim()));
    let known = fs::read_to_string(&note).unwrap_or_default();
    let works = match known.trim() {
        "works" => true,
        "fails" => false,
        _ => {
            let works = step("Trying KVM", |step| {
                let works = probe(machine)?;
                step.say(if works {
                    "works"
                } else {
                    "does not boot a kernel: emulation it is"
                });
                Ok(works)
            })?;
            fs::write(&note, if works { "works" } else { "fails" })
                .with_context(|| format!("Failed to write {}", note.display()))?;
            works
        }
    };
    Ok(if works { Accel::Kvm } else { Accel::Emulation })
}

fn probe(machine: &Machine) -> Result<bool> {
    let mut child = vng(machine, Accel::Kvm)?
        .args(["--memory", "512M", "--", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("Failed to start virtme-ng")?;
    let ended = wait::until("the KVM probe", PROBE_LIMIT, || Ok(child.try_wait()?));
    if ended.is_err() {
        tree::kill(child.id());
        child.wait()?;
    }
    Ok(ended.is_ok_and(|status| status.success()))
}

/// The part of the command line that every boot has in common.
pub(super) fn vng(machine: &Machine, accel: Accel) -> Result<Command> {
    let Machine {
        vng,
        emulator,
        kernel,
    } = machine;
    let mut command = Command::new(vng.join("vng"));
    // vng calls its own programs by name.
    command.env("PATH", build::with_path(vng)?);
    command
        .arg("--run")
        .arg(&kernel.image)
        .arg("--qemu")
        .arg(&emulator.program)
        .arg(format!("--qemu-opts=-L {}", emulator.data.display()))
        .args(["--user", "root", "--force-9p"]);
    if accel == Accel::Emulation {
        command.arg("--disable-kvm");
        // With a thread for each processor QEMU 7.2 can run stale code while the
        // kernel patches itself (measured: `Oops: int3` in __schedule), and two
        // threads that wait for each other's locks were twice as slow besides.
        command.arg("--qemu-opts=-accel tcg,thread=single");
        command.arg(format!("--qemu-opts=-cpu {CPU}"));
    }
    Ok(command)
}
