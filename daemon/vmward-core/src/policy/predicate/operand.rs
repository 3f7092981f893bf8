//! What an operator does with the value that it was given.

use std::cmp::Ordering;

use regex::RegexBuilder;
use serde_json::{Number, Value};

use super::{
    Op, Part, PredicateError,
    compare::{is_scalar, kind, order, same},
};
use crate::policy::pattern::{self, PATTERN_STEPS_MAX, Work};

/// Longest pattern in bytes.
pub const PATTERN_BYTES_MAX: usize = 1024;
/// Longest text in bytes that a pattern is tried on.
pub const TEXT_BYTES_MAX: usize = 64 << 10;
/// Memory that a compiled pattern, and its cache, may take.
const PATTERN_MEMORY_MAX: usize = 1 << 20;
/// How much larger the anchors make a pattern.
const ANCHORS: u64 = 2;

/// The operator with its value, typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    /// `eq`, `neq`, `in`, `not_in`: scalars, at least one.
    OneOf(Vec<Value>),
    /// `lt`, `lte`, `gt`, `gte`.
    Bound(Number),
    /// `regex`.
    Matches(Pattern),
    /// `contains`: a scalar.
    Contains(Value),
    /// `exists`.
    Exists(bool),
}

/// A compiled pattern; the same text is the same pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: String,
    regex: regex::Regex,
    /// As [`pattern::size`] says.
    size: u64,
}

impl Pattern {
    /// For a text of the policy or of this program.
    pub(super) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// Longest text in bytes that a call's work is enough for.
    pub(super) fn longest(&self) -> u64 {
        (PATTERN_STEPS_MAX / self.size).saturating_sub(1)
    }

    /// The same for a text that anybody sends; the error says what is wrong with it.
    fn judge(&self, text: &str, work: &Work) -> Result<bool, String> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(format!("too long: more than {TEXT_BYTES_MAX} bytes"));
        }
        if !work.take(self.size, text.len()) {
            return Err(format!(
                "too long for the pattern: with those tried before it, it could take more than \
                 {PATTERN_STEPS_MAX} steps"
            ));
        }
        Ok(self.is_match(text))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl Operand {
    pub(super) fn new(op: Op, value: Option<&Value>) -> Result<Self, PredicateError> {
        match (op, value) {
            (Op::Exists, None) => Ok(Self::Exists(true)),
            (Op::Exists, Some(Value::Bool(wanted))) => Ok(Self::Exists(*wanted)),
            (Op::Eq | Op::Neq, Some(value)) if is_scalar(value) => {
                Ok(Self::OneOf(vec![value.clone()]))
            }
            (Op::In | Op::NotIn, Some(Value::Array(values)))
                if !values.is_empty() && values.iter().all(is_scalar) =>
            {
                Ok(Self::OneOf(values.clone()))
            }
            (Op::Lt | Op::Lte | Op::Gt | Op::Gte, Some(Value::Number(bound))) => {
                Ok(Self::Bound(bound.clone()))
            }
            (Op::Regex, Some(Value::String(text))) => Pattern::new(text).map(Self::Matches),
            (Op::Contains, Some(value)) if is_scalar(value) && value != "" => {
                Ok(Self::Contains(value.clone()))
            }
            (op, value) => Err(refuse(op, value)),
        }
    }

    /// Does it hold for what was found? The error says what was found and why
    /// the operator means nothing for it, or that a pattern would take too long.
    pub(super) fn holds(&self, op: Op, found: Option<&Value>, work: &Work) -> Result<bool, String> {
        if let Self::Exists(wanted) = self {
            return Ok(found.is_some() == *wanted);
        }
        let negated = matches!(op, Op::Neq | Op::NotIn);
        let Some(found) = found else {
            return Ok(negated);
        };
        let mismatch = |takes: &str| {
            Err(format!(
                "{}, but {:?} takes {takes}",
                kind(found),
                op.name()
            ))
        };
        match (self, found) {
            (Self::OneOf(values), found) => {
                let Some(one) = one_of(values, found) else {
                    return mismatch(&kinds(values));
                };
                Ok(one != negated)
            }
            (Self::Bound(bound), Value::Number(number)) => Ok(is_within(op, order(number, bound))),
            (Self::Bound(_), _) => mismatch("a number"),
            (Self::Matches(pattern), Value::String(text)) => pattern.judge(text, work),
            (Self::Matches(_), _) => mismatch("a string"),
            (Self::Contains(Value::String(part)), Value::String(text)) => {
                Ok(text.contains(part.as_str()))
            }
            (Self::Contains(value), Value::Array(items)) => contains(items, value),
            (Self::Contains(Value::String(_)), _) => mismatch("a string or an array"),
            (Self::Contains(_), _) => mismatch("an array"),
            // Answered above; said once more for the compiler.
            (Self::Exists(wanted), _) => Ok(*wanted),
        }
    }
}

/// Is the value one of these? Nothing where their kinds cannot be compared.
/// `null` can be compared with everything: nobody reads it as something else.
fn one_of(values: &[Value], found: &Value) -> Option<bool> {
    if values.iter().any(|value| same(value, found)) {
        return Some(true);
    }
    let mut typed = values.iter().filter(|value| !value.is_null()).peekable();
    let comparable =
        found.is_null() || typed.peek().is_none() || typed.any(|value| kind(value) == kind(found));
    comparable.then_some(false)
}

fn contains(items: &[Value], value: &Value) -> Result<bool, String> {
    if items.iter().any(|item| same(item, value)) {
        return Ok(true);
    }
    let values = std::slice::from_ref(value);
    match items.iter().find(|item| one_of(values, item).is_none()) {
        Some(item) => Err(format!(
            "an array with {} in it, but \"contains\" looks for {}",
            kind(item),
            kind(value)
        )),
        None => Ok(false),
    }
}

fn is_within(op: Op, ordering: Option<Ordering>) -> bool {
    ordering.is_some_and(|ordering| match op {
        Op::Lt => ordering.is_lt(),
        Op::Lte => ordering.is_le(),
        Op::Gt => ordering.is_gt(),
        _ => ordering.is_ge(),
    })
}

/// The kinds of some values, each once: `a string or a number`.
fn kinds(values: &[Value]) -> String {
    let mut kinds: Vec<&str> = Vec::new();
    for value in values {
        if !kinds.contains(&kind(value)) {
            kinds.push(kind(value));
        }
    }
    kinds.join(" or ")
}

/// What is wrong with an operator's value, and what it takes.
fn refuse(op: Op, value: Option<&Value>) -> PredicateError {
    let (takes, example) = match op {
        Op::Eq | Op::Neq => ("a string, a number, true, false or null", None),
        Op::In | Op::NotIn => (
            "an array of strings, numbers, true, false or null, with at least one in it",
            Some("\"value\": [\"dev\", \"test\"]"),
        ),
        Op::Lt | Op::Lte | Op::Gt | Op::Gte => ("a number", Some("\"value\": 10")),
        Op::Regex => ("a string", Some("\"value\": \"dev-[0-9]+\"")),
        Op::Contains => (
            "a string with something in it, a number, true, false or null",
            None,
        ),
        Op::Exists => ("true or false, or no value at all", None),
    };
    let found = match value {
        None => "none is given".to_owned(),
        Some(Value::Array(items)) if items.is_empty() => "found an empty array".to_owned(),
        Some(Value::Array(items)) if matches!(op, Op::In | Op::NotIn) => {
            let item = items.iter().find(|item| !is_scalar(item));
            format!("found {} in it", item.map_or("nothing", kind))
        }
        Some(value) if value == "" => "found an empty string".to_owned(),
        Some(value) => format!("found {}", kind(value)),
    };
    PredicateError {
        part: Part::Value,
        message: format!("{:?} takes {takes}; {found}", op.name()),
        help: example.map(|example| format!("write it as in {example}")),
    }
}

impl Pattern {
    fn new(text: &str) -> Result<Self, PredicateError> {
        let error = |message: String, help: &str| PredicateError {
            part: Part::Value,
            message,
            help: Some(help.to_owned()),
        };
        if text.len() > PATTERN_BYTES_MAX {
            let message = format!("a pattern has at most {PATTERN_BYTES_MAX} bytes");
            return Err(error(message, "split it into several conditions"));
        }
        let compile = |text: &str| {
            let built = RegexBuilder::new(text)
                .size_limit(PATTERN_MEMORY_MAX)
                .dfa_size_limit(PATTERN_MEMORY_MAX)
                .build();
            built.map_err(|cause| {
                let help = match cause {
                    regex::Error::CompiledTooBig(_) => "make its repetitions shorter",
                    _ => "it is the syntax of Rust's regex crate, always for the whole text",
                };
                error(
                    format!("the pattern is not understood: {}", last_line(&cause)),
                    help,
                )
            })
        };
        // Alone first: with the group around it, `a)|(?:b` would be two patterns,
        // each anchored at one end only.
        compile(text)?;
        let regex = compile(&format!("^(?:{text})$"))?;
        Ok(Self {
            text: text.to_owned(),
            regex,
            size: pattern::size(text).saturating_add(ANCHORS),
        })
    }
}

/// The library draws the pattern with a mark below it; the last line says why.
fn last_line(error: &regex::Error) -> String {
    let text = match error {
        regex::Error::CompiledTooBig(_) => "it takes too much memory".to_owned(),
        other => other.to_string(),
    };
    let line = text.lines().last().unwrap_or_default();
    line.trim().trim_start_matches("error: ").to_owned()
}
