use vmward_core::clock::Now;

use super::super::tests::shell_with;
use super::*;
use crate::process::testing::{child, end};

const POLICY: &str = r#"{"version": "1", "default": "deny", "tools": {"vm_list": {}}}"#;

/// What the kernel has of a VM that a former daemon has put under protection.
fn protected(process: Process) -> Protected {
    Protected {
        uuid: [1; 16],
        process,
        observe: false,
        disarmed_until_s: 0,
        deputy_pid: 0,
    }
}

#[test]
fn a_vm_that_cannot_be_protected_is_told_once_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let mut vms = Vms::new(false, Names::load(dir.path()));
    let bare = |why: &str| Domain {
        uuid: VmUuid::from_bytes([1; 16]),
        name: "web-1".to_owned(),
        labels: BTreeMap::new(),
        run: Run::Unprotectable(why.to_owned()),
        paused: None,
    };
    vms.domains = vec![bare("it is traced")];
    assert_eq!(vms.newly_bare().len(), 1);
    assert_eq!(vms.newly_bare(), []);
    vms.domains = vec![bare("no process")];
    assert_eq!(vms.newly_bare().first().unwrap().1, "no process");
    vms.domains = Vec::new();
    assert_eq!(vms.newly_bare(), []);
    vms.domains = vec![bare("no process")];
    assert_eq!(vms.newly_bare().len(), 1, "it was well in between");
}

#[test]
fn a_vm_is_found_with_its_labels_by_name_and_by_uuid() {
    let dir = tempfile::tempdir().unwrap();
    let mut vms = Vms::new(false, Names::load(dir.path()));
    let uuid = VmUuid::from_bytes([1; 16]);
    vms.domains = vec![Domain {
        uuid,
        name: "db-1".to_owned(),
        labels: BTreeMap::from([("tier".to_owned(), "prod".to_owned())]),
        run: Run::Off,
        paused: None,
    }];
    let hyphenless = uuid.to_string().replace('-', "");
    for name in [
        "db-1",
        &uuid.to_string(),
        &hyphenless,
        &format!(" {{{uuid}}} "),
    ] {
        let Target::Vm(vm) = vms.resolve(name, false) else {
            panic!("{name} is known");
        };
        assert_eq!(vm.labels.get("tier").map(String::as_str), Some("prod"));
    }
}

#[test]
fn a_vm_that_proc_does_not_show_stays_protected_until_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let empty = tempfile::tempdir().unwrap();
    let mut shell = shell_with(dir.path(), POLICY);
    let (vm, process) = child();
    let start = crate::convert::now();
    let mut rounds = 0;
    let mut sweep = |shell: &mut Shell| -> usize {
        rounds += 1;
        let now = Now {
            boot_ns: start.boot_ns + rounds * 11 * vmward_core::clock::NS_PER_S,
            ..start
        };
        let mut batch = Batch::default();
        shell.sweep(now, &mut batch);
        shell.commit(batch, now);
        shell.vms.guarded().count()
    };
    shell.vms.adopt(&protected(process));
    assert_eq!(sweep(&mut shell), 1);
    assert_eq!(shell.vms.hidden_count(), 0);
    shell.vms.lives = Lives::shown_in(empty.path());
    for _ in 0..3 {
        assert_eq!(sweep(&mut shell), 1, "it still runs");
    }
    let status = shell.status(None, start);
    assert_eq!(status.counters["vms-hidden"], 1);
    assert!(
        status
            .degraded
            .iter()
            .any(|what| what.contains("cannot be looked at")),
        "{:?}",
        status.degraded
    );
    assert!(status.vms[0].note.as_ref().unwrap().contains("/proc"));
    end(vm);
    // Its event may be on its way.
    assert_eq!(sweep(&mut shell), 1);
    assert_eq!(sweep(&mut shell), 0);
    assert_eq!(shell.vms.hidden_count(), 0);
    let log = std::fs::read_to_string(dir.path().join("audit.jsonl")).unwrap();
    assert_eq!(log.matches("\"event\":\"hidden\"").count(), 1, "{log}");
}

#[test]
fn what_was_set_on_a_vm_before_is_told_until_it_is_set_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut shell = shell_with(dir.path(), POLICY);
    let (vm, process) = child();
    let score = format!("/proc/{}/oom_score_adj", vm.id());
    let before = std::fs::read_to_string(&score).unwrap();
    std::fs::write(&score, "700").unwrap();
    shell.vms.adopt(&protected(process));
    assert!(
        shell
            .vms
            .armed(process)
            .unwrap()
            .contains("oom_score_adj is 700")
    );
    if before.trim().parse::<i32>().unwrap() <= 0 && std::fs::write(&score, &before).is_ok() {
        let mut batch = Batch::default();
        shell.sweep(crate::convert::now(), &mut batch);
        assert_eq!(shell.vms.armed(process), None);
    }
    end(vm);
    shell.vms.forget(process);
    assert_eq!(shell.vms.armed(process), None);
}
