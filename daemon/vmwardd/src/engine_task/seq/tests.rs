use std::os::unix::fs::MetadataExt;

use super::*;

fn fresh(dir: &Path, canary: Option<Gap>) -> Seq {
    Seq::resume(dir, "boot", None, true, canary)
}

/// What is lost once nothing is late any more.
fn lost(seq: &mut Seq) -> Option<Loss> {
    assert_eq!(seq.lost(LATE_NS - 1), None, "too early to say");
    seq.lost(LATE_NS)
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "compared with what a look returns"
)]
fn all(from: u64, to: u64) -> Option<Loss> {
    Some(Loss::of(Gap { from, to }))
}

#[test]
fn a_gap_is_reported_once_and_exactly() {
    let dir = tempfile::tempdir().unwrap();
    let mut seq = fresh(dir.path(), None);
    seq.reached(1, 0);
    seq.reached(5, 0);
    seq.reached(6, 0);
    assert_eq!(lost(&mut seq), all(2, 4));
    assert_eq!(lost(&mut seq), None);
}

#[test]
fn events_that_overtook_each_other_are_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut seq = fresh(dir.path(), None);
    for number in [2, 1, 6, 4, 7, 3] {
        seq.reached(number, 0);
    }
    assert_eq!(lost(&mut seq), all(5, 5));
    seq.reached(9, 0);
    assert_eq!(seq.lost_at_end(), all(8, 8));
}

#[test]
fn the_canary_s_numbers_are_no_loss_and_real_ones_beside_them_are() {
    let dir = tempfile::tempdir().unwrap();
    let canary = Some(Gap { from: 4, to: 9 });
    let mut seq = fresh(dir.path(), canary);
    seq.reached(1, 0);
    seq.caught_up(0, 0);
    assert_eq!(lost(&mut seq), all(2, 3));
    seq.reached(10, 0);
    seq.reached(12, 0);
    assert_eq!(lost(&mut seq), all(11, 11));
    let mut none_before = fresh(dir.path(), Some(Gap { from: 1, to: 9 }));
    none_before.caught_up(0, 0);
    none_before.reached(10, 0);
    assert_eq!(lost(&mut none_before), None);
}

#[test]
fn the_next_daemon_of_the_same_boot_goes_on_and_finds_the_gap() {
    let dir = tempfile::tempdir().unwrap();
    let mut seq = fresh(dir.path(), None);
    seq.reached(1, 0);
    seq.store(None).unwrap();
    let mut next = fresh(dir.path(), None);
    next.reached(4, 0);
    assert_eq!(lost(&mut next), all(2, 3));
    next.store(Some(3)).unwrap();
    let mut after = fresh(dir.path(), None);
    after.reached(5, 0);
    assert_eq!(lost(&mut after), all(3, 4));
    let mut other_boot = Seq::resume(dir.path(), "other", None, false, None);
    other_boot.reached(1, 0);
    assert_eq!(lost(&mut other_boot), None);
}

#[test]
fn the_file_stays_the_one_that_the_kernel_guards() {
    let dir = tempfile::tempdir().unwrap();
    let mut seq = fresh(dir.path(), None);
    let mut stored = |number| {
        seq.reached(number, 0);
        seq.store(None).unwrap();
        std::fs::metadata(dir.path().join("kernel-seq.json")).unwrap()
    };
    let (first, second) = (stored(9), stored(10));
    assert_eq!(first.ino(), second.ino());
    assert_eq!(
        first.len(),
        second.len(),
        "nothing of the former stays behind"
    );
}

#[test]
fn what_is_lost_at_the_end_is_told_once_the_ring_was_empty() {
    let dir = tempfile::tempdir().unwrap();
    let mut seq = fresh(dir.path(), None);
    seq.reached(1, 0);
    seq.caught_up(0, 0);
    seq.given_out(1, 10);
    seq.caught_up(5, 10);
    seq.given_out(5, 10);
    seq.caught_up(10, 20);
    seq.given_out(6, 20);
    assert_eq!(seq.lost(i64::MAX), None, "it may still be in the ring");
    seq.reached(2, 20);
    // Read, perhaps; but not handed over before this.
    seq.given_out(6, 29);
    assert_eq!(seq.lost(i64::MAX), None, "it may be in a message");
    seq.caught_up(25, 30);
    seq.given_out(6, 30);
    assert_eq!(seq.lost(30), None, "it may still be on its way");
    seq.reached(4, 40);
    let late = Loss {
        from: 3,
        to: 5,
        count: 2,
    };
    assert_eq!(seq.lost(30 + LATE_NS), Some(late));
    seq.reached(6, 50);
    assert_eq!(seq.lost_at_end(), None, "none is told twice");
}

#[test]
fn the_newest_number_is_asked_for_once_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let mut seq = fresh(dir.path(), None);
    assert!(seq.wants_newest(0));
    assert!(!seq.wants_newest(LATE_NS - 1));
    assert!(seq.wants_newest(LATE_NS));
}

#[test]
fn numbers_of_a_count_that_began_anew_hide_no_loss() {
    // The kernel side was removed and attached again within one boot, so
    // the log holds greater numbers than the kernel has given out.
    let dir = tempfile::tempdir().unwrap();
    let canary = Some(Gap { from: 4, to: 9 });
    let mut seq = Seq::resume(dir.path(), "boot", Some(5000), true, canary);
    seq.reached(10, 0);
    assert_eq!(lost(&mut seq), all(1, 3));
}

#[test]
fn all_that_an_overload_loses_is_one_loss() {
    let dir = tempfile::tempdir().unwrap();
    let mut seq = fresh(dir.path(), None);
    // Each event that comes through has two before it that did not.
    for number in 1..=100_000 {
        seq.reached(3 * number, 0);
    }
    // One of an early gap, one of a late one.
    seq.reached(1, 0);
    seq.reached(299_999, 0);
    // There is no room to wait for the first ones.
    let at_once = seq.lost(0).unwrap();
    let later = lost(&mut seq).unwrap();
    assert_eq!((at_once.from, later.to), (1, 299_998));
    assert!(at_once.to < later.from);
    // The late one was waited for, the early one not.
    assert_eq!(at_once.count + later.count, 200_000 - 1);
    assert_eq!(lost(&mut seq), None, "none is told twice");
}
