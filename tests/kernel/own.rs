//! vmward's own maps, programs, pins, files and process, and the host itself:
//! out of reach of root while VMs run.

use std::io::{BufRead, BufReader, Lines, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use vmward_tests::attacks::attack;
use vmward_tests::daemon::Mode;
use vmward_tests::guest::{Guest, run, text};
use vmward_tests::wait;

use crate::{Scene, assert_in_vm};

/// What the audit calls the host, where no VM is meant.
const HOST: &str = "(host)";

/// Shell commands on what the tests' daemon keeps, and the vector of each.
const COMMANDS: [(&str, &str); 10] = [
    ("rm -r /sys/fs/bpf/vmward/abi4/VMS", "bpf-object"),
    ("rm -r /sys/fs/bpf/vmward/abi4/gen-1", "bpf-object"),
    ("mv /sys/fs/bpf/vmward /sys/fs/bpf/other", "bpf-object"),
    ("rmdir /sys/fs/bpf/vmward/abi4/gen-1", "bpf-object"),
    ("umount /sys/fs/bpf", "mount"),
    ("umount --lazy /sys/fs/bpf", "mount"),
    ("mount -t tmpfs none /sys/fs/bpf", "mount"),
    ("mount --bind /tmp /sys/fs", "mount"),
    ("rm /run/vmward/admin.sock", "own-file"),
    ("mv /run/vmward/policy.sock /run/vmward/other", "own-file"),
];

fn sh(command: &str) -> Output {
    run("sh", &["-c", command])
}

#[track_caller]
fn assert_refused(what: &str, output: &Output) {
    let said = text(output);
    assert!(!output.status.success(), "{what} succeeded: {said}");
    // The last is umount's own word for EPERM.
    let denied = [
        "Operation not permitted",
        "permission denied",
        "must be superuser",
    ];
    assert!(
        denied.iter().any(|word| said.contains(word)),
        "{what}: {said}"
    );
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn root_reaches_none_of_vmwards_own_objects_and_each_attempt_is_on_record() {
    let scene = Scene::new("own-1", Mode::Enforce);
    let audit = scene.daemon.audit();
    for (command, vector) in COMMANDS {
        let count = |list: &[serde_json::Value]| list.len();
        let is = |r: &serde_json::Value| {
            r["verdict"] == "refused" && r["vector"] == vector && r["vm"]["name"] == HOST
        };
        let before = count(&audit.select(is));
        assert_refused(command, &sh(command));
        wait::until("the record", Duration::from_secs(10), || {
            (count(&audit.select(is)) > before).then_some(())
        });
    }
    // Whoever asks for one after the other comes to the first of vmward's.
    assert_refused("the maps by number", &attack("own", "each-map", &[]));
    let pin = "/sys/fs/bpf/vmward/abi4/VMS";
    assert_refused("the pinned map", &attack("own", "pin", &[pin]));
    // What somebody does in a mount namespace of his own is his own affair.
    let private = run("unshare", &["-m", "umount", "--lazy", "/sys/fs/bpf"]);
    assert!(private.status.success(), "{}", text(&private));
    let pid = scene.guest.pid().to_string();
    assert_refused("kill -9", &run("/bin/kill", &["-9", &pid]));
    audit.verify();
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn control_without_vmward_the_same_commands_work() {
    assert_in_vm();
    vmward_tests::daemon::take_enforcement_out();
    let make = "mkdir -p /run/vmward /sys/fs/bpf/vmward/abi4/gen-1 /sys/fs/bpf/vmward/abi4/VMS \
                && touch /run/vmward/admin.sock /run/vmward/policy.sock";
    for (command, _) in COMMANDS {
        assert!(sh(make).status.success());
        let output = sh(command);
        assert!(output.status.success(), "{command}: {}", text(&output));
        sh(
            "umount /sys/fs 2>/dev/null; mountpoint -q /sys/fs/bpf && umount /sys/fs/bpf; \
            mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf; \
            rm -rf /sys/fs/bpf/other /sys/fs/bpf/vmward /run/vmward/other /run/vmward/*.sock",
        );
    }
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_daemon_that_is_well_cannot_be_ended_and_one_that_hangs_can() {
    let mut scene = Scene::new("own-2", Mode::Enforce);
    let pid = scene.daemon.pid().to_string();
    for signal in ["-KILL", "-STOP", "-TERM", "-USR1"] {
        assert_refused(signal, &run("/bin/kill", &[signal, &pid]));
    }
    let reload = run("/bin/kill", &["-HUP", &pid]);
    assert!(reload.status.success(), "{}", text(&reload));
    // Whoever started it may; from then on it gives no sign of life.
    scene.daemon.freeze();
    let what = "a daemon that hangs to be removable";
    wait::until(what, Duration::from_secs(30), || {
        run("/bin/kill", &["-KILL", &pid])
            .status
            .success()
            .then_some(())
    });
    scene.daemon.wait_end();
    let qemu = scene.guest.pid().to_string();
    assert_refused("kill -9", &run("/bin/kill", &["-9", &qemu]));
    scene.guest.assert_ticks();
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn the_host_is_not_restarted_while_a_vm_runs() {
    assert_in_vm();
    vmward_tests::daemon::take_enforcement_out();
    let ways = ["reboot", "kexec-load", "kexec-file-load"];
    for way in ways {
        let said = text(&attack("host", way, &[]));
        assert!(!said.contains("not permitted"), "control, {way}: {said}");
    }
    let scene = Scene::new("host-1", Mode::Enforce);
    for way in ways {
        assert_refused(way, &attack("host", way, &[]));
    }
    let record = scene
        .daemon
        .audit()
        .select(|r| r["verdict"] == "refused" && r["vector"] == "reboot");
    assert_eq!(record.len(), ways.len(), "{record:#?}");
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn another_bpf_program_cannot_signal_a_vm() {
    assert_in_vm();
    vmward_tests::daemon::take_enforcement_out();
    let ways = ["bpf-send-signal", "bpf-send-signal-thread"];
    for way in ways {
        let guest = Guest::start("bpf-control");
        let pid = guest.pid();
        let output = attack("host", way, &[&pid.to_string()]);
        assert!(output.status.success(), "control, {way}: {}", text(&output));
        Guest::wait_gone(pid);
    }
    let scene = Scene::new("bpf-1", Mode::Enforce);
    let pid = scene.guest.pid().to_string();
    for way in ways {
        assert_refused(way, &attack("host", way, &[&pid]));
    }
    scene.guest.assert_ticks();
}

/// The self-test's canary, which anybody may start.
struct Canary {
    process: Child,
    orders: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
    monitor: Option<UnixStream>,
}

impl Canary {
    /// Starts the program, and whatever is to start it, with its folder.
    #[track_caller]
    fn start(program: &[&str], folder: &Path) -> Self {
        let mut process = Command::new(program[0])
            .args(&program[1..])
            .arg("--canary")
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it is installed");
        let answers = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut canary = Self {
            orders: process.stdin.take(),
            answers: answers.lines(),
            process,
            monitor: None,
        };
        let ready = canary.answer();
        assert!(ready.starts_with("ready "), "{ready}");
        let monitor = UnixStream::connect(folder.join("monitor.sock"));
        canary.monitor = Some(monitor.expect("it listens"));
        canary
    }

    #[track_caller]
    fn order(&mut self, order: &str) -> String {
        let orders = self.orders.as_mut().expect("it is not told to end yet");
        writeln!(orders, "{order}").expect("it reads");
        self.answer()
    }

    #[track_caller]
    fn answer(&mut self) -> String {
        let answer = self.answers.next().unwrap_or(Ok(String::new()));
        answer.expect("it is text")
    }
}

impl Drop for Canary {
    /// It goes with its orders.
    fn drop(&mut self) {
        self.orders = None;
        self.monitor = None;
        let _ended = self.process.wait();
    }
}

/// The canary of the self-test runs vmward's own program, and does as it is told.
#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_canary_that_anybody_starts_harms_nothing_of_vmwards() {
    let scene = Scene::new("own-3", Mode::Enforce);
    let audit = scene.daemon.audit();
    let log = audit.path().display().to_string();
    let dir = tempfile::tempdir().expect("there is room");
    let mut canary = Canary::start(&["vmwardd"], dir.path());
    let bytes = audit.bytes();
    for order in [
        format!("truncate {log}"),
        "umount /sys/fs/bpf".to_owned(),
        "umount /sys/fs/bpf".to_owned(),
    ] {
        let answer = canary.order(&order);
        let errno = answer.strip_prefix("tried ");
        assert!(
            errno.is_some_and(|errno| errno != "0"),
            "{order}: {answer:?}"
        );
    }
    drop(canary);
    assert!(audit.bytes() >= bytes, "the log lost something");
    audit.verify();
    let pid = scene.guest.pid().to_string();
    assert_refused("kill -9", &run("/bin/kill", &["-9", &pid]));
}

/// A filter can answer in the kernel's place: that a VM has ended, say.
#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn who_is_below_a_filter_of_system_calls_is_not_vmwards() {
    let mut scene = Scene::new("own-5", Mode::Enforce);
    scene.daemon.kill_9();
    let output = attack("own", "filtered-start", &["vmwardd", "--detach"]);
    let said = text(&output);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("filter of system calls"), "{said}");
    // Nor to the kernel: a canary that nobody has registered passes for a daemon.
    let word = "rmdir /sys/fs/bpf/vmward";
    for (program, refused) in [(vec!["vmwardd"], false), (filtered("vmwardd"), true)] {
        let dir = tempfile::tempdir().expect("there is room");
        let answer = Canary::start(&program, dir.path()).order(word);
        assert_eq!(answer == "tried 1", refused, "{program:?}: {answer}");
    }
    scene.daemon.start_again(&[]);
    scene.daemon.wait_protected(&scene.guest.name);
    scene.guest.assert_ticks();
}

fn filtered(program: &str) -> Vec<&str> {
    vec!["vmward-attack", "own", "filtered-start", program]
}

/// What lies over its folders says nothing: nobody has a lock there, and the log is seen
/// by nobody.
#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn who_has_other_folders_than_the_host_detaches_nothing() {
    let mut scene = Scene::new("own-6", Mode::Enforce);
    scene.daemon.kill_9();
    for folder in ["/run/vmward", "/var/lib/vmward", "/var/log/vmward"] {
        let script = format!("mount -t tmpfs none {folder}; exec vmwardd --detach");
        let output = run("unshare", &["-m", "sh", "-c", &script]);
        let said = text(&output);
        assert!(!output.status.success(), "{folder}: {said}");
        assert!(said.contains("mounted over it"), "{folder}: {said}");
    }
    let pid = scene.guest.pid().to_string();
    assert_refused("kill -9", &run("/bin/kill", &["-9", &pid]));
    scene.daemon.start_again(&[]);
    scene.daemon.wait_protected(&scene.guest.name);
    scene.guest.assert_ticks();
}

/// There the lock's holder does not show, and folders that are mounted over say nothing.
#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn who_is_in_another_pid_namespace_detaches_nothing() {
    let scene = Scene::new("own-4", Mode::Enforce);
    let script = "for d in /run/vmward /var/lib/vmward /var/log/vmward; do \
                  mkdir -p $d; mount -t tmpfs none $d; done; exec vmwardd --detach";
    let output = run(
        "unshare",
        &["-m", "-p", "-f", "--mount-proc", "sh", "-c", script],
    );
    let said = text(&output);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("not the host's PID namespace"), "{said}");
    let pid = scene.guest.pid().to_string();
    assert_refused("kill -9", &run("/bin/kill", &["-9", &pid]));
    scene.guest.assert_ticks();
}
