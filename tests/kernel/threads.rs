//! Threads that others of a VM's user take from it.

use std::process::Output;

use vmward_tests::daemon::{Daemon, Mode, take_enforcement_out};
use vmward_tests::guest::{Guest, run, text};

use crate::assert_in_vm;

/// As many as the user may have, and more.
const THREADS: &str = "220";

/// Has QEMU start a thread while its user has more than it may. The others go at the
/// end.
fn start_thread_in_a_crowd(guest: &Guest, id: &str) -> Output {
    let script = r#"
        uid=$(stat -c %u /proc/$1); pids=
        trap 'kill $pids' EXIT
        for i in $(seq $2); do
            setpriv --reuid=$uid --clear-groups sleep 600 & pids="$pids $!"
        done
        until [ $(ps -o pid= -u $uid | wc -l) -ge $2 ]; do :; done
        timeout 30 virsh -c qemu:///system qemu-monitor-command $3 \
            "{\"execute\":\"object-add\",\"arguments\":{\"qom-type\":\"iothread\",\"id\":\"$4\"}}"
    "#;
    let pid = guest.pid().to_string();
    run("bash", &["-c", script, "-", &pid, THREADS, &guest.name, id])
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn whoever_uses_up_the_threads_of_its_user_takes_none_from_a_vm() {
    assert_in_vm();
    take_enforcement_out();
    let guest = Guest::start("threads-1");
    let limit = |pid: i32| {
        let output = run("prlimit", &["--pid", &pid.to_string(), "--nproc=200"]);
        assert!(output.status.success(), "{}", text(&output));
    };

    // The control: QEMU ends itself.
    let unprotected = guest.pid();
    limit(unprotected);
    let output = start_thread_in_a_crowd(&guest, "control");
    assert!(!output.status.success(), "{}", text(&output));
    Guest::wait_gone(unprotected);

    guest.start_again();
    limit(guest.pid());
    let mut daemon = Daemon::start(Mode::Enforce);
    daemon.wait_protected(&guest.name);
    let output = start_thread_in_a_crowd(&guest, "more");
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("return"), "{}", text(&output));
    guest.assert_ticks();
    daemon.give_up();
}
