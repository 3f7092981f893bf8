//! Inside the VM: makes a virtualisation host of a bare kernel.

use std::{
    fs,
    os::unix::net::{UnixDatagram, UnixStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::{
    guest,
    init::Phases,
    install,
    order::{Mode, Order},
};
use crate::{process, wait};

const POLICY: &str = include_str!("../../../daemon/vmward-core/tests/data/policy.json");
const LIBVIRTD_LIMIT: Duration = Duration::from_mins(3);
const TICK_LIMIT: Duration = Duration::from_mins(5);
const DAEMON_LIMIT: Duration = Duration::from_mins(5);
const LOGGER_CGROUP: &str = "/sys/fs/cgroup/virtlogd.service";
const LIBVIRT_SOCKET: &str = "/run/libvirt/libvirt-sock";
const NOTIFY_SOCKET: &str = "/run/vmward-vm.notify";

/// The file systems that the probes and libvirt rely on: type and place.
const MOUNTS: &[(&str, &str)] = &[
    ("bpf", "/sys/fs/bpf"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("securityfs", "/sys/kernel/security"),
    ("tracefs", "/sys/kernel/tracing"),
];

/// Brings everything up, in the order in which a host would.
pub(super) fn bare(order: &Order, run: &Path, phases: &mut Phases) -> Result<()> {
    phases.enter("mounting")?;
    mount()?;
    phases.enter("starting libvirtd")?;
    libvirtd(run)?;
    domains(order, run, phases)?;
    configure(order.mode)?;
    if order.mode == Mode::Off {
        return Ok(());
    }
    phases.enter("starting vmwardd")?;
    vmwardd(order, run)
}

/// The same where systemd has started what is installed, at the first boot; at
/// later ones it is all there, but for what is mounted.
pub(super) fn systemd(order: &Order, run: &Path, phases: &mut Phases) -> Result<()> {
    if run.join("boots").exists() {
        guest::house()?;
    } else {
        domains(order, run, phases)?;
    }
    if order.mode == Mode::Off {
        return configure(order.mode);
    }
    phases.enter("installing vmward")?;
    install::vmward(order, run)
}

fn domains(order: &Order, run: &Path, phases: &mut Phases) -> Result<()> {
    let names: Vec<_> = (1..=order.domains).map(|n| format!("web-{n}")).collect();
    guest::install(run)?;
    if !names.is_empty() {
        phases.enter("starting the domains")?;
        guest::start(&names)?;
        phases.enter("waiting for the guests to tick")?;
        for name in &names {
            guest::wait_ticks(name, 2, TICK_LIMIT)?;
        }
    }
    Ok(())
}

/// Leaves a service to itself, but for its remains: whoever kills it wants to see it gone.
fn adopt(mut child: Child) {
    thread::spawn(move || child.wait());
}

fn mount() -> Result<()> {
    let mounts = fs::read_to_string("/proc/mounts").context("Failed to read /proc/mounts")?;
    for (kind, place) in MOUNTS {
        let there = mounts.lines().any(|line| {
            let mut words = line.split_whitespace().skip(1);
            words.next() == Some(place) && words.next() == Some(kind)
        });
        if !there {
            process::output(Command::new("mount").args(["-t", kind, kind, place]))?;
        }
    }
    Ok(())
}

/// In a cgroup of its own, as a service manager would have it.
fn virtlogd() -> Result<()> {
    fs::create_dir_all(LOGGER_CGROUP).with_context(|| format!("Failed to make {LOGGER_CGROUP}"))?;
    let script = format!("echo $$ > {LOGGER_CGROUP}/cgroup.procs && exec /usr/sbin/virtlogd -d");
    process::output(Command::new("sh").args(["-c", &script])).map(|_| ())
}

fn libvirtd(run: &Path) -> Result<()> {
    for dir in ["/run/libvirt", "/var/log/libvirt", "/var/cache/libvirt"] {
        fs::create_dir_all(dir).with_context(|| format!("Failed to create {dir}"))?;
    }
    virtlogd()?;
    let log = fs::File::create(run.join("libvirtd.log"))?;
    let mut daemon = Command::new(run.join("bin/xtask"))
        .args(["vm-reaper", "/usr/sbin/libvirtd"])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("Failed to run libvirtd")?;
    wait::until("libvirtd's socket", LIBVIRTD_LIMIT, || {
        if let Some(status) = daemon.try_wait()? {
            bail!("libvirtd ended ({status})");
        }
        Ok(UnixStream::connect(LIBVIRT_SOCKET).ok())
    })?;
    adopt(daemon);
    Ok(())
}

fn configure(mode: Mode) -> Result<()> {
    let groups = fs::read_to_string("/etc/group").context("Failed to read /etc/group")?;
    if !groups.lines().any(|line| line.starts_with("vmward:")) {
        fs::write("/etc/group", format!("{groups}vmward:x:980:\n"))
            .context("Failed to add the group vmward")?;
    }
    configure_files(mode)
}

pub(super) fn configure_files(mode: Mode) -> Result<()> {
    fs::create_dir_all("/etc/vmward").context("Failed to create /etc/vmward")?;
    fs::write("/etc/vmward/policy.json", POLICY).context("Failed to write the policy")?;
    let mode = if mode == Mode::Observe {
        "observe"
    } else {
        "enforce"
    };
    fs::write("/etc/vmward/vmward.toml", format!("mode = \"{mode}\"\n"))
        .context("Failed to write vmward.toml")
}

fn vmwardd(order: &Order, run: &Path) -> Result<()> {
    let notify = UnixDatagram::bind(NOTIFY_SOCKET).context("Failed to bind the notify socket")?;
    notify.set_read_timeout(Some(Duration::from_millis(100)))?;
    let log = fs::File::create(run.join("vmwardd.log"))?;
    let mut daemon = Command::new(run.join("bin/vmwardd"))
        .env_clear()
        .envs(&order.env)
        .env("NOTIFY_SOCKET", NOTIFY_SOCKET)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("Failed to run vmwardd")?;
    wait::until("vmwardd to be ready", DAEMON_LIMIT, || {
        if let Some(status) = daemon.try_wait()? {
            bail!("vmwardd ended ({status})");
        }
        let mut message = [0; 4096];
        // A time-out is no message, and the next turn looks at the process again.
        let size = notify.recv(&mut message).unwrap_or(0);
        let text = String::from_utf8_lossy(message.get(..size).unwrap_or_default()).into_owned();
        Ok(text.lines().any(|line| line == "READY=1").then_some(()))
    })?;
    adopt(daemon);
    // It goes on telling; a service manager that had gone would be an error.
    notify.set_read_timeout(None)?;
    thread::spawn(move || {
        let mut message = [0; 4096];
        while notify.recv(&mut message).is_ok() {}
    });
    Ok(())
}
