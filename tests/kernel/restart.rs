//! The daemon goes away and comes back; the kernel stays.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use vmward_tests::audit::{events, is_kernel};
use vmward_tests::daemon::Mode;
use vmward_tests::guest::{Guest, run, text};
use vmward_tests::wait;

use crate::Scene;
use crate::attacks::{ATTACKS, assert_refused};

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_killed_daemon_leaves_the_vm_protected_and_the_next_one_records_it() {
    let mut scene = Scene::new("down-1", Mode::Enforce);
    scene.daemon.kill_9();
    for attack in &ATTACKS {
        assert_refused(attack, &(attack.run)(&scene.guest));
    }
    scene.guest.assert_ticks();
    let audit = scene.daemon.audit();
    assert!(
        audit
            .select(|r| is_kernel(r, "refused", "down-1"))
            .is_empty()
    );
    scene.daemon.start_again(&[]);
    wait::until(
        "the records of the refusals",
        Duration::from_secs(10),
        || {
            let found = audit.select(|r| is_kernel(r, "refused", "down-1"));
            (found.len() == ATTACKS.len()).then_some(())
        },
    );
    assert!(audit.select(|r| r["kind"] == "loss").is_empty());
    audit.verify();
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn restarts_leave_no_moment_without_enforcement() {
    let mut scene = Scene::new("gap-1", Mode::Enforce);
    let pid = scene.guest.pid();
    // One attacker that never pauses, over three restarts; it says how often
    // it was refused, or that it got through.
    let script = format!(
        "n=0; while kill -0 $PPID && [ ! -e /var/tmp/gap-1.end ]; do \
         if /bin/kill -USR2 {pid} 2>/dev/null; then echo through; exit 1; fi; n=$((n+1)); done; echo $n"
    );
    let _old = fs::remove_file("/var/tmp/gap-1.end");
    let attacker = std::process::Command::new("bash")
        .args(["-c", &script])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("bash runs");
    scene.daemon.kill_9();
    scene.daemon.start_again(&[]);
    assert_eq!(scene.daemon.stop(), Some(0), "{}", scene.daemon.log());
    scene.daemon.start_again(&[]);
    scene.daemon.kill_9();
    scene.daemon.start_again(&[]);
    fs::write("/var/tmp/gap-1.end", "").expect("/var/tmp is writable");
    let output = attacker.wait_with_output().expect("it is our child");
    assert!(output.status.success(), "{}", text(&output));
    let attempts: u64 = text(&output).trim().parse().expect("a number");
    scene.guest.assert_ticks();
    let audit = scene.daemon.audit();
    // What a killed daemon had not written yet is told as a loss.
    let counted = || {
        let lost = audit.select(|r| r["kind"] == "loss");
        let lost: u64 = lost.iter().filter_map(|r| r["count"].as_u64()).sum();
        events(&audit.select(|r| is_kernel(r, "refused", "gap-1"))) + lost
    };
    wait::until(
        "a record for every refusal",
        Duration::from_secs(20),
        || (counted() >= attempts).then_some(()),
    );
    assert_eq!(counted(), attempts, "records that nobody caused");
    audit.verify();
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn events_that_the_ring_cannot_hold_are_accounted_for() {
    let mut scene = Scene::new("flood-1", Mode::Enforce);
    let pid = scene.guest.pid();
    scene.daemon.kill_9();
    // More than the ring holds, refused one by one while nobody reads.
    let flood = format!(
        "import os\nfor _ in range(8000):\n  try: os.kill({pid}, 9)\n  except PermissionError: continue\n  raise SystemExit('through')"
    );
    let output = run("/usr/bin/python3", &["-c", &flood]);
    assert!(output.status.success(), "{}", text(&output));
    scene.guest.assert_ticks();
    scene.daemon.start_again(&[]);
    let audit = scene.daemon.audit();
    let accounted = || {
        let seen = events(&audit.select(|r| is_kernel(r, "refused", "flood-1")));
        let lost: u64 = audit
            .select(|r| r["kind"] == "loss")
            .iter()
            .filter_map(|r| r["count"].as_u64())
            .sum();
        (seen, lost)
    };
    let (seen, lost) = wait::until("the loss to be recorded", Duration::from_mins(1), || {
        let (seen, lost) = accounted();
        (seen + lost >= 8000).then_some((seen, lost))
    });
    assert_eq!(seen + lost, 8000, "{seen} seen, {lost} lost");
    assert!(
        lost > 0,
        "the ring held everything: the flood is too small for this test"
    );
    assert!(scene.daemon.status()["kernel"]["events_lost"].as_u64() >= Some(lost));
    let records = audit.select(|r| is_kernel(r, "refused", "flood-1")).len();
    assert!(
        records < 200,
        "a flood by one process took {records} records"
    );
    audit.verify();
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_second_daemon_is_turned_away_and_the_first_goes_on() {
    let scene = Scene::new("twice-1", Mode::Enforce);
    let second = run("vmwardd", &[]);
    assert_eq!(second.status.code(), Some(75), "{}", text(&second));
    scene.daemon.wait_protected("twice-1");
    let output = run("/bin/kill", &["-9", &scene.guest.pid().to_string()]);
    assert!(!output.status.success(), "{}", text(&output));
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_flood_of_refusals_does_not_keep_the_daemon_from_starting() {
    let mut scene = Scene::new("flood-2", Mode::Enforce);
    let pid = scene.guest.pid();
    scene.daemon.kill_9();
    let _old = fs::remove_file("/var/tmp/flood-2.end");
    let flood = format!(
        "import os\nwhile not os.path.exists('/var/tmp/flood-2.end'):\n  for _ in range(100):\n    \
         try: os.kill({pid}, 9)\n    except PermissionError: continue\n    raise SystemExit('through')"
    );
    let attacker = std::process::Command::new("/usr/bin/python3")
        .args(["-c", &flood])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("python runs");
    scene.daemon.start_again(&[]);
    // It answers while the flood goes on.
    assert_eq!(scene.daemon.status()["kernel"]["ready"], true);
    fs::write("/var/tmp/flood-2.end", "").expect("/var/tmp is writable");
    let output = attacker.wait_with_output().expect("it is our child");
    let others = || {
        let audit = scene.daemon.audit();
        let others = audit.select(|r| r["verdict"] != "refused" && r["kind"] != "loss");
        format!("{others:#?}\n{}", scene.daemon.log())
    };
    assert!(output.status.success(), "{} {}", text(&output), others());
    scene.guest.assert_ticks();
    let audit = scene.daemon.audit();
    wait::until("the refusals in the log", Duration::from_mins(1), || {
        (!audit
            .select(|r| is_kernel(r, "refused", "flood-2"))
            .is_empty())
        .then_some(())
    });
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn detach_ends_enforcement_at_once_and_on_record() {
    let mut scene = Scene::new("detach-1", Mode::Enforce);
    let pid = scene.guest.pid();
    let busy = scene.daemon.detach();
    assert_eq!(busy.status.code(), Some(75), "{}", text(&busy));
    let refused = run("/bin/kill", &["-9", &pid.to_string()]);
    assert!(!refused.status.success(), "a refused detach let go");
    assert_eq!(scene.daemon.stop(), Some(0), "{}", scene.daemon.log());
    let detached = scene.daemon.detach();
    assert!(detached.status.success(), "{}", text(&detached));
    let killed = run("/bin/kill", &["-9", &pid.to_string()]);
    assert!(killed.status.success(), "{}", text(&killed));
    Guest::wait_gone(pid);
    let audit = scene.daemon.audit();
    audit.one("the removal", |r| {
        r["kind"] == "daemon" && r["event"] == "detached"
    });
    audit.verify();
}

/// A person's way out of a journal that cannot be gone on with.
#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_journal_is_begun_anew_while_the_walls_stand() {
    let mut scene = Scene::new("anew-1", Mode::Enforce);
    assert_eq!(scene.daemon.stop(), Some(0), "{}", scene.daemon.log());
    let output = scene.daemon.new_journal();
    assert!(output.status.success(), "{}", text(&output));
    for attack in &ATTACKS {
        assert_refused(attack, &(attack.run)(&scene.guest));
    }
    scene.daemon.start_again(&[]);
    scene.daemon.wait_protected("anew-1");
    let audit = scene.daemon.audit();
    let begun = audit.one("the new journal", |r| r["event"] == "journal-begun-anew");
    let detail = begun["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("every limit starts anew"), "{begun:#}");
    audit.verify();
}

/// Root's own configuration, with other folders.
#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn another_configuration_does_not_detach_beside_a_daemon_nor_off_its_record() {
    let mut scene = Scene::new("other-1", Mode::Enforce);
    let pid = scene.guest.pid();
    let dir = "/var/tmp/other-1";
    fs::create_dir_all(dir).expect("/var/tmp is writable");
    let file = format!("{dir}/vmward.toml");
    let config = format!("state-dir = \"{dir}/s\"\nlog-dir = \"{dir}/l\"\nrun-dir = \"{dir}/r\"\n");
    fs::write(&file, config).expect("the folder is writable");
    let detach = || run("vmwardd", &["--config", &file, "--detach"]);
    let busy = detach();
    assert_eq!(busy.status.code(), Some(75), "{}", text(&busy));
    let refused = run("/bin/kill", &["-9", &pid.to_string()]);
    assert!(!refused.status.success(), "a refused detach let go");
    assert_eq!(scene.daemon.stop(), Some(0), "{}", scene.daemon.log());
    let detached = detach();
    assert!(detached.status.success(), "{}", text(&detached));
    let audit = scene.daemon.audit();
    let record = audit.one("the removal", |r| r["event"] == "detached");
    let detail = record["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("/var/tmp/other-1/l"), "{record:#}");
    audit.verify();
}

/// flock(2) takes no more than a file that is open for reading.
#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn who_locks_what_he_can_read_keeps_no_daemon_out() {
    let mut scene = Scene::new("flock-1", Mode::Enforce);
    scene.daemon.kill_9();
    let pins = fs::read_dir("/sys/fs/bpf/vmward").expect("the pins stay");
    let locked: Vec<fs::File> = ["/run/vmward/vmwardd.lock", "/run/vmward/kernel.lock"]
        .into_iter()
        .map(PathBuf::from)
        .chain(pins.map(|entry| entry.expect("a folder of pins").path()))
        .map(|path| {
            let file = fs::File::open(&path).expect("root may read it");
            file.try_lock().expect("nobody has it");
            file
        })
        .collect();
    scene.daemon.start_again(&[]);
    scene.daemon.wait_protected("flock-1");
    let status = scene.daemon.status();
    let degraded = status["degraded"].to_string();
    assert!(degraded.contains("passed over"), "{degraded}");
    assert_eq!(scene.daemon.stop(), Some(0), "{}", scene.daemon.log());
    let detached = scene.daemon.detach();
    assert!(detached.status.success(), "{}", text(&detached));
    drop(locked);
}
