//! Conditions on one place that no call can meet together.
//!
//! What is not looked at: conditions on different places, what three and more of
//! them leave where none names its values, and what patterns have in common.

use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::{
    Op, Predicate, Work,
    compare::{order, same},
    fixed::Fixed,
    operand::Operand,
};

/// Values of a condition that are tried on others.
const COMPARED_MAX: usize = 64;

/// Kinds of what can stand in a place: bits.
type Kinds = u8;

const MISSING: Kinds = 1;
const NULL: Kinds = 1 << 1;
const TRUTH: Kinds = 1 << 2;
const NUMBER: Kinds = 1 << 3;
const TEXT: Kinds = 1 << 4;
const LIST: Kinds = 1 << 5;
const OBJECT: Kinds = 1 << 6;
const ALL: Kinds = MISSING | NULL | TRUTH | NUMBER | TEXT | LIST | OBJECT;

/// Numbers on one side of another.
#[derive(Clone, Copy)]
struct Side<'a> {
    end: &'a Number,
    /// Those above it.
    above: bool,
    /// Without the end itself.
    strict: bool,
}

impl Predicate {
    /// Do both ask about the same place?
    pub(in crate::policy) fn is_beside(&self, other: &Self) -> bool {
        self.path.is_same_place(&other.path)
    }

    /// Is it a bound, such as `lt 5`?
    pub(in crate::policy) fn is_bound(&self) -> bool {
        self.side().is_some()
    }

    /// Can both never hold of one call?
    pub(in crate::policy) fn excludes(&self, other: &Self) -> bool {
        let sides = self.side().zip(other.side());
        let whole = self.path.fixed() == Some(Fixed::Uid);
        self.is_beside(other)
            && (self.held() & other.held() == 0
                || sides.is_some_and(|(one, other)| are_apart(one, other, whole))
                || self.is_refuted_by(&[other], &[])
                || other.is_refuted_by(&[self], &[]))
    }

    /// Does the other one, in a `deny_if`, deny whatever this one lets pass?
    pub(in crate::policy) fn is_denied_by(&self, denied: &Self) -> bool {
        let sides = self.side().zip(denied.side());
        self.is_beside(denied)
            && (self.held() & denied.unheld() == 0
                || sides.is_some_and(|(one, other)| is_inside(one, other))
                || self.is_refuted_by(&[], &[denied]))
    }

    /// Are its values known, and does each of them fail one of the others, which
    /// are on its place?
    pub(in crate::policy) fn is_refuted_by(&self, required: &[&Self], denied: &[&Self]) -> bool {
        let Some(own) = self.wanted().filter(|own| own.len() <= COMPARED_MAX) else {
            return false;
        };
        let says = |other: &Self, value: &Value| {
            let work = Work::default();
            other.operand.holds(other.op, Some(value), &work)
        };
        own.iter().all(|value| {
            required.iter().any(|one| says(one, value) != Ok(true))
                || denied.iter().any(|one| says(one, value) != Ok(false))
        })
    }

    /// The values that it must have, where those are all that it can have.
    fn wanted(&self) -> Option<&[Value]> {
        match (self.op, &self.operand) {
            (Op::Eq | Op::In, Operand::OneOf(values)) => Some(values),
            _ => None,
        }
    }

    fn side(&self) -> Option<Side<'_>> {
        let Operand::Bound(end) = &self.operand else {
            return None;
        };
        Some(Side {
            end,
            above: matches!(self.op, Op::Gt | Op::Gte),
            strict: matches!(self.op, Op::Gt | Op::Lt),
        })
    }

    /// Of what kinds of values it can hold.
    fn held(&self) -> Kinds {
        match &self.operand {
            Operand::OneOf(values) if self.is_negated() => others(values),
            Operand::OneOf(values) => these(values),
            Operand::Exists(true) => ALL & !MISSING,
            Operand::Exists(false) => MISSING,
            Operand::Bound(_) | Operand::Matches(_) | Operand::Contains(_) => self.taken(),
        }
    }

    /// Of what kinds of values it can be judged not to hold. Where it cannot be
    /// judged, the call is denied.
    fn unheld(&self) -> Kinds {
        match &self.operand {
            Operand::OneOf(values) if self.is_negated() => these(values),
            Operand::OneOf(values) => others(values),
            Operand::Exists(true) => MISSING,
            Operand::Exists(false) => ALL & !MISSING,
            Operand::Bound(_) | Operand::Matches(_) | Operand::Contains(_) => {
                self.taken() | MISSING
            }
        }
    }

    fn is_negated(&self) -> bool {
        matches!(self.op, Op::Neq | Op::NotIn)
    }

    /// The kinds of values that its operator can judge.
    fn taken(&self) -> Kinds {
        match &self.operand {
            Operand::Bound(_) => NUMBER,
            Operand::Matches(_) => TEXT,
            Operand::Contains(Value::String(_)) => TEXT | LIST,
            Operand::Contains(_) => LIST,
            Operand::OneOf(_) | Operand::Exists(_) => ALL,
        }
    }
}

/// The kinds of these values.
fn these(values: &[Value]) -> Kinds {
    values.iter().map(kind_of).fold(0, |all, kind| all | kind)
}

/// The kinds of values that can be compared with these, and be none of them.
fn others(values: &[Value]) -> Kinds {
    let has = |one: &Value| values.iter().any(|value| same(value, one));
    let null = if has(&Value::Null) { 0 } else { NULL };
    let typed = these(values) & !NULL;
    if typed == 0 {
        return ALL & !NULL;
    }
    let both = has(&Value::Bool(true)) && has(&Value::Bool(false));
    MISSING | null | if both { typed & !TRUTH } else { typed }
}

fn kind_of(value: &Value) -> Kinds {
    match value {
        Value::Null => NULL,
        Value::Bool(_) => TRUTH,
        Value::Number(_) => NUMBER,
        Value::String(_) => TEXT,
        Value::Array(_) => LIST,
        Value::Object(_) => OBJECT,
    }
}

/// Is there no number on both sides? `whole`: no whole one.
fn are_apart(one: Side<'_>, other: Side<'_>, whole: bool) -> bool {
    let (low, high) = match (one.above, other.above) {
        (true, false) => (one, other),
        (false, true) => (other, one),
        _ => return false,
    };
    match order(low.end, high.end) {
        Some(Ordering::Greater) => true,
        Some(Ordering::Equal) => low.strict || high.strict,
        Some(Ordering::Less) if whole => {
            let ends = low.end.as_f64().zip(high.end.as_f64());
            ends.is_some_and(|(from, to)| {
                let least = if low.strict {
                    from.floor() + 1.0
                } else {
                    from.ceil()
                };
                let most = if high.strict {
                    to.ceil() - 1.0
                } else {
                    to.floor()
                };
                least > most
            })
        }
        Some(Ordering::Less) | None => false,
    }
}

/// Are all numbers on this side on the other one, too?
fn is_inside(one: Side<'_>, other: Side<'_>) -> bool {
    let Some(ordering) = order(one.end, other.end) else {
        return false;
    };
    let beyond = if one.above {
        ordering.is_gt()
    } else {
        ordering.is_lt()
    };
    one.above == other.above && (beyond || ordering.is_eq() && (one.strict || !other.strict))
}
