//! What vmward must never break: the life of a domain, on real libvirt.
//!
//! After each case [`order::assert_order`] looks at the whole host.

mod ends;
mod guest;
mod host;
mod libvirtd;
mod migration;
mod operations;
mod order;
mod refusal;
mod revert;

use std::process::Output;
use std::time::Duration;

use vmward_tests::daemon::{Daemon, Mode};
use vmward_tests::guest::{Guest, run, text, virsh};
use vmward_tests::wait;

use crate::assert_in_vm;

/// Who asks gets a lease.
const ANYTHING: &str = r#"{"version": "1", "default": "allow"}"#;

/// Guests, and a daemon that protects them: its start takes longer than all that
/// is done with one guest.
struct Hosted {
    guests: Vec<Guest>,
    daemon: Daemon,
}

impl Hosted {
    /// Starts each guest as `edit` makes it of its name and the usual
    /// description, and then the daemon.
    #[track_caller]
    fn start(names: &[&str], policy: &str, edit: impl Fn(&str, &str) -> String) -> Self {
        Self::start_after(names, policy, edit, |_| {})
    }

    /// The same; `before` is done to each guest before the daemon starts.
    #[track_caller]
    fn start_after(
        names: &[&str],
        policy: &str,
        edit: impl Fn(&str, &str) -> String,
        before: impl Fn(&Guest),
    ) -> Self {
        assert_in_vm();
        let start = |name: &&str| {
            let guest = Guest::start_changed(name, |xml| edit(name, xml));
            before(&guest);
            guest
        };
        let guests = names.iter().map(start).collect();
        let daemon = Daemon::start_with(Mode::Enforce, policy);
        for name in names {
            daemon.wait_protected(name);
        }
        Self { guests, daemon }
    }

    /// The guest of that name.
    #[track_caller]
    fn guest(&self, name: &str) -> &Guest {
        let found = self.guests.iter().find(|guest| guest.name == name);
        found.unwrap_or_else(|| panic!("{name} is none of this test's guests"))
    }

    /// Nothing is out of order on this host.
    #[track_caller]
    fn assert_order(&self, after: &str) {
        order::assert_order(&self.daemon, &[order::SYSTEM], after);
    }
}

impl Drop for Hosted {
    /// The guests can only be ended when nothing refuses it any more.
    fn drop(&mut self) {
        self.daemon.give_up();
    }
}

/// `vmward run` with a lease for `effect`.
fn leased(vm: &str, effect: &str, words: &[&str]) -> Output {
    let mut args = vec![
        "run", "--effect", effect, "--reason", "test", "--vm", vm, "--",
    ];
    args.extend(["virsh", "-c", "qemu:///system"]);
    args.extend(words);
    run("vmward", &args)
}

#[track_caller]
fn assert_done(output: &Output) {
    assert!(output.status.success(), "{}", text(output));
}

/// virsh, which must succeed.
#[track_caller]
fn virsh_done(args: &[&str]) {
    let output = virsh(args);
    assert!(output.status.success(), "{args:?}: {}", text(&output));
}

/// The domain ended, and libvirt knows.
#[track_caller]
fn assert_off(guest: &Guest, pid: i32) {
    wait::until(
        &format!("{} to end", guest.name),
        Duration::from_mins(1),
        || (guest.state() == "shut off").then_some(()),
    );
    Guest::wait_gone(pid);
}
