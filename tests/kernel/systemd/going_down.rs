//! The host is told to reboot while protected VMs run. What became of it is
//! looked at after the reboot.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use vmward_tests::guest::text;

use super::{Guarded, systemctl};

/// Does what libvirt-guests asks of it.
pub(super) const OBEDIENT: &str = "down-1";
/// Ignores the power button, and is ended with its scope.
pub(super) const DEAF: &str = "down-2";
/// When the reboot was asked for, in seconds since 1970.
pub(super) const BEGAN: &str = "/var/tmp/vmward-reboot";
/// How long libvirt-guests waits for a guest, in seconds.
const PATIENCE: &str = "20";

pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("the clock is set").as_secs()
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn the_host_is_told_to_reboot() {
    let guests = [Guarded::start(OBEDIENT), Guarded::start(DEAF)];
    guests[1].guest.send("i");
    let settings = format!("ON_SHUTDOWN=shutdown\nSHUTDOWN_TIMEOUT={PATIENCE}\n");
    fs::write("/etc/default/libvirt-guests", settings).expect("root may write there");
    fs::write(BEGAN, now().to_string()).expect("/var/tmp is writable");
    // They are the host's to end.
    for guest in guests {
        std::mem::forget(guest);
    }
    let output = systemctl(&["reboot"]);
    assert!(output.status.success(), "{}", text(&output));
}
