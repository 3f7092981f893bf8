//! What nobody can know any more: whether a charge is lost.

use super::{Situation, carried::Carried, facts::LogFacts};

/// Why a charge may be lost, although lines were carried over and the log was asked;
/// nothing where the log has all that lines which are lost may have charged.
/// `horizon_ns`: no charge counts for longer.
pub(super) fn doubts(
    carried: &Carried,
    facts: &LogFacts<'_>,
    here: Situation<'_>,
    horizon_ns: i64,
) -> Vec<String> {
    let mut doubts = Vec::new();
    if !reaches_back(carried, facts, here, horizon_ns) {
        doubts.push(
            "the audit log does not reach back to the first line that is lost, nor as far as a \
             limit's window does"
                .to_owned(),
        );
    }
    for (when, why) in &facts.gaps {
        let age_ns = when
            .as_ref()
            .map_or(0, |when| when.age_ns(here.boot_id, here.now));
        if age_ns <= horizon_ns {
            doubts.push(format!("the audit log has not everything: {why}"));
        }
    }
    for line in &carried.newer {
        doubts.push(format!(
            "line {line} is whole, and of a newer version of vmwardd: repair the journal with that \
             one"
        ));
    }
    doubts.extend(numbers(carried, facts));
    if carried.tail_is_unknown && !facts.ended_in_order() {
        doubts.push(
            "the lines at the end are lost, and the daemon was not stopped in order before that: \
             what it allowed in its last moment may be in neither journal nor audit log"
                .to_owned(),
        );
    }
    doubts
}

fn reaches_back(
    carried: &Carried,
    facts: &LogFacts<'_>,
    here: Situation<'_>,
    horizon_ns: i64,
) -> bool {
    let Some(first) = &facts.first else {
        return false;
    };
    let begins_before = || {
        let next = carried.whole_to?.saturating_add(1);
        Some(*facts.ids.first()? <= next)
    };
    first.is_genesis
        || first.when.age_ns(here.boot_id, here.now) > horizon_ns
        || begins_before().unwrap_or(false)
}

/// Numbers of decisions that nobody has: denials that share a record, or charges for
/// stops beside the gateway by a former version, of which the log does not tell.
fn numbers(carried: &Carried, facts: &LogFacts<'_>) -> Option<String> {
    let is_whole = facts.first.as_ref().is_some_and(|first| first.is_genesis);
    let first = match (carried.whole_to, is_whole) {
        (Some(whole_to), _) => whole_to.saturating_add(1),
        (None, true) => 1,
        (None, false) => *facts.ids.first()?,
    };
    let last = *facts.ids.last().max(carried.ids.last())?;
    let all = last.checked_sub(first)?.saturating_add(1);
    let own = carried.ids.range(first..);
    let own = own.filter(|id| !facts.ids.contains(id)).count();
    let known = facts.ids.range(first..).count() + own;
    let bundled = facts.bundled.iter().filter(|(last, _)| *last >= first);
    let bundled: u64 = bundled.map(|(_, count)| count).sum();
    let known = u64::try_from(known)
        .unwrap_or(u64::MAX)
        .saturating_add(bundled);
    let missing = all.checked_sub(known).filter(|missing| *missing > 0)?;
    Some(format!(
        "{missing} of the decisions {first} to {last} are in neither journal nor audit log"
    ))
}
