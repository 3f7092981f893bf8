//! Conditions on what is always of one kind, such as the effect. One that could
//! never be otherwise is a mistake: `effect eq "force-stop"` in a `deny_if` would
//! let every call pass, and nobody would be told.

use serde_json::Value;

use super::{Op, Part, PredicateError, compare::kind, operand::Operand, path::Path};
use crate::{
    effect::Effect,
    ids::VmUuid,
    policy::{names::check_unit, parse::UID_MAX, pattern::Work, suggest},
};

/// What can stand in a place that is not an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fixed {
    /// A number of a user.
    Uid,
    /// One of the effects.
    Effect,
    /// A UUID in lower case.
    Uuid,
    /// The full name of a systemd unit.
    Unit,
    /// A whole path.
    Exe,
    /// Any text.
    Text,
}

/// Can the condition be true at some time, and false at another?
pub(super) fn check(path: &Path, op: Op, operand: &Operand) -> Result<(), PredicateError> {
    let Some(fixed) = path.fixed() else {
        return Ok(());
    };
    match operand {
        Operand::Exists(_) if path.is_always_there() => Err(PredicateError {
            part: Part::Op,
            message: format!("every call has {:?}", path.text()),
            help: Some("remove the condition".to_owned()),
        }),
        Operand::Exists(_) => Ok(()),
        Operand::OneOf(values) => values.iter().try_for_each(|value| one(path, fixed, value)),
        Operand::Bound(_) if fixed == Fixed::Uid => bound(op, operand),
        Operand::Bound(_) => Err(no_operator(path, op, fixed)),
        Operand::Matches(_) | Operand::Contains(_) if fixed == Fixed::Uid => {
            Err(no_operator(path, op, fixed))
        }
        Operand::Matches(pattern) => some_effect(fixed, |name| pattern.is_match(name)),
        Operand::Contains(Value::String(part)) => {
            some_effect(fixed, |name| name.contains(part.as_str()))
        }
        Operand::Contains(value) => Err(wrong_kind(path, fixed, value)),
    }
}

/// Is it true of some users and not of others? Of all between two users it is true
/// where it is true of both.
fn bound(op: Op, operand: &Operand) -> Result<(), PredicateError> {
    let of = |uid: u32| operand.holds(op, Some(&Value::from(uid)), &Work::default());
    let which = match (of(0), of(UID_MAX)) {
        (Ok(true), Ok(true)) => "every",
        (Ok(false), Ok(false)) => "no",
        _ => return Ok(()),
    };
    let message = format!("it is true of {which} user");
    Err(wrong(message, format!("a uid is 0 to {UID_MAX}")))
}

/// Can this very value stand there?
fn one(path: &Path, fixed: Fixed, value: &Value) -> Result<(), PredicateError> {
    match (fixed, value) {
        (Fixed::Uid, Value::Number(number)) => {
            let is_uid =
                |number: f64| (0.0..=f64::from(UID_MAX)).contains(&number) && number.fract() == 0.0;
            if number.as_f64().is_some_and(is_uid) {
                return Ok(());
            }
            let message = format!("{number} is no user's number");
            Err(wrong(message, format!("a uid is 0 to {UID_MAX}")))
        }
        (Fixed::Uid, _) | (_, Value::Null | Value::Bool(_) | Value::Number(_)) => {
            Err(wrong_kind(path, fixed, value))
        }
        (_, value) => text(fixed, value.as_str().unwrap_or_default()),
    }
}

fn text(fixed: Fixed, text: &str) -> Result<(), PredicateError> {
    match fixed {
        Fixed::Effect => {
            let names = Effect::ALL.map(Effect::name);
            if names.contains(&text) {
                return Ok(());
            }
            let help = match suggest::nearest(text, &names) {
                _ if text == "none" => MISSING.to_owned(),
                Some(word) => format!("did you mean {word:?}?"),
                None => the_effects(),
            };
            Err(wrong(format!("unknown effect {text:?}"), help))
        }
        Fixed::Uuid => match text.parse::<VmUuid>() {
            Err(error) => Err(wrong(error.to_string(), "write the whole of it".to_owned())),
            Ok(uuid) if uuid.to_string() == text => Ok(()),
            Ok(uuid) => Err(wrong(
                "\"vm.uuid\" holds lower case".to_owned(),
                format!("write \"{uuid}\""),
            )),
        },
        Fixed::Unit => check_unit(text).map_err(|(message, help)| wrong(message, help)),
        Fixed::Exe if !text.starts_with('/') => Err(wrong(
            format!("\"caller.exe\" holds a whole path, found {text:?}"),
            "write it from the root, such as \"/usr/bin/agent\"".to_owned(),
        )),
        Fixed::Exe | Fixed::Text | Fixed::Uid => Ok(()),
    }
}

/// Is there an effect for which it holds?
fn some_effect(fixed: Fixed, holds: impl FnMut(&str) -> bool) -> Result<(), PredicateError> {
    if fixed != Fixed::Effect || Effect::ALL.map(Effect::name).into_iter().any(holds) {
        return Ok(());
    }
    Err(wrong("it is true of no effect".to_owned(), the_effects()))
}

/// What to do about a value that is not there.
const MISSING: &str = "for what is not there write \"op\": \"exists\", \"value\": false";

fn the_effects() -> String {
    format!(
        "the effects are {}",
        Effect::ALL.map(Effect::name).join(", ")
    )
}

fn wrong_kind(path: &Path, fixed: Fixed, value: &Value) -> PredicateError {
    let help = match (fixed, value) {
        (_, Value::Null) => MISSING.to_owned(),
        (Fixed::Uid, Value::String(text)) if text.parse::<u32>().is_ok() => {
            format!("write {text}, without the quotes")
        }
        (Fixed::Uid, _) => "a user is named by number".to_owned(),
        (_, value) => format!("write \"{value}\", in quotes"),
    };
    let message = format!(
        "{:?} holds {}; found {}",
        path.text(),
        holds(fixed),
        kind(value)
    );
    wrong(message, help)
}

fn no_operator(path: &Path, op: Op, fixed: Fixed) -> PredicateError {
    let help = match fixed {
        Fixed::Uid => "use \"eq\", \"in\" or \"lt\"",
        _ => "use \"eq\", \"in\" or \"regex\"",
    };
    PredicateError {
        part: Part::Op,
        message: format!(
            "{:?} holds {}, for which {:?} means nothing",
            path.text(),
            holds(fixed),
            op.name()
        ),
        help: Some(help.to_owned()),
    }
}

fn holds(fixed: Fixed) -> &'static str {
    match fixed {
        Fixed::Uid => "a number",
        _ => "a string",
    }
}

fn wrong(message: String, help: String) -> PredicateError {
    PredicateError {
        part: Part::Value,
        message,
        help: Some(help),
    }
}
