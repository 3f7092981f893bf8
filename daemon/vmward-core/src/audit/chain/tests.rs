//! The chain shows every edit, removal, insertion and swap.

use serde_json::Value;

use super::*;
use crate::audit::{AUDIT_FORMAT, DaemonRecord, Genesis};

const BOOT: &str = "0c7b2a52-9f0e-4c53-a9d0-7f1f2d6a9b10";

fn note(detail: &str) -> AuditBody {
    AuditBody::Daemon(DaemonRecord {
        event: "started".to_owned(),
        detail: Some(detail.to_owned()),
        charged: None,
    })
}

fn at(seconds: i64) -> Now {
    Now {
        boot_ns: seconds * clock::NS_PER_S,
        wall_ns: 1_795_397_562 * clock::NS_PER_S,
    }
}

fn log(lines: i64) -> Vec<String> {
    let mut chain = Chain::new();
    let genesis = AuditBody::Genesis(Genesis {
        format: AUDIT_FORMAT,
        daemon: "0.1.0".to_owned(),
    });
    let mut log = vec![chain.append(&genesis, BOOT, at(1))];
    for line in 1..lines {
        log.push(chain.append(&note(&format!("line {line} \"quoted\" }}")), BOOT, at(line)));
    }
    log
}

/// The index of the first bad line and its error, or `None`.
fn verify(log: &[String]) -> Option<(usize, ChainError)> {
    let mut verifier = Verifier::new();
    log.iter()
        .enumerate()
        .find_map(|(index, line)| Some((index, verifier.check_line(line).err()?)))
}

#[test]
fn a_line_is_json_with_its_time_and_its_hash_last() {
    let log = log(2);
    let value: Value = serde_json::from_str(&log[0]).expect("JSON");
    assert_eq!(value["seq"], 1);
    assert_eq!(value["kind"], "genesis");
    assert_eq!(value["time"], "2026-11-23T01:32:42.000Z");
    assert_eq!(value["boot_id"], BOOT);
    assert_eq!(value["boot_ns"], clock::NS_PER_S);
    assert_eq!(value["prev"], NO_HASH);
    let next: Value = serde_json::from_str(&log[1]).expect("JSON");
    assert_eq!(next["prev"], value["hash"]);
    let members: Vec<&String> = value.as_object().expect("an object").keys().collect();
    assert_eq!(members.last().map(|key| key.as_str()), Some("hash"));
}

#[test]
fn the_hash_can_be_checked_without_this_code() {
    // As the documentation says: cut the member out and hash what is left.
    let line = &log(3)[2];
    let (text, hash) = line.rsplit_once(",\"hash\":\"").expect("a hash");
    let text = format!("{text}}}");
    assert_eq!(format!("{}\"}}", sha256_hex(text.as_bytes())), hash);
}

#[test]
fn an_untouched_log_verifies() {
    assert!(verify(&log(20)).is_none());
}

#[test]
fn an_edit_is_found_at_its_line() {
    let mut log = log(5);
    log[2] = log[2].replace("line 2", "line 7");
    let (index, error) = verify(&log).expect("found");
    assert_eq!(index, 2);
    assert!(matches!(error, ChainError::Hash { seq: 3, .. }), "{error}");
}

#[test]
fn an_edit_with_a_hash_made_anew_is_found_at_the_next_line() {
    let mut log = log(5);
    let mut forger = Chain::resume(&log[1]).expect("a line");
    log[2] = forger.append(&note("nothing happened here"), BOOT, at(2));
    let (index, error) = verify(&log).expect("found");
    assert_eq!(index, 3);
    assert!(matches!(error, ChainError::Prev { seq: 4, .. }), "{error}");
}

#[test]
fn a_removal_a_swap_and_an_insertion_are_found() {
    let mut removed = log(5);
    removed.remove(2);
    assert!(matches!(
        verify(&removed),
        Some((
            2,
            ChainError::Gap {
                expected: 3,
                found: 4
            }
        ))
    ));

    let mut first = log(5);
    first.remove(0);
    assert!(matches!(
        verify(&first),
        Some((
            0,
            ChainError::Gap {
                expected: 1,
                found: 2
            }
        ))
    ));

    let mut swapped = log(5);
    swapped.swap(2, 3);
    assert!(matches!(
        verify(&swapped),
        Some((
            2,
            ChainError::Gap {
                expected: 3,
                found: 4
            }
        ))
    ));

    let mut doubled = log(5);
    doubled.insert(3, doubled[2].clone());
    assert!(matches!(
        verify(&doubled),
        Some((
            3,
            ChainError::Gap {
                expected: 4,
                found: 3
            }
        ))
    ));
}

#[test]
fn what_is_no_record_is_said_so() {
    let good = log(1).remove(0);
    let cut = &good[..good.len() - 1];
    for line in ["", "{}", "ü", cut, &good.replace("\"hash\"", "\"hush\"")] {
        let result = Verifier::new().check_line(line);
        assert!(
            matches!(result, Err(ChainError::Shape)),
            "{line}: {result:?}"
        );
    }
    let no_json = good.replacen('{', "[", 1);
    assert!(matches!(
        Verifier::new().check_line(&no_json),
        Err(ChainError::Json(_))
    ));
}

#[test]
fn a_log_goes_on_after_a_restart_and_over_a_rotation() {
    let mut log = log(3);
    let mut chain = Chain::resume(&log[2]).expect("a line");
    assert_eq!(chain.next_seq(), 4);
    log.push(chain.append(&note("again"), BOOT, at(9)));
    assert!(verify(&log).is_none());

    let mut rotated = Verifier::after(Chain::resume(&log[1]).expect("a line"));
    rotated.check_line(&log[2]).expect("continues");
    let mut middle = Verifier::anywhere();
    middle.check_line(&log[2]).expect("taken as given");
    middle.check_line(&log[3]).expect("continues");
    assert_eq!((middle.checked(), middle.chain()), (2, Some(&chain)));
}
