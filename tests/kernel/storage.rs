//! What VMs' disks lie on.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use vmward_tests::attacks::attack;
use vmward_tests::daemon::{Daemon, Mode, take_enforcement_out};
use vmward_tests::guest::{Guest, parts, run, text, virsh};
use vmward_tests::wait;

use crate::assert_in_vm;

/// The image of the disk of a VM is noticed at the latest when the daemon looks what
/// VMs have open, twice a minute; and its end is.
const NOTICED: Duration = Duration::from_secs(90);

/// A file system of its own, on a disk of its own, for as long as this lives.
struct Volume {
    name: &'static str,
    image: String,
}

impl Volume {
    #[track_caller]
    fn make(name: &'static str) -> Self {
        Self::make_in("/run", name, "16M")
    }

    /// Its disk is a file in `folder`.
    #[track_caller]
    fn make_in(folder: &str, name: &'static str, size: &str) -> Self {
        let image = format!("{folder}/{name}.img");
        let volume = Self { name, image };
        let script = r#"
            set -e; modprobe --all loop ext4 dm-mod
            truncate -s $3 $2; mkfs.ext4 -q -F $2
            loop=$(losetup --find --show $2)
            dmsetup create $1 --table "0 $(blockdev --getsz $loop) linear $loop 0"
            mkdir -p /run/$1; mount /dev/mapper/$1 /run/$1"#;
        let output = run("bash", &["-c", script, "-", name, &volume.image, size]);
        assert!(output.status.success(), "{}", text(&output));
        volume
    }

    fn place(&self) -> String {
        format!("/run/{}", self.name)
    }

    fn freeze(&self) -> Output {
        run("fsfreeze", &["--freeze", &self.place()])
    }

    #[track_caller]
    fn abort(&self) -> Output {
        run("mount", &["-o", "remount,abort", &self.place()])
    }

    fn thaw(&self) {
        let output = run("fsfreeze", &["--unfreeze", &self.place()]);
        assert!(output.status.success(), "{}", text(&output));
    }

    #[track_caller]
    fn can_be_frozen(&self) {
        let output = self.freeze();
        assert!(output.status.success(), "{}", text(&output));
        self.thaw();
    }

    #[track_caller]
    fn suspend_and_go_on(&self) {
        for what in ["suspend", "resume"] {
            let output = run("dmsetup", &[what, "--noudevsync", self.name]);
            assert!(output.status.success(), "{}", text(&output));
        }
    }
}

impl Volume {
    /// A table that is never put to use, and a message that a linear device does not take.
    fn is_told_what_to_do(&self) {
        let script = "dmsetup load $1 --table '0 8 error' && dmsetup clear $1
            dmsetup message $1 0 fail_path 8:16";
        let output = run("bash", &["-c", script, "-", self.name]);
        assert!(!output.status.success(), "{}", text(&output));
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let script = "umount /run/$1; dmsetup remove $1; losetup -j $2 -O NAME -n | \
            xargs -r losetup -d; rm $2";
        run("bash", &["-c", script, "-", self.name, &self.image]);
    }
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_file_system_with_a_vms_disk_is_not_frozen_and_a_suspended_device_is_on_record() {
    assert_in_vm();
    take_enforcement_out();
    let below = Volume::make_in("/run", "below", "64M");
    let with_disk = Volume::make_in(&below.place(), "with-disk", "16M");
    let without = Volume::make("without");
    // The control: nothing keeps anybody from it.
    with_disk.can_be_frozen();
    below.can_be_frozen();

    let guest = Guest::start_changed("storage-1", |xml| {
        let disk = parts::disk_at(Path::new(&with_disk.place()), "storage-1");
        parts::with_devices(xml, &disk)
    });
    let mut daemon = Daemon::start(Mode::Enforce);
    daemon.wait_protected(&guest.name);
    let audit = daemon.audit();
    wait::until("the volume to be guarded", NOTICED, || {
        let output = with_disk.freeze();
        if output.status.success() {
            with_disk.thaw();
            return None;
        }
        assert!(text(&output).contains("not permitted"), "{}", text(&output));
        Some(())
    });
    let record = audit.one("the refusal", |r| r["vector"] == "storage");
    assert_eq!(record["verdict"], "refused", "{record:#}");
    assert_eq!(record["word"], "FIFREEZE", "{record:#}");
    assert_eq!(record["actor"]["comm"], "fsfreeze", "{record:#}");
    guest.assert_ticks();
    without.can_be_frozen();
    // The disk's disk is a file there.
    let output = below.freeze();
    assert!(!output.status.success(), "what lies below was frozen");
    assert!(text(&output).contains("not permitted"), "{}", text(&output));

    // Nor does it give up its journal, by either way to say so.
    let output = with_disk.abort();
    assert!(!output.status.success(), "{}", text(&output));
    audit.one("the refusal", |r| {
        r["verdict"] == "refused" && r["word"] == "remount, abort"
    });
    let output = without.abort();
    assert!(output.status.success(), "{}", text(&output));
    guest.assert_ticks();

    // Whoever manages volumes suspends them: let through, and recorded.
    with_disk.suspend_and_go_on();
    let record = audit.one("the suspended device", |r| r["word"] == "with-disk");
    assert_eq!(record["verdict"], "witnessed", "{record:#}");
    assert_eq!(record["vector"], "storage", "{record:#}");
    assert_eq!(record["actor"]["comm"], "dmsetup", "{record:#}");
    let words = audit.select(|r| r["vector"] == "storage");
    assert_eq!(words.len(), 4, "going on is no stop: {words:#?}");
    // As is who tells it what to be made of, or one of its parts what to do.
    with_disk.is_told_what_to_do();
    let told = || audit.select(|r| r["word"] == "with-disk" && r["verdict"] == "witnessed");
    wait::until("both to be on record", NOTICED, || {
        (told().len() == 3).then_some(())
    });
    // What a worker of io_uring's does, for which it asks for the same right as for what
    // harms VMs.
    let output = attack("storage", "set-trusted", &[&with_disk.place()]);
    assert!(output.status.success(), "{}", text(&output));
    guest.assert_ticks();

    daemon.give_up();
    let pid = guest.pid();
    let output = virsh(&["destroy", &guest.name]);
    assert!(output.status.success(), "{}", text(&output));
    Guest::wait_gone(pid);
    with_disk.can_be_frozen();
    below.can_be_frozen();
}

/// A page of it that the guest writes to for the first time would end QEMU.
#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn memory_on_a_disk_stays_writable() {
    const MEMORY: &str = "/var/lib/libvirt/qemu/ram";
    assert_in_vm();
    take_enforcement_out();
    let volume = Volume::make("of-memory");
    fs::create_dir_all(MEMORY).expect("the folder is writable");
    let output = run("mount", &["--bind", &volume.place(), MEMORY]);
    assert!(output.status.success(), "{}", text(&output));
    let make = |flag: &str, guest: &Guest| {
        let file = fs::read_link(parts::memory_of(guest)).expect("it is open");
        run("chattr", &[flag, &file.display().to_string()])
    };
    {
        let guest = Guest::start_changed("storage-2", parts::with_memory_in_a_file);
        let mut daemon = Daemon::start(Mode::Enforce);
        daemon.wait_protected(&guest.name);
        let audit = daemon.audit();
        wait::until("its memory to be guarded", NOTICED, || {
            let output = make("+i", &guest);
            if output.status.success() {
                make("-i", &guest);
                return None;
            }
            assert!(text(&output).contains("not permitted"), "{}", text(&output));
            Some(())
        });
        let record = audit.one("the refusal", |r| r["word"] == "chattr");
        assert_eq!(record["verdict"], "refused", "{record:#}");
        assert_eq!(record["actor"]["comm"], "chattr", "{record:#}");
        guest.assert_ticks();
        daemon.give_up();
        // The control.
        let output = make("+i", &guest);
        assert!(output.status.success(), "{}", text(&output));
        make("-i", &guest);
    }
    let output = run("umount", &[MEMORY]);
    assert!(output.status.success(), "{}", text(&output));
}
