//! A daemon with `--policy-only` in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use std::{fs, io};

use serde_json::Value;
use tempfile::TempDir;
use vmward_tests::SEED;
use vmward_tests::audit::AuditLog;
use vmward_tests::wait;
use vmward_wire::client::Client;

/// Asks for a stop of the one domain.
pub(crate) const STOP: [&str; 5] = [
    "authorize",
    "--tool",
    "vm_stop",
    "--args",
    r#"{"identifier": "test"}"#,
];

const CALL_LIMIT: Duration = Duration::from_secs(10);

/// The daemon and its folder.
pub(crate) struct Host {
    dir: TempDir,
    child: Option<Child>,
}

/// A binary of this workspace, built beside this test.
fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a file");
    let path = test
        .parent()
        .and_then(Path::parent)
        .expect("target/debug/deps")
        .join(name);
    assert!(
        path.exists(),
        "{} is not built; run `cargo xtask build`",
        path.display()
    );
    path
}

impl Host {
    /// Starts a daemon with the seed's policy.
    #[track_caller]
    pub(crate) fn start() -> Self {
        Self::start_with("test:///default", SEED)
    }

    /// Starts a daemon that watches no hypervisor: its policy alone decides.
    #[track_caller]
    pub(crate) fn start_without_libvirt() -> Self {
        Self::start_with("none", SEED)
    }

    /// The same with a policy of the test's own.
    #[track_caller]
    pub(crate) fn start_without_libvirt_under(policy: &str) -> Self {
        Self::start_with("none", policy)
    }

    #[track_caller]
    fn start_with(libvirt_uri: &str, policy: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let at = dir.path().display();
        fs::write(dir.path().join("policy.json"), policy).expect("the folder is ours");
        fs::write(
            dir.path().join("vmward.toml"),
            format!(
                "policy = \"{at}/policy.json\"\nstate_dir = \"{at}/state\"\nlog_dir = \"{at}/log\"\n\
                 run_dir = \"{at}/run\"\nlibvirt_uri = \"{libvirt_uri}\"\n"
            ),
        )
        .expect("the folder is ours");
        let mut host = Self { dir, child: None };
        host.start_again(&[]);
        host
    }

    /// Starts it again with the same state and waits until it knows its domain.
    #[track_caller]
    pub(crate) fn start_again(&mut self, env: &[(&str, &str)]) {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.path().join("vmwardd.log"))
            .expect("the folder is ours");
        let child = Command::new(binary("vmwardd"))
            .arg("--policy-only")
            .arg("--config")
            .arg(self.dir.path().join("vmward.toml"))
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be cloned"))
            .stderr(log)
            .spawn()
            .expect("vmwardd is built");
        self.child = Some(child);
        wait::until(
            "vmwardd to know its domain",
            Duration::from_secs(30),
            || {
                let child = self.child.as_mut()?;
                if let Some(status) = child.try_wait().expect("it is our child") {
                    panic!("vmwardd ended ({status}):\n{}", self.log());
                }
                let status = self.client()?.status().ok()?;
                status
                    .vms
                    .iter()
                    .any(|vm| vm.vm.name == "test")
                    .then_some(())
                    .or_else(|| (status.libvirt.uri == "none").then_some(()))
            },
        );
    }

    /// A connection, where the daemon answers.
    pub(crate) fn client(&self) -> Option<Client> {
        Client::connect(&self.socket(), CALL_LIMIT).ok()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("run/policy.sock")
    }

    /// The audit log, with the records of all that was answered before.
    pub(crate) fn audit(&self) -> AuditLog {
        // A living daemon has written them by the time it answers this.
        let _dead = self.client().map(|mut client| client.status());
        AuditLog::at(&self.dir.path().join("log/audit.jsonl"))
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("vmwardd.log")).unwrap_or_default()
    }

    /// The daemon's folder.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// `vmward ARGS` against this daemon, not started yet.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary("vmward"));
        command.arg("--socket").arg(self.socket()).args(args);
        command
    }

    /// `vmward ARGS` against this daemon.
    pub(crate) fn vmward(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("vmward is built")
    }

    /// `vmward ARGS --json`, parsed.
    #[track_caller]
    pub(crate) fn vmward_json(&self, args: &[&str]) -> Value {
        let mut all = args.to_vec();
        all.push("--json");
        let output = self.vmward(&all);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
            panic!("{e}: {output:?}");
        })
    }

    /// Ends it with SIGKILL.
    #[track_caller]
    pub(crate) fn kill_9(&mut self) -> io::Result<()> {
        let mut child = self.child.take().expect("it runs");
        let killed = child.kill();
        child.wait().map(drop).and(killed)
    }

    /// Hands the process over to the test, which ends it.
    #[track_caller]
    pub(crate) fn take_child(&mut self) -> Child {
        self.child.take().expect("it runs")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill_9().expect("our own child can be killed");
        }
    }
}
