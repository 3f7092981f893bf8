//! A vmwardd inside the test VM, started and stopped as systemd would.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use vmward_wire::client::Client;

use crate::audit::AuditLog;
use crate::guest::{run, text};
use crate::wait;

const PINS: &str = "/sys/fs/bpf/vmward";
const SOCKET: &str = vmward_wire::POLICY_SOCKET;
/// Longer than the daemon takes for any call.
const CALL_LIMIT: Duration = Duration::from_secs(20);
const READY_LIMIT: Duration = Duration::from_mins(10);

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// What the daemon does with a stop without lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Refuse it.
    Enforce,
    /// Let it through and say so.
    Observe,
}

/// A connection to the daemon's policy socket.
///
/// # Panics
/// When nobody listens there.
#[track_caller]
pub fn client() -> Client {
    Client::connect(Path::new(SOCKET), CALL_LIMIT).expect("the daemon runs")
}

/// A daemon with state and log of its own, and the seed's policy. Dropping it
/// ends it and takes its enforcement out of the kernel.
#[derive(Debug)]
pub struct Daemon {
    child: Option<Child>,
    dir: PathBuf,
    log: PathBuf,
}

impl Daemon {
    /// Starts a daemon and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready; shows its log.
    #[track_caller]
    pub fn start(mode: Mode) -> Self {
        Self::start_with(mode, crate::SEED)
    }

    /// Starts a daemon with a policy of its own and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready; shows its log.
    #[track_caller]
    pub fn start_with(mode: Mode, policy: &str) -> Self {
        Self::start_configured(mode, policy, "")
    }

    /// The same with more lines in its configuration.
    ///
    /// # Panics
    /// When it does not become ready; shows its log.
    #[track_caller]
    pub fn start_configured(mode: Mode, policy: &str, lines: &str) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = PathBuf::from(format!(
            "/var/tmp/vmward-test-{}-{number}",
            std::process::id()
        ));
        fs::create_dir_all(&dir).expect("/var/tmp is writable");
        let mode = if mode == Mode::Enforce {
            "enforce"
        } else {
            "observe"
        };
        fs::write(dir.join("policy.json"), policy).expect("the folder is writable");
        let config = format!(
            "mode = \"{mode}\"\npolicy = \"{0}/policy.json\"\nstate_dir = \"{0}/state\"\n\
             log_dir = \"{0}/log\"\n{lines}",
            dir.display()
        );
        fs::write(dir.join("vmward.toml"), config).expect("the folder is writable");
        let mut daemon = Self {
            child: None,
            log: dir.join("vmwardd.log"),
            dir,
        };
        daemon.start_again(&[]);
        daemon
    }

    /// Starts it again with the same state; `env` adds to its environment.
    ///
    /// # Panics
    /// When it does not become ready; shows its log.
    #[track_caller]
    pub fn start_again(&mut self, env: &[(&str, &str)]) {
        assert!(self.child.is_none(), "it runs already");
        let socket = self.dir.join("notify.sock");
        // Left behind by the start before.
        let _gone = fs::remove_file(&socket);
        let notify = UnixDatagram::bind(&socket).expect("a notify socket");
        notify
            .set_nonblocking(true)
            .expect("a socket can be set so");
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("the folder is writable");
        let child = Command::new("vmwardd")
            .arg("--config")
            .arg(self.dir.join("vmward.toml"))
            .env("NOTIFY_SOCKET", &socket)
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be cloned"))
            .stderr(log)
            .spawn()
            .expect("vmwardd is on the path");
        let child = self.child.insert(child);
        wait::until("vmwardd to be ready", READY_LIMIT, || {
            if let Some(status) = child.try_wait().expect("it is our child") {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                panic!("vmwardd ended ({status}):\n{log}");
            }
            let mut message = [0; 4096];
            // No message yet is no error here.
            let size = notify.recv(&mut message).unwrap_or(0);
            let text = String::from_utf8_lossy(&message[..size]).into_owned();
            text.lines().any(|line| line == "READY=1").then_some(())
        });
    }

    /// Puts another policy in the place of the one in force, as an editor does;
    /// the daemon notices by itself.
    ///
    /// # Panics
    /// When it cannot be written.
    #[track_caller]
    pub fn put_policy(&self, policy: &str) {
        let new = self.dir.join("policy.json.new");
        fs::write(&new, policy).expect("the folder is writable");
        fs::rename(&new, self.dir.join("policy.json")).expect("the folder is writable");
    }

    /// `vmwardd --detach` with this daemon's configuration.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn detach(&self) -> std::process::Output {
        self.by_hand("--detach")
    }

    /// `vmwardd --new-journal` with this daemon's configuration.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn new_journal(&self) -> std::process::Output {
        self.by_hand("--new-journal")
    }

    #[track_caller]
    fn by_hand(&self, flag: &str) -> std::process::Output {
        let config = self.dir.join("vmward.toml");
        let config = config.to_str().expect("the tests' folders are UTF-8");
        run("vmwardd", &[flag, "--config", config])
    }

    /// The audit log, with the records of all decisions that were answered before.
    pub fn audit(&self) -> AuditLog {
        // A living daemon has written them by the time it answers this.
        let client = Client::connect(Path::new(SOCKET), CALL_LIMIT);
        let _dead = client.map(|mut client| client.status());
        AuditLog::at(&self.dir.join("log/audit.jsonl"))
    }

    /// The journal.
    ///
    /// # Panics
    /// When there is none.
    pub fn journal(&self) -> String {
        fs::read_dir(self.dir.join("state"))
            .expect("the state folder is there")
            .filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok())
            .collect()
    }

    /// What it says of itself, asked for on its socket: a `vmward status` for each look
    /// would be a sixth of the suite's time.
    ///
    /// # Panics
    /// When the daemon does not answer.
    #[track_caller]
    pub fn status(&self) -> Value {
        let status = client().call_value(vmward_wire::v1::method::STATUS, &json!({}));
        status.expect("the daemon answers")
    }

    /// The daemon has put the domain under protection.
    ///
    /// # Panics
    /// When it has not within two minutes.
    #[track_caller]
    pub fn wait_protected(&self, name: &str) {
        let what = format!("{name} to be protected");
        wait::until(&what, Duration::from_mins(2), || {
            let status = self.status();
            let vms = status["vms"].as_array()?;
            vms.iter()
                .any(|vm| vm["name"] == name && vm["protected"] == true)
                .then_some(())
        });
    }

    /// Ends it with SIGKILL.
    ///
    /// # Panics
    /// When it does not run.
    #[track_caller]
    pub fn kill_9(&mut self) {
        self.end(Signal::SIGKILL);
    }

    /// Ends it with SIGTERM and gives its exit status.
    ///
    /// # Panics
    /// When it does not run.
    #[track_caller]
    pub fn stop(&mut self) -> Option<i32> {
        self.end(Signal::SIGTERM)
    }

    #[track_caller]
    fn end(&mut self, signal: Signal) -> Option<i32> {
        let mut child = self.child.take().expect("it runs");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
        // It may have ended by itself; the wait below tells.
        let _gone = kill(pid, signal);
        let status = wait::until("vmwardd to end", Duration::from_secs(20), || {
            child.try_wait().expect("it is our child")
        });
        status.code()
    }

    /// Waits for it to end by itself, as at a crash point.
    ///
    /// # Panics
    /// When it does not within twenty seconds.
    #[track_caller]
    pub fn wait_end(&mut self) {
        let mut child = self.child.take().expect("it runs");
        wait::until("vmwardd to end by itself", Duration::from_secs(20), || {
            child.try_wait().expect("it is our child")
        });
    }

    /// Its process id.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Stops it with SIGSTOP, as one that hangs.
    ///
    /// # Panics
    /// When it cannot be stopped.
    pub fn freeze(&self) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).expect("a pid"));
        kill(pid, Signal::SIGSTOP).expect("its parent may stop it");
    }

    /// Ends it where it runs, and takes its enforcement out of the kernel.
    ///
    /// # Panics
    /// When a pin cannot be removed.
    pub fn give_up(&mut self) {
        if self.child.is_some() {
            self.end(Signal::SIGKILL);
        }
        take_enforcement_out();
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// Removes every pin: the host is as if vmward had never run. Only vmward's own
/// program may.
///
/// # Panics
/// When a pin cannot be removed.
pub fn take_enforcement_out() {
    if !Path::new(PINS).exists() {
        return;
    }
    let output = run("vmwardd", &["--detach"]);
    // A test that fails already must not take the whole run with it.
    assert!(
        std::thread::panicking() || !Path::new(PINS).exists(),
        "{}",
        text(&output)
    );
}
