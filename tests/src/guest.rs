//! A domain with the tick guest, inside the test VM.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output};
use std::time::Duration;

use crate::wait;

pub mod parts;

/// How often a domain is ended until it is.
const DESTROY_TRIES: u32 = 20;

/// Runs a program to its end.
///
/// # Panics
/// When it cannot be started.
#[track_caller]
pub fn run(program: &str, args: &[&str]) -> Output {
    Command::new(program)
        .args(args)
        .env("LC_ALL", "C")
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"))
}

/// Standard output and error of a program, as one text.
pub fn text(output: &Output) -> String {
    let mut all = String::from_utf8_lossy(&output.stdout).into_owned();
    all.push_str(&String::from_utf8_lossy(&output.stderr));
    all
}

/// The process is there, and no zombie that nobody has waited for yet.
pub fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// virsh on the system's libvirtd.
#[track_caller]
pub fn virsh(args: &[&str]) -> Output {
    let mut all = vec!["-c", "qemu:///system"];
    all.extend(args);
    run("virsh", &all)
}

/// A running domain. Dropping it ends it by libvirt's own means, for which
/// enforcement must be off by then.
#[derive(Debug)]
pub struct Guest {
    /// The domain's name.
    pub name: String,
}

impl Guest {
    /// Defines and starts a domain and waits until its guest ticks.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn start(name: &str) -> Self {
        let guest = Self {
            name: name.to_owned(),
        };
        guest.start_again();
        guest
    }

    /// Starts the domain again and waits until its guest ticks.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn start_again(&self) {
        let output = run("xtask", &["guest", "start", &self.name]);
        assert!(output.status.success(), "{}: {}", self.name, text(&output));
    }

    /// Defines a domain as `edit` makes it of the usual description, starts it,
    /// and waits until its guest ticks.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn start_changed(name: &str, edit: impl FnOnce(&str) -> String) -> Self {
        let guest = Self {
            name: name.to_owned(),
        };
        let file = format!("/var/tmp/{name}.xml");
        let usual = text(&run("xtask", &["guest", "xml", name]));
        fs::write(&file, edit(&usual)).expect("/var/tmp is writable");
        let output = virsh(&["define", &file]);
        assert!(output.status.success(), "{name}: {}", text(&output));
        guest.start_defined();
        guest
    }

    /// Starts the domain as it is defined, and waits until its guest ticks.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn start_defined(&self) {
        let output = virsh(&["start", &self.name]);
        assert!(output.status.success(), "{}: {}", self.name, text(&output));
        self.assert_ticks();
    }

    /// The QEMU process.
    ///
    /// # Panics
    /// When libvirt names none.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        let path = format!("/run/libvirt/qemu/{}.pid", self.name);
        let pid = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        pid.trim().parse().expect("a pid file holds a number")
    }

    /// A thread of the QEMU process that is not its first.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn vcpu_thread(&self) -> i32 {
        let pid = self.pid();
        fs::read_dir(format!("/proc/{pid}/task"))
            .expect("the process lives")
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
            .find(|tid| {
                *tid != pid
                    && fs::read_to_string(format!("/proc/{pid}/task/{tid}/comm"))
                        .is_ok_and(|comm| comm.starts_with("CPU "))
            })
            .expect("QEMU has a vCPU thread")
    }

    /// libvirt's word for the domain's state.
    #[track_caller]
    pub fn state(&self) -> String {
        text(&virsh(&["domstate", &self.name])).trim().to_owned()
    }

    /// Sends the guest a byte on its serial port.
    ///
    /// # Panics
    /// When it cannot be sent.
    #[track_caller]
    pub fn send(&self, byte: &str) {
        let path = self.line("sock");
        let sent = UnixStream::connect(&path).and_then(|mut line| line.write_all(byte.as_bytes()));
        sent.unwrap_or_else(|e| panic!("{path}: {e}"));
    }

    /// The files of its serial line: the socket `sock`, and `serial` with all that
    /// it printed.
    pub(crate) fn line(&self, kind: &str) -> String {
        format!("/var/lib/vmward-guests/{}.{kind}", self.name)
    }

    /// The guest makes progress.
    ///
    /// # Panics
    /// When it does not tick within thirty seconds.
    #[track_caller]
    pub fn assert_ticks(&self) {
        let output = run(
            "xtask",
            &["guest", "wait-ticks", &self.name, "--count", "3"],
        );
        assert!(
            output.status.success(),
            "{} does not tick: {}",
            self.name,
            text(&output)
        );
    }

    /// The domain reaches a state.
    ///
    /// # Panics
    /// When it does not within a minute.
    #[track_caller]
    pub fn wait_state(&self, state: &str) {
        let what = format!("{} to be {state}", self.name);
        wait::until(&what, Duration::from_mins(1), || {
            (self.state() == state).then_some(())
        });
    }

    /// The process `pid` is gone, or a zombie that nobody has waited for yet.
    ///
    /// # Panics
    /// When it lives for ten seconds more.
    #[track_caller]
    pub fn wait_gone(pid: i32) {
        wait::until(
            "the QEMU process to be gone",
            Duration::from_secs(10),
            || (!lives(pid)).then_some(()),
        );
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // A domain that is off already is what was wanted. The kernel may go on
        // refusing for a moment after its programs were let go.
        for _ in 0..DESTROY_TRIES {
            let output = virsh(&["destroy", &self.name]);
            if !text(&output).contains("Operation not permitted") {
                break;
            }
        }
        let _gone = virsh(&[
            "undefine",
            &self.name,
            "--managed-save",
            "--snapshots-metadata",
        ]);
    }
}
