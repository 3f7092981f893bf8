//! What the kernel refuses, as root in the test VM, on real domains.
//!
//! Ignored elsewhere: these attack VMs, and load BPF programs. `cargo xtask
//! test` runs them in the VM with `--ignored`, one at a time.

mod abuse;
mod attacks;
mod beside;
mod bypass;
mod cgroup_v1;
mod crash;
mod disarm;
mod host_lease;
mod host_rules;
mod inventory;
mod lease;
mod legitimate;
mod libraries;
mod logger;
mod memory;
mod monitor;
mod mounted;
mod own;
mod restart;
mod rpc;
mod starting;
mod storage;
mod suite;
mod systemd;
mod threads;

use vmward_tests::daemon::{Daemon, Mode};
use vmward_tests::guest::Guest;

/// Only the test VM sets it.
const VM_MARK: &str = "VMWARD_VM_DIR";

/// A guest and a daemon that protects it.
struct Scene {
    guest: Guest,
    daemon: Daemon,
}

impl Scene {
    /// Both up, the guest under protection. The fields drop in the order
    /// daemon, guest: see [`Drop`].
    #[track_caller]
    fn new(name: &str, mode: Mode) -> Self {
        Self::with_policy(name, mode, vmward_tests::SEED)
    }

    /// The same with a policy of its own.
    #[track_caller]
    fn with_policy(name: &str, mode: Mode, policy: &str) -> Self {
        assert_in_vm();
        let guest = Guest::start(name);
        let daemon = Daemon::start_with(mode, policy);
        daemon.wait_protected(name);
        Self { guest, daemon }
    }
}

impl Drop for Scene {
    /// The guest can only be ended when nothing refuses it any more.
    fn drop(&mut self) {
        self.daemon.give_up();
    }
}

#[track_caller]
fn assert_in_vm() {
    assert!(
        std::env::var_os(VM_MARK).is_some(),
        "this test attacks VMs; run it in the test VM: cargo xtask test"
    );
}
