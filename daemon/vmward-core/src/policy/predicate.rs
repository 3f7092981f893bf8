//! A condition: a place in the call, an operator, a value.
//!
//! Types are strict, for conditions and for the values that they meet. Servers
//! read `"true"` or `1` as `true`, so a condition on `true` must not be passed
//! by either: a value of another type is an error, and the call is denied.

mod compare;
mod fixed;
mod operand;
mod pair;
mod path;

use serde_json::Value;

use operand::Operand;
pub use operand::{PATTERN_BYTES_MAX, TEXT_BYTES_MAX};
pub use path::{PATH_BYTES_MAX, Path};

pub use super::pattern::{PATTERN_STEPS_MAX, Work};
use super::{facts::Facts, names::is_pattern, suggest};
use crate::effect::Effect;

/// What any pattern is expected to be tried on, in bytes.
const SHORT_BYTES: u64 = 1024;

/// What a condition asks of the value in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// It is the same.
    Eq,
    /// It is missing or another.
    Neq,
    /// It is one of these.
    In,
    /// It is missing or none of these.
    NotIn,
    /// It is less.
    Lt,
    /// It is less or the same.
    Lte,
    /// It is more.
    Gt,
    /// It is more or the same.
    Gte,
    /// The whole of it matches the pattern.
    Regex,
    /// It is text with this in it, or an array that holds this.
    Contains,
    /// It is there, or with `false`, it is missing.
    Exists,
}

impl Op {
    /// Every operator.
    pub const ALL: [Self; 11] = [
        Self::Eq,
        Self::Neq,
        Self::In,
        Self::NotIn,
        Self::Lt,
        Self::Lte,
        Self::Gt,
        Self::Gte,
        Self::Regex,
        Self::Contains,
        Self::Exists,
    ];

    /// The word in the policy.
    pub fn name(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Neq => "neq",
            Self::In => "in",
            Self::NotIn => "not_in",
            Self::Lt => "lt",
            Self::Lte => "lte",
            Self::Gt => "gt",
            Self::Gte => "gte",
            Self::Regex => "regex",
            Self::Contains => "contains",
            Self::Exists => "exists",
        }
    }

    fn parse(word: &str) -> Result<Self, PredicateError> {
        if let Some(op) = Self::ALL.into_iter().find(|op| op.name() == word) {
            return Ok(op);
        }
        let names = Self::ALL.map(Self::name);
        let sign = match word {
            "==" | "=" => Some("eq"),
            "!=" | "<>" => Some("neq"),
            "<" => Some("lt"),
            "<=" => Some("lte"),
            ">" => Some("gt"),
            ">=" => Some("gte"),
            _ => suggest::nearest(word, &names),
        };
        Err(PredicateError {
            part: Part::Op,
            message: format!("unknown operator {word:?}"),
            help: Some(match sign {
                Some(name) => format!("did you mean {name:?}?"),
                None => format!("there are {}", names.join(", ")),
            }),
        })
    }
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predicate {
    /// Where it stands, as a JSON Pointer.
    pub pointer: String,
    /// The place in the call.
    pub path: Path,
    /// What the agent is told when it denies.
    pub on_deny: Option<String>,
    op: Op,
    /// The value as the policy has it; nothing where it may be left out.
    value: Option<Value>,
    operand: Operand,
}

/// What is wrong with a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PredicateError {
    /// The key whose value is to blame.
    pub part: Part,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// A key of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `op`.
    Op,
    /// `value`; blamed too where it is missing.
    Value,
}

impl Predicate {
    /// A condition that has a meaning: the operator is known and takes the value.
    pub fn new(
        pointer: String,
        path: Path,
        op: &str,
        value: Option<&Value>,
        on_deny: Option<String>,
    ) -> Result<Self, PredicateError> {
        let op = Op::parse(op)?;
        let operand = Operand::new(op, value)?;
        fixed::check(&path, op, &operand)?;
        Ok(Self {
            pointer,
            path,
            on_deny,
            op,
            value: value.cloned(),
            operand,
        })
    }

    /// A value that looks as if it stood for several names, in a place that holds
    /// names, where it stands for itself.
    pub(super) fn wildcard(&self) -> Option<&str> {
        if self.path.fixed() != Some(fixed::Fixed::Text) {
            return None;
        }
        let Operand::OneOf(values) = &self.operand else {
            return None;
        };
        let mut texts = values.iter().filter_map(Value::as_str);
        texts.find(|text| is_pattern(text))
    }

    /// Does it hold of a call of this tool? Nothing where it asks about something
    /// else.
    pub(super) fn holds_of_tool(&self, tool: &str) -> Option<bool> {
        if !self.path.is_tool() {
            return None;
        }
        let found = Value::from(tool);
        self.operand
            .holds(self.op, Some(&found), &Work::default())
            .ok()
    }

    /// Does it hold of a call with this effect, or without one? Nothing where it asks
    /// about something else.
    pub(super) fn holds_of(&self, effect: Option<Effect>) -> Option<bool> {
        if self.path.fixed() != Some(fixed::Fixed::Effect) {
            return None;
        }
        let found = effect.map(|effect| Value::from(effect.name()));
        self.operand
            .holds(self.op, found.as_ref(), &Work::default())
            .ok()
    }

    /// Longest text in bytes that its pattern is ever tried on, where the pattern is
    /// so large that this is less than one expects.
    pub(super) fn tried_on(&self) -> Option<u64> {
        let Operand::Matches(pattern) = &self.operand else {
            return None;
        };
        Some(pattern.longest()).filter(|longest| *longest < SHORT_BYTES)
    }

    /// Does it ask about the effect, of which a call may have two?
    pub fn asks_effect(&self) -> bool {
        self.path.fixed() == Some(fixed::Fixed::Effect)
    }

    /// What it asks of the value.
    pub fn op(&self) -> Op {
        self.op
    }

    /// Does it hold? An error, as a sentence for the agent, where the operator
    /// means nothing for what stands there, or where a server could read another
    /// argument in its place, or where `work`, which all conditions on the call
    /// share, is not enough for a pattern; the call is then denied.
    pub fn holds(&self, facts: &Facts<'_>, work: &Work) -> Result<bool, String> {
        if let Some(name) = self.path.look_alike(facts) {
            let path = self.path.text();
            return Err(format!(
                "the argument {name:?} is spelled almost as in {path}, and a server may take it \
                 for the same"
            ));
        }
        let found = self.path.find(facts);
        let wrong = |what: String| format!("{} is {what}", self.path.text());
        self.operand
            .holds(self.op, found.as_deref(), work)
            .map_err(wrong)
    }

    /// As in `args.force neq true`.
    pub fn describe(&self) -> String {
        let (path, op) = (self.path.text(), self.op.name());
        match &self.value {
            Some(value) => format!("{path} {op} {value}"),
            None => format!("{path} {op}"),
        }
    }
}

#[cfg(test)]
mod tests;
