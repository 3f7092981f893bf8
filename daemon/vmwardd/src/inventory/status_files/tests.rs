use std::process::{Child, Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use super::*;
use crate::process::identify;
use crate::process::testing::end;

const UUID: &str = "6695eb01-f6a4-8304-79aa-97f2502e193f";

/// A process that says of itself what QEMU says: its program is called so, and its
/// arguments name the domain.
fn qemu(dir: &Path) -> (Child, Process) {
    let program = dir.join("qemu-system-x86_64");
    if !program.exists() {
        fs::copy("/bin/sh", &program).unwrap();
    }
    let mut command = Command::new(program);
    let command = command.args(["-c", "read end", "-uuid", UUID]);
    let child = command.stdin(Stdio::piped()).spawn().unwrap();
    has_begun(child.id());
    let process = identify(child.id()).unwrap();
    (child, process)
}

/// Its parent goes on while the kernel still sets up what its arguments are.
fn has_begun(pid: u32) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let arguments = || fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    while !arguments().contains(UUID) {
        assert!(Instant::now() < deadline, "it does not begin");
        std::thread::yield_now();
    }
}

fn status(state: &str, pid: u32) -> String {
    format!(
        "<domstatus {state} pid='{pid}'>\n<domain type='kvm' id='1'>\n  \
         <name>web-1</name>\n  <uuid>{UUID}</uuid>\n</domain></domstatus>"
    )
}

const STARTING: &str = "state='paused' reason='starting up'";
const RUNNING: &str = "state='running' reason='booted'";

/// As libvirt does: a new file in the place of the old.
fn put(dir: &Path, text: &str) {
    fs::write(dir.join("web-1.new"), text).unwrap();
    fs::rename(dir.join("web-1.new"), dir.join("web-1.xml")).unwrap();
}

#[test]
fn a_domain_is_told_once_when_it_starts_and_once_when_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (child, process) = qemu(dir.path());
    let mut files = StatusFiles::default();
    let mut look = || files.look(dir.path());
    assert_eq!(look(), [], "there is no file yet");
    let expected = |is_starting| ByFile {
        uuid: UUID.parse().unwrap(),
        name: "web-1".to_owned(),
        process,
        is_starting,
    };
    put(
        dir.path(),
        &status("state='shutdown' reason='user'", process.pid),
    );
    assert_eq!(look(), [], "it is over");
    put(dir.path(), &status(STARTING, process.pid));
    assert_eq!(look(), [expected(true)]);
    let comes_in = "state='paused' reason='migration'";
    put(dir.path(), &status(comes_in, process.pid));
    assert_eq!(look(), [], "the process is the same, and only starts");
    put(dir.path(), &status(RUNNING, process.pid));
    assert_eq!(look(), [expected(false)]);
    assert_eq!(look(), [], "nothing has changed");
    let paused = status("state='paused' reason='user'", process.pid);
    put(dir.path(), &paused);
    assert_eq!(look(), [], "the process is the same");
    let (other, started_anew) = qemu(dir.path());
    put(dir.path(), &status(RUNNING, started_anew.pid));
    let told: Vec<Process> = look().into_iter().map(|found| found.process).collect();
    assert_eq!(told, [started_anew]);
    end(child);
    end(other);
}

#[test]
fn a_process_that_is_no_qemu_yet_is_looked_at_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = StatusFiles::default();
    put(dir.path(), &status(RUNNING, std::process::id()));
    assert_eq!(files.look(dir.path()), [], "a stranger");
    let (child, process) = qemu(dir.path());
    put(dir.path(), &status(RUNNING, process.pid));
    assert_eq!(files.look(dir.path()).len(), 1);
    end(child);
}

#[test]
fn what_cannot_be_read_neither_hangs_nor_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (child, process) = qemu(dir.path());
    let at = |name: &str| dir.path().join(name);
    nix::unistd::mkfifo(&at("fifo.xml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::os::unix::fs::symlink("fifo.xml", at("link.xml")).unwrap();
    fs::create_dir(at("folder.xml")).unwrap();
    let huge = fs::File::create(at("huge.xml")).unwrap();
    huge.set_len(STATUS_BYTES_MAX + 1).unwrap();
    fs::write(at("binary.xml"), [0xff; 64]).unwrap();
    fs::write(at("empty.xml"), "").unwrap();
    let mut files = StatusFiles::default();
    assert_eq!(files.look(dir.path()), []);
    assert!(
        !files
            .known
            .contains_key("binary".as_ref() as &std::ffi::OsStr)
    );
    fs::write(at("binary.xml"), status(RUNNING, process.pid)).unwrap();
    let found = files.look(dir.path());
    assert_eq!(found.len(), 1, "{found:?}");
    end(child);
}

#[test]
fn the_thread_tells_of_a_domain_that_starts_and_ends_when_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (tell, told) = sync_channel(4);
    let run_dir = dir.path().to_owned();
    let watch =
        super::super::start_by_files(run_dir, move |sighting| tell.send(sighting).is_ok()).unwrap();
    let (child, process) = qemu(dir.path());
    put(dir.path(), &status(RUNNING, process.pid));
    let sighting = told.recv_timeout(Duration::from_secs(20)).unwrap();
    let Sighting::Running { running: found, .. } = sighting else {
        panic!("{sighting:?}");
    };
    assert_eq!(found.len(), 1);
    drop(watch);
    assert!(told.recv().is_err(), "the thread has ended");
    end(child);
}
