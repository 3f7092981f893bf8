//! Threads that others of a VM's user take from it, and what its own are kept busy with.

use std::process::Output;
use std::time::Duration;

use vmward_tests::audit::is_kernel;
use vmward_tests::daemon::{Daemon, Mode, take_enforcement_out};
use vmward_tests::guest::{Guest, run, text};
use vmward_tests::wait;

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

/// Perf events on a thread of a VM: each costs it time at every switch, those that sample
/// at every sample. With three thousand a thread a guest got a fifth of its ticks.
#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_crowd_of_perf_events_on_a_thread_is_refused_and_what_a_profiler_has_is_not() {
    assert_in_vm();
    take_enforcement_out();
    let guest = Guest::start("events-1");
    let open = |how: &str, count: &str| {
        let thread = guest.vcpu_thread().to_string();
        let output = run(
            "vmward-attack",
            &["sched", "perf-events", how, &thread, count],
        );
        (output.status.success(), text(&output))
    };

    // The control: as many as are asked for.
    for (how, count) in [("sampling", "17"), ("counting", "65")] {
        let (done, said) = open(how, count);
        assert!(
            done && said.contains(&format!("{count} are open")),
            "{said}"
        );
    }

    let mut daemon = Daemon::start(Mode::Enforce);
    daemon.wait_protected(&guest.name);
    let refused = |r: &serde_json::Value| {
        is_kernel(r, "refused", "events-1")
            && r["vector"] == "sched"
            && r["word"] == "perf events, too many"
            && r["actor"]["comm"] == "vmward-attack"
    };
    for (tries, (how, most, more)) in [("sampling", "16", "17"), ("counting", "64", "65")]
        .into_iter()
        .enumerate()
    {
        let (done, said) = open(how, most);
        assert!(done, "{how}: {said}");
        assert_eq!(daemon.audit().select(refused).len(), tries, "{how}");
        let (done, said) = open(how, more);
        assert!(!done && said.contains("Operation not permitted"), "{said}");
        assert!(said.contains(&format!("{most} are open")), "{said}");
        wait::until("a record of it", Duration::from_secs(30), || {
            (daemon.audit().select(refused).len() == tries + 1).then_some(())
        });
    }
    guest.assert_ticks();
    daemon.give_up();
}
