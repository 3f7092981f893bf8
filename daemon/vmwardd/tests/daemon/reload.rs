//! The policy comes into force when its file changes, in whatever way.

use std::io::Write;
use std::os::unix::fs::symlink;

use nix::sys::signal::Signal;

use crate::harness::{Daemon, Options, SEED, wait_until};

fn with_max(max: u64) -> String {
    SEED.replace("\"max\": 10", &format!("\"max\": {max}"))
}

/// Waits until this text is the policy in force.
#[track_caller]
fn in_force(daemon: &Daemon, text: &str) {
    let hash = vmward_core::digest::sha256_hex(text.as_bytes());
    wait_until("the new policy is in force", || {
        daemon.status().policy.hash == hash
    });
}

#[test]
fn a_policy_that_is_edited_replaced_removed_or_put_back_is_followed() {
    let daemon = Daemon::start(&Options::default());
    let path = daemon.dir().join("policy.json");
    std::fs::write(&path, with_max(2)).unwrap();
    in_force(&daemon, &with_max(2));
    assert_eq!(daemon.stop_test().limits[0].max, 2);

    daemon.write_policy(&with_max(3));
    in_force(&daemon, &with_max(3));

    std::fs::remove_file(&path).unwrap();
    wait_until("the missing file is reported", || {
        daemon.status().policy.rejected.is_some()
    });
    in_force(&daemon, &with_max(3));
    std::fs::write(&path, with_max(4)).unwrap();
    in_force(&daemon, &with_max(4));
    assert_eq!(daemon.status().policy.rejected, None);
}

#[test]
fn a_bad_policy_leaves_the_old_one_and_does_not_end_the_following() {
    let daemon = Daemon::start(&Options::default());
    for round in 0..3 {
        daemon.write_policy("{ \"version\": \"1\", \"defualt\": \"deny\" }");
        wait_until("the bad policy is reported", || {
            daemon.status().policy.rejected.is_some()
        });
        let old = if round == 0 {
            SEED.to_owned()
        } else {
            with_max(round)
        };
        in_force(&daemon, &old);
        daemon.write_policy(&with_max(round + 1));
        in_force(&daemon, &with_max(round + 1));
    }
    let events: Vec<String> = daemon
        .audit()
        .iter()
        .filter_map(|record| record["event"].as_str().map(str::to_owned))
        .filter(|event| event.starts_with("policy-"))
        .collect();
    assert_eq!(events, ["policy-rejected", "policy-loaded"].repeat(3));
    daemon.verify_audit();
}

#[test]
fn a_policy_behind_links_that_are_swapped_is_followed() {
    let daemon = Daemon::start(&Options::default());
    let at = |name: &str| daemon.dir().join(name);
    for (version, max) in [("..1", 5), ("..2", 6)] {
        std::fs::create_dir(at(version)).unwrap();
        std::fs::write(at(version).join("policy.json"), with_max(max)).unwrap();
    }
    symlink("..1", at("..data")).unwrap();
    symlink("..data/policy.json", at("link")).unwrap();
    std::fs::rename(at("link"), at("policy.json")).unwrap();
    in_force(&daemon, &with_max(5));
    symlink("..2", at("..data_tmp")).unwrap();
    std::fs::rename(at("..data_tmp"), at("..data")).unwrap();
    in_force(&daemon, &with_max(6));
}

#[test]
fn hup_says_that_a_changed_configuration_needs_a_restart() {
    let daemon = Daemon::start(&Options::default());
    std::fs::File::options()
        .append(true)
        .open(daemon.dir().join("vmward.toml"))
        .unwrap()
        .write_all(b"# changed\n")
        .unwrap();
    daemon.signal(Signal::SIGHUP);
    wait_until("it is said", || {
        daemon.log().contains("systemctl restart vmwardd")
    });
}
