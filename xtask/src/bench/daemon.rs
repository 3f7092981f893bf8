//! A release vmwardd in a folder of its own.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::caller::Caller;
use crate::wait;

const START_LIMIT: Duration = Duration::from_secs(30);
/// Loading every program takes its time under emulation.
const LOAD_LIMIT: Duration = Duration::from_mins(5);
/// Where its maps are pinned.
const PINS: &str = "/sys/fs/bpf/vmward";

/// A process of ours that ends with the bench, whatever way it ends.
pub(super) struct Killed(pub(super) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        if self.0.kill().is_ok() {
            drop(self.0.wait());
        }
    }
}

/// Resident memory in KiB.
pub(super) struct Memory {
    pub(super) all: u64,
    /// What belongs to the process alone.
    pub(super) own: u64,
    /// Pages of the binary and the libraries, which the system can drop.
    pub(super) files: u64,
}

/// What the daemon is started with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Without its kernel side, on any machine.
    PolicyOnly,
    /// With all of it: in the test VM.
    Kernel,
}

/// The daemon, its folder, its socket.
pub(super) struct Daemon {
    process: Killed,
    dir: PathBuf,
}

impl Daemon {
    /// Starts it without its kernel side and waits until it answers.
    pub(super) fn start(
        binary: &Path,
        dir: &Path,
        policy: &Value,
        libvirt_uri: &str,
    ) -> Result<Self> {
        Self::start_with(binary, dir, policy, libvirt_uri, Side::PolicyOnly)
    }

    /// Starts it and waits until it answers.
    pub(super) fn start_with(
        binary: &Path,
        dir: &Path,
        policy: &Value,
        libvirt_uri: &str,
        side: Side,
    ) -> Result<Self> {
        let (flags, pins, limit): (&[&str], _, _) = match side {
            Side::PolicyOnly => (&["--policy-only"], dir.join("pins"), START_LIMIT),
            Side::Kernel => (&[], PathBuf::from(PINS), LOAD_LIMIT),
        };
        fs::create_dir_all(dir)?;
        let at = |name: &str| dir.join(name).display().to_string();
        fs::write(dir.join("policy.json"), policy.to_string())?;
        let config = format!(
            "policy = {:?}\nstate-dir = {:?}\nlog-dir = {:?}\nrun-dir = {:?}\npin-dir = {:?}\n\
             libvirt-uri = {libvirt_uri:?}\nlibvirt-run-dir = {:?}\nsocket-group = \"root\"\n",
            at("policy.json"),
            at("state"),
            at("log"),
            at("run"),
            pins.display().to_string(),
            at("libvirt"),
        );
        fs::write(dir.join("vmward.toml"), config)?;
        let log = File::create(dir.join("vmwardd.log"))?;
        let child = Command::new(binary)
            .args(flags)
            .arg("--config")
            .arg(dir.join("vmward.toml"))
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("Failed to start {}", binary.display()))?;
        let mut daemon = Self {
            process: Killed(child),
            dir: dir.to_owned(),
        };
        wait::until("vmwardd to answer", limit, || {
            if let Some(status) = daemon.process.0.try_wait()? {
                let log = fs::read_to_string(daemon.dir.join("vmwardd.log")).unwrap_or_default();
                bail!("vmwardd ended ({status}):\n{log}");
            }
            Ok(daemon.status().ok())
        })?;
        Ok(daemon)
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.dir.join("run/policy.sock")
    }

    /// The journal's lines, as many as there are now.
    pub(super) fn journal(&self) -> Result<Vec<u8>> {
        let path = self.dir.join("state/journal.jsonl");
        let mut lines =
            fs::read(&path).with_context(|| format!("Failed to read {}", path.display()))?;
        // Behind them is room for more.
        lines.truncate(
            lines
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |last| last + 1),
        );
        Ok(lines)
    }

    /// The result of one call.
    pub(super) fn call(&self, request: &[u8]) -> Result<Value> {
        let mut caller = Caller::connect(&self.socket(), request)?;
        result(caller.ask()?)
    }

    pub(super) fn status(&self) -> Result<Value> {
        self.call(&request("status", &json!({})))
    }

    /// Resident memory in KiB.
    pub(super) fn memory_kib(&self) -> Result<Memory> {
        Memory::of(self.process.0.id().into())
    }
}

impl Memory {
    /// What this process has now.
    pub(super) fn of(pid: u64) -> Result<Self> {
        let path = format!("/proc/{pid}/status");
        let status = fs::read_to_string(&path).with_context(|| format!("Failed to read {path}"))?;
        let field = |name: &str| -> Result<u64> {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name)?.split_whitespace().next())
                .with_context(|| format!("{path} has no {name}"))?
                .parse()
                .with_context(|| format!("{name} in {path} is no number"))
        };
        Ok(Self {
            all: field("VmRSS:")?,
            own: field("RssAnon:")?,
            files: field("RssFile:")?,
        })
    }
}

/// A request line.
pub(super) fn request(method: &str, params: &Value) -> Vec<u8> {
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    format!("{request}\n").into_bytes()
}

/// What an answer line holds.
pub(super) fn result(answer: &[u8]) -> Result<Value> {
    let mut answer: Value =
        serde_json::from_slice(answer).context("the daemon answered with something else")?;
    match answer.get_mut("result") {
        Some(result) => Ok(result.take()),
        None => bail!("the daemon answered with an error: {answer}"),
    }
}
