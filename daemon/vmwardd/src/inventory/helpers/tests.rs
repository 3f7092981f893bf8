use super::*;
use crate::process::testing::{child, end};

/// Processes that are not there, with the lowest numbers.
fn decoys(count: usize) -> Vec<Process> {
    let decoy = |pid| Process {
        pid,
        start_ticks: 1,
    };
    (1..).take(count).map(decoy).collect()
}

fn own() -> Process {
    process::identify(std::process::id()).unwrap()
}

#[test]
fn a_pid_file_counts_for_the_vm_that_it_is_named_after() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("swtpm")).unwrap();
    let file = dir.path().join("swtpm/7-web-1-swtpm.pid");
    fs::write(&file, format!("{}\n", own().pid)).unwrap();
    let named = |id| -> Vec<Process> {
        let all = folders(dir.path(), id).into_iter();
        all.flat_map(|(folder, prefix)| by_pid_files(&folder, &prefix))
            .collect()
    };
    assert_eq!(named(7), [own()]);
    assert_eq!(named(77), []);
}

#[test]
fn a_pid_file_makes_no_helper_of_a_program_that_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let (child, other) = child();
    fs::write(dir.path().join("7-web-1-fs0-fs.pid"), other.pid.to_string()).unwrap();
    let (helpers, left_out) = HelperBook::default().look(dir.path(), Some(7), own());
    assert!(!helpers.contains(&other), "{helpers:?}");
    assert_eq!(left_out, 0);
    end(child);
}

#[test]
fn a_pid_file_that_is_older_than_its_process_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("7-web-1-fs0-fs.pid");
    fs::write(&path, std::process::id().to_string()).unwrap();
    assert!(of_pid_file(&path).is_some());
    let long_ago = UNIX_EPOCH + Duration::from_secs(1);
    fs::File::open(&path)
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    assert_eq!(of_pid_file(&path), None);
}

#[test]
fn decoys_push_nobody_out_and_are_counted() {
    let mut book = HelperBook::default();
    let (child, known) = child();
    let found = |sure, told| Found { sure, told };
    let (first, left_out) = book.note(own(), found(vec![], vec![known]));
    assert_eq!((first, left_out), (vec![known], 0));
    // Seen for the first time now, and in the VM's own cgroup.
    let plugged_in = Process {
        pid: u32::MAX,
        start_ticks: 1,
    };
    let told = decoys(HELPERS_MAX);
    let (all, left_out) = book.note(own(), found(vec![plugged_in], told));
    assert_eq!(all.len(), HELPERS_MAX);
    assert!(all.starts_with(&[plugged_in, known]), "{all:?}");
    assert_eq!(left_out, 2);
    end(child);
}

#[test]
fn what_was_a_helper_stays_one_until_it_ends() {
    let mut book = HelperBook::default();
    let (child, helper) = child();
    let found = Found {
        sure: vec![own()],
        told: vec![helper],
    };
    // The VM is no helper of its own.
    assert_eq!(book.note(own(), found), (vec![helper], 0));
    // Its pid file is gone, then libvirt's file of the VM is.
    assert_eq!(book.note(own(), Found::default()), (vec![helper], 0));
    let mut seen = BTreeMap::new();
    book.complete(&mut seen);
    assert_eq!(seen, BTreeMap::from([(own(), vec![helper])]));
    end(child);
    assert_eq!(book.note(own(), Found::default()), (vec![], 0));
}

#[test]
fn the_helpers_of_a_vm_that_has_ended_are_forgotten() {
    let mut book = HelperBook::default();
    let (child, vm) = child();
    let found = Found {
        sure: vec![own()],
        told: vec![],
    };
    assert_eq!(book.note(vm, found).0, [own()]);
    end(child);
    let mut seen = BTreeMap::new();
    book.complete(&mut seen);
    assert_eq!(seen, BTreeMap::new());
}

#[test]
fn a_helper_that_proc_does_not_show_any_more_is_one_until_it_ends() {
    let empty = tempfile::tempdir().unwrap();
    let mut book = HelperBook {
        lives: Lives::shown_in(empty.path()),
        ..HelperBook::default()
    };
    let (vm, of_vm) = child();
    let (helper, of_helper) = child();
    let found = Found {
        sure: vec![of_helper],
        told: Vec::new(),
    };
    book.note(of_vm, found);
    // Whoever looks now finds neither of them.
    let look = |book: &mut HelperBook| {
        let mut seen = BTreeMap::new();
        book.complete(&mut seen);
        seen
    };
    assert_eq!(look(&mut book), BTreeMap::from([(of_vm, vec![of_helper])]));
    end(helper);
    assert_eq!(look(&mut book), BTreeMap::from([(of_vm, Vec::new())]));
    end(vm);
    assert_eq!(look(&mut book), BTreeMap::new());
}
