//! A damaged journal, repaired with the audit log's help: whatever is damaged, nothing
//! is free that was charged, and nothing is open that was closed.

mod host;

use proptest::prelude::*;

use self::host::{Host, Step, step};
use super::*;
use crate::{approval::ApprovalState, audit::chain::Chain, journal::decode_line};

#[derive(Clone, Debug)]
enum Damage {
    /// A bit of the file.
    Flip(prop::sample::Index),
    /// Everything from a byte on.
    Cut(prop::sample::Index),
    /// Some lines from one on.
    Remove(prop::sample::Index, usize),
    /// The same, which are there for a second time at the end.
    Repeat(prop::sample::Index, usize),
    Zeros(prop::sample::Index, usize),
    Rubbish(prop::sample::Index, Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    let place = any::<prop::sample::Index>;
    prop_oneof![
        4 => place().prop_map(Damage::Flip),
        1 => place().prop_map(Damage::Cut),
        3 => (place(), 1..6_usize).prop_map(|(at, n)| Damage::Remove(at, n)),
        1 => (place(), 1..4_usize).prop_map(|(at, n)| Damage::Repeat(at, n)),
        1 => (place(), 1..900_usize).prop_map(|(at, n)| Damage::Zeros(at, n)),
        1 => (place(), prop::collection::vec(any::<u8>(), 1..40))
            .prop_map(|(at, bytes)| Damage::Rubbish(at, bytes)),
    ]
}

fn damaged(mut journal: Vec<u8>, damage: &Damage) -> Vec<u8> {
    if journal.is_empty() {
        return journal;
    }
    let lines = |journal: &[u8], at: &prop::sample::Index, n: usize| {
        let lines = journal.split_inclusive(|byte| *byte == b'\n');
        let ends: Vec<usize> = std::iter::once(0)
            .chain(lines.scan(0, |end, line| {
                *end += line.len();
                Some(*end)
            }))
            .collect();
        let first = at.index(ends.len() - 1);
        ends[first]..ends[(first + n).min(ends.len() - 1)]
    };
    match damage {
        Damage::Flip(at) => {
            let bit = at.index(journal.len() * 8);
            journal[bit / 8] ^= 1 << (bit % 8);
        }
        Damage::Cut(at) => journal.truncate(at.index(journal.len())),
        Damage::Remove(at, n) => drop(journal.drain(lines(&journal, at, *n))),
        Damage::Repeat(at, n) => journal.extend_from_within(lines(&journal.clone(), at, *n)),
        Damage::Zeros(at, n) => {
            let from = at.index(journal.len());
            let to = (from + n).min(journal.len());
            journal[from..to].fill(0);
        }
        Damage::Rubbish(at, bytes) => {
            let at = at.index(journal.len());
            journal.splice(at..at, bytes.iter().copied());
        }
    }
    journal
}

/// Is there nothing free, and nothing open, by `repaired` that is not by `truth`?
fn is_no_looser(repaired: &Engine, truth: &Engine, now: Now) -> Result<(), TestCaseError> {
    for later_s in [0, 15, 45, 600] {
        let now = Now {
            boot_ns: now.boot_ns + later_s * NS_PER_S,
            ..now
        };
        let rows = repaired.limits(now);
        for row in truth.limits(now) {
            let same = |other: &&LimitRow| {
                (&other.counter, &other.key, other.window_s)
                    == (&row.counter, &row.key, row.window_s)
            };
            let left = rows
                .iter()
                .find(same)
                .map_or(row.max, |other| other.remaining);
            prop_assert!(left <= row.remaining, "{left} free in {later_s} s: {row:?}");
        }
    }
    for approval in repaired
        .approvals()
        .filter(|one| one.state != ApprovalState::Denied)
    {
        let own = truth.approval(approval.id);
        prop_assert_eq!(own.map(|own| own.state), Some(approval.state));
    }
    for denied in truth
        .approvals()
        .filter(|one| one.state == ApprovalState::Denied)
    {
        let own = repaired.approval(denied.id);
        prop_assert!(own.is_none_or(|own| own.state == ApprovalState::Denied));
    }
    for lease in repaired.leases() {
        prop_assert_eq!(truth.lease(lease.id), Some(lease));
    }
    for disarm in repaired.disarms().iter() {
        prop_assert_eq!(truth.disarms().get(disarm.process()), Some(disarm));
    }
    Ok(())
}

/// Does `repaired` have just the charges of `truth`?
fn charges_the_same(repaired: &Engine, truth: &Engine, now: Now) -> Result<(), TestCaseError> {
    // Over a reboot the log tells an age in milliseconds, and never as too great.
    let now = Now {
        boot_ns: now.boot_ns + NS_PER_S / 2,
        ..now
    };
    let rows = |engine: &Engine| -> Vec<_> {
        let rows = engine.limits(now).into_iter();
        rows.map(|row| (row.counter, row.key, row.remaining))
            .collect()
    };
    prop_assert_eq!(rows(repaired), rows(truth));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn nothing_is_free_or_open_after_a_repair_that_was_not_before(
        steps in prop::collection::vec(step(), 1..60),
        damages in prop::collection::vec(damage(), 1..4),
    ) {
        let mut host = Host::new();
        for step in &steps {
            host.take(step);
        }
        host.record(&AuditBody::daemon("stopping", None));
        let journal = damages.iter().fold(host.journal.clone(), damaged);
        let (engine, state, report) = host.repaired(&journal);
        is_no_looser(&engine, &host.engine, host.now)?;
        // A refund whose line is lost is none, where the charge's line is whole.
        if !steps.iter().any(|step| matches!(step, Step::Close(_))) {
            charges_the_same(&engine, &host.engine, host.now)?;
        }
        prop_assert!(state.next_id >= host.engine.next_id);
        // The log has everything.
        prop_assert_eq!(report.lost, Vec::<String>::new());
    }

    #[test]
    fn an_allow_that_neither_journal_nor_log_has_is_named(
        steps in prop::collection::vec(step(), 1..40),
        lost in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let mut host = Host::new();
        for step in &steps {
            host.take(step);
        }
        host.ask(stop(7));
        host.take(&Step::Exit(7));
        let journal = host.journal.clone();
        let lines: Vec<&[u8]> = journal.split_inclusive(|byte| *byte == b'\n').collect();
        let is_allow = |line: &&[u8]| String::from_utf8_lossy(line).contains("\"t\":\"allow\"");
        let allows: Vec<usize> = (0..lines.len()).filter(|at| is_allow(&lines[*at])).collect();
        prop_assume!(!allows.is_empty());
        let at = allows[lost.index(allows.len())];
        let Ok(JournalEntry::Allow(allow)) = decode_line(lines[at]) else { panic!() };
        let mut kept = lines.clone();
        kept.remove(at);
        if cut {
            kept.truncate(at);
        }
        // It is dropped from the log, whose chain is made anew; the daemon was killed.
        let log = std::mem::take(&mut host.log);
        host.chain = Chain::new();
        for line in log {
            let body: AuditBody = serde_json::from_str(&line).expect("a record");
            if body.decision_id() != Some(allow.id) {
                host.record(&body);
            }
        }
        let (_, _, report) = host.repaired(&kept.concat());
        prop_assert!(!report.lost.is_empty(), "{:?}", report);
    }
}
