//! Migration to a second libvirtd on this machine, and back.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use vmward_tests::guest::{Guest, run, text, virsh};
use vmward_tests::{progress, wait};

use super::{ANYTHING, Hosted, assert_done, assert_off, leased, order};

const FOLDER: &str = "/var/tmp/libvirt-2";
/// The second libvirtd.
pub(super) const SECOND: &str = "qemu+unix:///system?socket=/var/tmp/libvirt-2/libvirt-sock";

/// Another libvirtd, which sees none of the first one's files: it takes itself
/// for another host.
pub(super) struct Second(Child);

impl Second {
    /// Must come before the daemon, which refuses mounts over libvirt's files.
    #[track_caller]
    pub(super) fn start() -> Self {
        fs::create_dir_all(FOLDER).expect("/var/tmp is writable");
        let settings = format!(
            "unix_sock_dir = \"{FOLDER}\"\nauth_unix_rw = \"none\"\n\
             host_uuid = \"00000000-1111-4222-8333-444444444444\"\n"
        );
        fs::write(format!("{FOLDER}/libvirtd.conf"), settings).expect("/var/tmp is writable");
        // No virtlogd and no cgroups of its own: both are the first one's.
        let script = format!(
            "for dir in /run/libvirt /etc/libvirt /var/lib/libvirt /var/cache/libvirt \
                 /var/log/libvirt; do mount -t tmpfs tmpfs $dir || exit 1; done; \
             printf 'stdio_handler = \"file\"\\ncgroup_controllers = [ ]\\n' \
                 > /etc/libvirt/qemu.conf; \
             exec libvirtd -f {FOLDER}/libvirtd.conf -p {FOLDER}/pid"
        );
        let log = fs::File::create(format!("{FOLDER}/log")).expect("/var/tmp is writable");
        let child = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "bash", "-c", &script])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be cloned"))
            .stderr(log)
            .spawn()
            .expect("unshare is on the path");
        let second = Self(child);
        wait::until("the second libvirtd", Duration::from_mins(1), || {
            run("virsh", &["-c", SECOND, "list"])
                .status
                .success()
                .then_some(())
        });
        second
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        let names = text(&run("virsh", &["-c", SECOND, "list", "--name"]));
        for name in names.split_whitespace() {
            let _gone = run("virsh", &["-c", SECOND, "destroy", name]);
        }
        let _gone = self.0.kill();
        let _waited = self.0.wait();
    }
}

/// The words of a live migration of `name` to `to`.
pub(super) fn words<'a>(name: &'a str, to: &'a str, port: &'a str) -> [&'a str; 7] {
    [
        "migrate",
        "--live",
        "--unsafe",
        "--migrateuri",
        port,
        name,
        to,
    ]
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_vm_moves_to_another_libvirt_under_a_lease_and_comes_back_protected() {
    let second = Second::start();
    let hosted = Hosted::start(&["move-1"], ANYTHING, |_, xml| xml.to_owned());
    let guest = hosted.guest("move-1");
    let both = |after: &str| order::assert_order(&hosted.daemon, &[order::SYSTEM, SECOND], after);
    let pid = guest.pid();
    let out = words("move-1", SECOND, "tcp://127.0.0.1:49300");

    let refused = virsh(&out);
    assert!(!refused.status.success(), "it was let through");
    assert!(
        text(&refused).contains("has not been found"),
        "{}",
        text(&refused)
    );
    // The other side's QEMU began the guest's serial log anew: its boot is not in it.
    progress::assert_goes_on(guest);
    assert_eq!((guest.pid(), guest.state().as_str()), (pid, "running"));
    both("a refused migration");

    assert_done(&leased("move-1", "migrate", &out));
    assert_off(guest, pid);
    both("a migration");
    let ended = hosted.daemon.audit().one("the end of the VM", |r| {
        r["kind"] == "vm" && r["event"] == "ended" && r["vm"]["name"] == "move-1"
    });
    assert!(ended["lease"].is_number(), "{ended:#}");

    let back = words("move-1", order::SYSTEM, "tcp://127.0.0.1:49301");
    let mut there = vec!["-c", SECOND];
    there.extend(back);
    assert_done(&run("virsh", &there));
    hosted.daemon.wait_protected("move-1");
    progress::assert_goes_on(guest);
    let killed = run("/bin/kill", &["-9", &guest.pid().to_string()]);
    assert!(!killed.status.success(), "{}", text(&killed));
    progress::assert_goes_on(guest);
    both("its return");
    drop(hosted);
    drop(second);
    Guest::wait_gone(pid);
}
