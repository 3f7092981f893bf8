//! Lines, torn and damaged; entries out of place.

use super::*;
use crate::lease::EXECUTING_MS;

fn boot() -> JournalEntry {
    JournalEntry::Boot {
        boot_id: "one".to_owned(),
        at: Now::default(),
    }
}

fn release(id: u64) -> JournalEntry {
    JournalEntry::Release {
        id: DecisionId(id),
        state: LeaseState::Expired,
        at: Now::default(),
    }
}

fn journal(entries: &[JournalEntry]) -> Vec<u8> {
    entries
        .iter()
        .flat_map(|entry| encode_line(entry).expect("JSON"))
        .collect()
}

#[test]
fn a_line_is_a_checksum_and_json() {
    let line = encode_line(&release(7)).expect("JSON");
    let text = r#"{"t":"release","id":7,"state":"expired","at":{"boot_ns":0,"wall_ns":0}}"#;
    assert_eq!(
        line,
        format!("{:08x} {text}\n", crc32fast::hash(text.as_bytes())).as_bytes()
    );
    assert_eq!(decode_line(&line).expect("intact"), release(7));
}

#[test]
fn any_single_changed_bit_is_noticed() {
    let line = encode_line(&release(7)).expect("JSON");
    for bit in 0..line.len() * 8 {
        let mut bad = line.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        // The case of a checksum's digit carries no meaning.
        let same = decode_line(&bad).is_ok_and(|entry| entry == release(7));
        assert!(decode_line(&bad).is_err() || same, "bit {bit}");
    }
}

#[test]
fn lines_without_checksum_or_end_are_told_apart() {
    let line = encode_line(&boot()).expect("JSON");
    assert!(matches!(
        decode_line(&line[..line.len() - 1]),
        Err(LineError::CutOff)
    ));
    assert!(matches!(decode_line(b"\n"), Err(LineError::Shape)));
    assert!(matches!(
        decode_line(b"{\"t\":\"boot\"}\n"),
        Err(LineError::Shape)
    ));
    let unknown = "{\"t\":\"later\"}";
    let line = format!("{:08x} {unknown}\n", crc32fast::hash(unknown.as_bytes()));
    assert!(matches!(
        decode_line(line.as_bytes()),
        Err(LineError::Json(_))
    ));
}

#[test]
fn a_torn_last_line_is_dropped_and_reported_wherever_it_is_cut() {
    let whole = journal(&[boot(), release(1)]);
    let kept = journal(&[boot()]).len();
    for cut in kept + 1..whole.len() {
        let torn = Replay::read(&whole[..cut])
            .expect("a torn tail is no error")
            .torn();
        assert_eq!(
            torn,
            Some(TornTail {
                line: 2,
                offset: kept,
                bytes: cut - kept
            })
        );
    }
    assert_eq!(Replay::read(&whole).expect("whole").torn(), None);
    assert_eq!(Replay::read(b"").expect("empty").torn(), None);

    // There was room for the line, and not all of its text came to the disk.
    for kept_of_line in [4, whole.len() - kept - 1] {
        let mut zeroed = whole.clone();
        zeroed[kept + kept_of_line..].fill(0);
        let torn = Replay::read(&zeroed).expect("torn").torn();
        let torn = torn.expect("a part is there");
        assert_eq!((torn.offset, torn.bytes), (kept, kept_of_line));
    }
}

#[test]
fn a_last_line_that_has_its_end_is_damaged_and_never_dropped() {
    let whole = journal(&[boot(), release(1)]);
    let kept = journal(&[boot()]).len();
    let intact = Replay::read(&whole).expect("intact");
    for bit in kept * 8..whole.len() * 8 {
        let mut bad = whole.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        match Replay::read(&bad) {
            Err(ReplayError::Damaged { line: 2, .. }) => {}
            // The case of a checksum's digit carries no meaning.
            Ok(same) => assert_eq!(format!("{same:?}"), format!("{intact:?}"), "bit {bit}"),
            Err(other) => panic!("bit {bit}: {other}"),
        }
    }
}

#[test]
fn room_behind_the_last_line_is_no_line() {
    let mut bytes = journal(&[boot(), release(1)]);
    let len = bytes.len();
    bytes.resize(len + 5000, 0);
    let replay = Replay::read(&bytes).expect("intact");
    assert_eq!(replay.torn(), None);
    let state = replay.finish("one", Now::default());
    assert_eq!((state.bytes, state.lines), (len, 2));
    let state = Replay::read(&[0; 700]).expect("empty");
    assert_eq!(state.finish("one", Now::default()).bytes, 0);
}

/// Two lines that were durable, and a batch of thirty in the room behind them, which
/// begins at that byte and line.
fn with_batch() -> (Vec<u8>, usize, usize) {
    let mut bytes = encode_batch([boot()], 1).expect("JSON");
    bytes.extend(encode_batch([release(1)], 2).expect("JSON"));
    let start = bytes.len();
    let batch: Vec<_> = (2..32).map(release).collect();
    bytes.extend(encode_batch(&batch, 3).expect("JSON"));
    bytes.resize(bytes.len().next_multiple_of(4096), 0);
    (bytes, start, 3)
}

#[test]
fn whatever_sectors_of_the_last_batch_came_to_the_disk_it_is_torn_and_not_damaged() {
    let (whole, start, first) = with_batch();
    let sectors = start / 512..whole.len().div_ceil(512);
    assert!(sectors.len() >= 6 && !start.is_multiple_of(512));
    for lost in 0..1_u32 << sectors.len().min(8) {
        let mut bytes = whole.clone();
        for (bit, sector) in sectors.clone().enumerate() {
            if lost >> bit & 1 == 1 {
                let from = (sector * 512).max(start);
                bytes[from..(sector + 1) * 512].fill(0);
            }
        }
        let state = Replay::read(&bytes)
            .unwrap_or_else(|error| panic!("{lost:b}: {error}"))
            .finish("one", Now::default());
        assert!(state.bytes >= start && state.lines + 1 >= first as u64);
        let is_whole = bytes == whole;
        assert_eq!(state.lines == 32, is_whole, "{lost:b}");
        let kept_nothing = bytes[start..].iter().all(|byte| *byte == 0);
        assert_eq!(state.torn.is_none(), is_whole || kept_nothing, "{lost:b}");
    }
}

#[test]
fn a_sector_that_is_lost_from_lines_that_were_durable_is_damage() {
    let (mut bytes, start, first) = with_batch();
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("lines") + 1;
    // Any line that was written later proves that the batch was durable.
    let later = encode_batch([release(40)], 33).expect("JSON");
    bytes[end..end + later.len()].copy_from_slice(&later);
    let sector = start.next_multiple_of(512);
    bytes[sector..sector + 512].fill(0);
    let error = Replay::read(&bytes).expect_err("damaged");
    assert!(
        matches!(error, ReplayError::Damaged { line, .. } if line >= first),
        "{error}"
    );
    let source = std::error::Error::source(&error).expect("a source");
    assert_eq!(
        source.to_string(),
        "the line has zeros in it that no crash has left there"
    );

    // So is a hole that is none of a disk's making.
    let (mut bytes, start, _first) = with_batch();
    bytes[start + 4..start + 30].fill(0);
    assert!(Replay::read(&bytes).is_err());
}

#[test]
fn a_bad_line_before_the_last_stops_everything_and_says_where() {
    let mut bad = journal(&[boot(), release(1), release(2)]);
    let offset = journal(&[boot()]).len();
    bad[offset + 20] ^= 1;
    let error = Replay::read(&bad).expect_err("damaged");
    assert_eq!(
        error.to_string(),
        format!(
            "journal line 2 (at byte {offset}) is damaged; stop vmwardd and run `vmwardd \
             --repair-journal` (with the daemon's `--config`, where it has one), which goes on \
             with every line that is whole and charges again what the audit log has; `--dry-run` \
             beside it only tells. Or restore the file as it was. `vmwardd --new-journal` puts it \
             aside and starts with empty counters"
        )
    );
    let source = std::error::Error::source(&error).expect("a source");
    assert_eq!(source.to_string(), "the line's checksum is wrong");
}

#[test]
fn an_intact_last_line_of_a_newer_version_is_no_torn_tail() {
    let mut later = journal(&[boot()]);
    let unknown = "{\"t\":\"later\"}";
    later.extend(format!("{:08x} {unknown}\n", crc32fast::hash(unknown.as_bytes())).bytes());
    assert!(matches!(
        Replay::read(&later),
        Err(ReplayError::Damaged { line: 2, .. })
    ));
}

#[test]
fn a_line_that_is_missing_in_the_middle_is_noticed_by_the_numbers() {
    let entries = [boot(), release(1), release(2), release(3)];
    let batch = encode_batch(&entries, 1).expect("JSON");
    let lines = batch.split_inclusive(|byte| *byte == b'\n');
    let lines: Vec<Vec<u8>> = lines.map(<[u8]>::to_vec).collect();
    for (line, entry) in lines.iter().zip(&entries) {
        assert_eq!(&decode_line(line).expect("intact"), entry);
    }
    let whole = Replay::read(&lines.concat()).expect("intact");
    assert_eq!(whole.finish("one", Now::default()).lines, 4);
    for missing in 0..lines.len() - 1 {
        let mut kept = lines.clone();
        kept.remove(missing);
        let error = Replay::read(&kept.concat()).expect_err("a line is missing");
        let line = missing + 1;
        assert!(
            matches!(error, ReplayError::Number { line: told, .. } if told == line),
            "{error}"
        );
    }

    // A former version's lines count as they stand.
    let mut mixed = journal(&entries);
    mixed.extend(encode_batch(&entries, 5).expect("JSON"));
    let mixed = Replay::read(&mixed).expect("intact");
    assert_eq!(mixed.finish("one", Now::default()).lines, 8);
}

#[test]
fn a_journal_that_lost_its_beginning_is_refused() {
    let headless = journal(&[release(1)]);
    assert!(matches!(
        Replay::read(&headless),
        Err(ReplayError::NoBoot { line: 1, offset: 0 })
    ));
}

#[test]
fn an_age_over_a_reboot_is_told_by_the_wall_clock_and_never_negative() {
    let at = |boot_ns, wall_ns| Now { boot_ns, wall_ns };
    let key = CounterKey {
        counter: "c".to_owned(),
        key: "grant:uid:0".to_owned(),
    };
    let counter = CounterEntry {
        key,
        maker: None,
        window_s: None,
        stamps: vec![CounterStamp {
            id: DecisionId(1),
            at: at(5_000, 1_000_000),
            cost: 1,
        }],
    };
    let snapshot = JournalEntry::Snapshot {
        next_id: 9,
        recent: Vec::new(),
    };
    let start = JournalEntry::Boot {
        boot_id: "one".to_owned(),
        at: at(5_000, 1_000_000),
    };
    let entries = [start, snapshot, JournalEntry::Counter(counter)];
    let stamp = |boot_id: &str, now| {
        let state = Replay::read(&journal(&entries))
            .expect("intact")
            .finish(boot_id, now);
        assert_eq!(state.next_id, 9);
        state.stamps[0].stamp.at_ns
    };
    assert_eq!(stamp("one", at(7_000, 0)), 5_000, "the same boot: as it is");
    assert_eq!(stamp("one", at(4_000, 0)), 4_000, "never in the future");
    assert_eq!(stamp("two", at(100, 1_000_300)), -200, "300 ns old");
    assert_eq!(
        stamp("two", at(100, 0)),
        0,
        "the clock was set back: as old as this boot"
    );
}

#[test]
fn a_claim_moves_the_deadline() {
    let lease = Lease {
        id: DecisionId(1),
        vm: crate::ids::VmUuid::from_bytes([1; 16]),
        vm_name: "web-1".to_owned(),
        process: Process {
            pid: 1,
            start_ticks: 1,
        },
        effect: crate::effect::Effect::Stop,
        holder: Process {
            pid: 2,
            start_ticks: 2,
        },
        deadline_ns: 10,
        state: LeaseState::Granted,
        grant: "uid:0".to_owned(),
        begun: false,
    };
    let at = Now {
        boot_ns: 7,
        wall_ns: 0,
    };
    let claim = JournalEntry::Lease {
        id: DecisionId(1),
        state: LeaseState::Executing,
        at,
    };
    let entries = [boot(), JournalEntry::Open(Box::new(lease)), claim];
    let state = Replay::read(&journal(&entries))
        .expect("intact")
        .finish("one", at);
    assert_eq!(
        state.leases[0].deadline_ns,
        7 + EXECUTING_MS * crate::clock::NS_PER_MS
    );
}

/// What a journal of this build's predecessor says is left in its own boot.
fn charged(journal: &str) -> Vec<(u64, u32)> {
    let now = Now {
        boot_ns: 3_000_000_000,
        ..Now::default()
    };
    let replay = Replay::read(journal.as_bytes()).expect("intact");
    let state = replay.finish("boot-0", now);
    assert_eq!((state.next_id, state.leases.len()), (3, 2));
    let stamps = state.stamps.iter();
    let stamps = stamps.map(|restored| (restored.stamp.id.0, restored.stamp.cost));
    stamps.collect()
}

#[test]
fn a_journal_from_before_calls_had_costs_replays() {
    let calls = charged(include_str!("../../tests/data/journal/before-costs.jsonl"));
    assert_eq!(calls, [(1, 1), (2, 1)]);
    let snapshot = include_str!("../../tests/data/journal/before-costs-snapshot.jsonl");
    assert_eq!(charged(snapshot), [(1, 1), (2, 1)]);
}

#[test]
fn a_cost_is_written_only_where_it_is_not_1_and_read_back() {
    let key = CounterKey {
        counter: "c".to_owned(),
        key: "grant:uid:0".to_owned(),
    };
    let charge = |cost| Charge {
        key: key.clone(),
        cost,
        maker: None,
        window_s: None,
    };
    let text = |cost| serde_json::to_string(&charge(cost)).expect("JSON");
    assert_eq!(text(1), r#"{"counter":"c","key":"grant:uid:0"}"#);
    assert_eq!(text(7), r#"{"counter":"c","key":"grant:uid:0","cost":7}"#);
    let read = |text: &str| serde_json::from_str::<Charge>(text).expect("a charge");
    assert_eq!((read(&text(1)), read(&text(7))), (charge(1), charge(7)));

    let stamp = |cost| CounterStamp {
        id: DecisionId(4),
        at: Now::default(),
        cost,
    };
    let line = serde_json::to_string(&[stamp(1), stamp(7)]).expect("JSON");
    let at = r#"{"boot_ns":0,"wall_ns":0}"#;
    assert_eq!(line, format!("[[4,{at}],[4,{at},7]]"));
    let read: Vec<CounterStamp> = serde_json::from_str(&line).expect("stamps");
    assert_eq!(read, [stamp(1), stamp(7)]);
}
