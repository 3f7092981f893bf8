//! The guests' memory where it is a file: cut short, or written to by others, it ends them.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use vmward_tests::attacks::attack;
use vmward_tests::audit::is_kernel;
use vmward_tests::daemon::{Daemon, Mode, take_enforcement_out};
use vmward_tests::guest::{Guest, parts, run, text};
use vmward_tests::progress::stalls_within;
use vmward_tests::wait;

use crate::assert_in_vm;

/// Cut short, it would end QEMU at its next look at what is gone.
#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn memory_that_is_a_file_is_the_vms_alone() {
    assert_in_vm();
    let guest = Guest::start_changed("memory-1", parts::with_memory_in_a_file);
    let daemon = Daemon::start(Mode::Enforce);
    daemon.wait_protected("memory-1");
    let memory = parts::memory_of(&guest);
    wait::until("it to be guarded", Duration::from_secs(30), || {
        let opened = File::options().write(true).open(&memory);
        opened.is_err().then_some(())
    });
    let path = memory.display().to_string();
    let output = run("truncate", &["-s", "0", &path]);
    assert!(text(&output).contains("not permitted"), "{}", text(&output));
    assert!(
        File::open(&memory).is_ok(),
        "whoever reads it takes nothing"
    );
    guest.assert_ticks();
    daemon.audit().one("the refusal", |r| {
        is_kernel(r, "refused", "memory-1")
            && r["vector"] == "lifeline-file"
            && r["actor"]["comm"] == "truncate"
    });
}

/// A driver makes a buffer of it that whoever has a descriptor to read can write to.
#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn memory_without_a_name_is_not_even_read_by_others() {
    assert_in_vm();
    take_enforcement_out();
    let start = |name| Guest::start_changed(name, parts::with_memory_without_a_name);
    let zero = |guest: &Guest| {
        let memory = parts::memory_of(guest).display().to_string();
        attack("udmabuf", "zero", &[&memory])
    };
    // The control. The oldest kernel has no such driver: nothing is to be seen there.
    if Path::new("/dev/udmabuf").exists() {
        let guest = start("memory-2");
        let output = zero(&guest);
        assert!(output.status.success(), "{}", text(&output));
        assert!(stalls_within(&guest, Duration::from_secs(20)), "it goes on");
    } else {
        let release = text(&run("uname", &["-r"]));
        assert!(release.starts_with("6.1."), "no udmabuf on {release}");
    }
    let guest = start("memory-3");
    let daemon = Daemon::start(Mode::Enforce);
    daemon.wait_protected("memory-3");
    let memory = parts::memory_of(&guest);
    wait::until("it to be guarded", Duration::from_secs(30), || {
        File::open(&memory).is_err().then_some(())
    });
    let output = zero(&guest);
    assert!(text(&output).contains("not permitted"), "{}", text(&output));
    guest.assert_ticks();
    daemon.audit().one("the refusal", |r| {
        is_kernel(r, "refused", "memory-3")
            && r["vector"] == "lifeline-file"
            && r["actor"]["comm"] == "vmward-attack"
    });
}
