//! Starts the daemon in a folder of its own and talks to it.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Group, Pid, getegid};
use serde_json::{Value, json};
use vmward_core::audit::chain::Verifier;
use vmward_wire::v1::{AuthorizeResult, StatusResult};

/// The policy that the project started from.
pub(crate) const SEED: &str = include_str!("../../../vmward-core/tests/data/policy.json");

const PROGRAM: &str = env!("CARGO_BIN_EXE_vmwardd");
const DEADLINE: Duration = Duration::from_secs(30);

/// What differs between the tests.
pub(crate) struct Options {
    pub(crate) libvirt_uri: &'static str,
    /// More lines of the configuration.
    pub(crate) more: String,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            libvirt_uri: "test:///default",
            more: String::new(),
        }
    }
}

/// A running daemon. Killed when dropped.
pub(crate) struct Daemon {
    dir: tempfile::TempDir,
    config: String,
    child: Child,
}

impl Daemon {
    #[track_caller]
    pub(crate) fn start(options: &Options) -> Daemon {
        Daemon::start_program(Path::new(PROGRAM), options)
    }

    /// The same with a copy of the program somewhere else.
    #[track_caller]
    pub(crate) fn start_program(program: &Path, options: &Options) -> Daemon {
        let mut daemon = Self::start_answering(program, options);
        daemon.wait_ready();
        daemon
    }

    /// Answers, and may not be ready.
    #[track_caller]
    pub(crate) fn start_answering(program: &Path, options: &Options) -> Daemon {
        let dir = tempfile::tempdir().unwrap();
        let config = write_config(dir.path(), options);
        let child = spawn(program, dir.path(), &config, &[]);
        let mut daemon = Daemon { dir, config, child };
        daemon.wait_answering();
        daemon
    }

    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.restart_with(&[]);
    }

    #[track_caller]
    pub(crate) fn restart_with(&mut self, env: &[(&str, &str)]) {
        self.child = spawn(Path::new(PROGRAM), self.dir.path(), &self.config, env);
        self.wait_ready();
    }

    #[track_caller]
    fn wait_answering(&mut self) {
        let start = Instant::now();
        while self.try_status().is_none() {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("vmwardd ended with {status}:\n{}", self.log());
            }
            assert!(
                start.elapsed() < DEADLINE,
                "vmwardd is not ready:\n{}",
                self.log()
            );
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    #[track_caller]
    fn wait_ready(&mut self) {
        self.wait_answering();
        // Answering comes before ready; a look at libvirt has been made then.
        wait_until("libvirt was looked at", || {
            self.try_status()
                .is_some_and(|status| status.libvirt.error.as_deref() != Some("not connected yet"))
        });
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir().join("run/policy.sock")
    }

    pub(crate) fn admin_socket(&self) -> PathBuf {
        self.dir().join("run/admin.sock")
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir().join("vmwardd.log")).unwrap()
    }

    /// As `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(
            Pid::from_raw(i32::try_from(self.child.id()).unwrap()),
            signal,
        )
        .unwrap();
    }

    /// Stops it as systemd would; its exit status.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.wait_exit()
    }

    #[track_caller]
    pub(crate) fn wait_exit(&mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(
                start.elapsed() < DEADLINE,
                "vmwardd does not end:\n{}",
                self.log()
            );
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    pub(crate) fn run_another(&self, flags: &[&str]) -> Output {
        self.run_another_with(flags, &[])
    }

    pub(crate) fn run_another_with(&self, flags: &[&str], env: &[(&str, &str)]) -> Output {
        command(&["--config", &self.config])
            .args(flags)
            .envs(env.iter().copied())
            .output()
            .unwrap()
    }

    /// One with folders of its own, but for the log's.
    pub(crate) fn run_another_into_its_log(&self) -> Output {
        let dir = tempfile::tempdir().unwrap();
        let usual = std::fs::read_to_string(&self.config).unwrap();
        let is_shared =
            |line: &&str| !line.starts_with("state-dir") && !line.starts_with("run-dir");
        let shared: Vec<_> = usual.lines().filter(is_shared).collect();
        let place = dir.path().display();
        let shared = shared.join("\n");
        let text = format!("state-dir = '{place}/state'\nrun-dir = '{place}/run'\n{shared}");
        let config = dir.path().join("vmward.toml");
        std::fs::write(&config, text).unwrap();
        let config = config.to_str().unwrap();
        command(&["--config", config, "--policy-only"])
            .output()
            .unwrap()
    }

    pub(crate) fn write_policy(&self, text: &str) {
        write_policy(self.dir(), text);
    }

    #[track_caller]
    pub(crate) fn send_line(&self, line: &[u8]) -> Value {
        self.try_send(line).expect("an answer")
    }

    pub(crate) fn try_send(&self, line: &[u8]) -> Option<Value> {
        Self::try_send_to(&self.socket(), line)
    }

    fn try_send_to(socket: &Path, line: &[u8]) -> Option<Value> {
        let mut stream = UnixStream::connect(socket).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        // The daemon may refuse a long line before all of it is written.
        let _cut_short = stream
            .write_all(line)
            .and_then(|()| stream.write_all(b"\n"));
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).ok()?;
        serde_json::from_str(&answer).ok()
    }

    #[track_caller]
    pub(crate) fn call_raw(&self, method: &str, params: &Value) -> Value {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        self.send_line(request.to_string().as_bytes())
    }

    #[track_caller]
    pub(crate) fn call_at(socket: &Path, method: &str, params: &Value) -> Value {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        Self::try_send_to(socket, request.to_string().as_bytes()).expect("an answer")
    }

    #[track_caller]
    pub(crate) fn authorize(&self, params: &Value) -> AuthorizeResult {
        let answer = self.call_raw("authorize", params);
        serde_json::from_value(answer["result"].clone())
            .unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// The agent's `vm_stop` on the test driver's domain.
    #[track_caller]
    pub(crate) fn stop_test(&self) -> AuthorizeResult {
        self.authorize(&json!({
            "tool": "vm_stop", "arguments": {"identifier": "test"}, "agent": "tester"
        }))
    }

    pub(crate) fn try_status(&self) -> Option<StatusResult> {
        let request = br#"{"jsonrpc":"2.0","id":1,"method":"status"}"#;
        serde_json::from_value(self.try_send(request)?["result"].clone()).ok()
    }

    #[track_caller]
    pub(crate) fn status(&self) -> StatusResult {
        self.try_status().expect("a status")
    }

    /// Every record of what was answered before.
    pub(crate) fn audit(&self) -> Vec<Value> {
        // A living daemon has written them by the time it answers this.
        let _dead = self.try_status();
        std::fs::read_to_string(self.dir().join("log/audit.jsonl"))
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    pub(crate) fn decisions(&self) -> Vec<Value> {
        let mut records = self.audit();
        records.retain(|record| record["kind"] == "decision");
        records
    }

    #[track_caller]
    pub(crate) fn verify_audit(&self) {
        let text = std::fs::read_to_string(self.dir().join("log/audit.jsonl")).unwrap();
        let mut verifier = Verifier::new();
        for line in text.lines() {
            verifier.check_line(line).unwrap();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// Writes configuration and the seed's policy; returns the configuration's path.
pub(crate) fn write_config(dir: &Path, options: &Options) -> String {
    write_policy(dir, SEED);
    let group = Group::from_gid(getegid()).unwrap().unwrap().name;
    let at = |name: &str| dir.join(name).display().to_string();
    let text = format!(
        "policy = {:?}\nstate-dir = {:?}\nlog-dir = {:?}\nrun-dir = {:?}\npin-dir = {:?}\n\
         libvirt-uri = {:?}\nlibvirt-run-dir = {:?}\nsocket-group = {group:?}\n{}",
        at("policy.json"),
        at("state"),
        at("log"),
        at("run"),
        at("pins"),
        options.libvirt_uri,
        at("libvirt"),
        options.more,
    );
    let path = at("vmward.toml");
    std::fs::write(&path, text).unwrap();
    path
}

fn write_policy(dir: &Path, text: &str) {
    let new = dir.join("policy.new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, dir.join("policy.json")).unwrap();
}

fn command(flags: &[&str]) -> Command {
    command_of(Path::new(PROGRAM), flags)
}

fn command_of(program: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(flags)
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::null());
    command
}

fn spawn(program: &Path, dir: &Path, config: &str, env: &[(&str, &str)]) -> Child {
    let log = File::options()
        .create(true)
        .append(true)
        .open(dir.join("vmwardd.log"))
        .unwrap();
    command_of(program, &["--policy-only", "--config", config])
        .envs(env.iter().copied())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// The exit status of a daemon that ends by itself.
pub(crate) fn exit_status(dir: &Path, flags: &[&str]) -> Option<i32> {
    output(dir, flags).status.code()
}

pub(crate) fn output(dir: &Path, flags: &[&str]) -> Output {
    command(flags).current_dir(dir).output().unwrap()
}

/// Waits for a state, with a deadline.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut reached: impl FnMut() -> bool) {
    let start = Instant::now();
    while !reached() {
        assert!(start.elapsed() < DEADLINE, "waited too long until {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
