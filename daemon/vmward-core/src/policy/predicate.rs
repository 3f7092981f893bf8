//! A condition: a place in the call, an operator, a value.

use serde_json::Value;

use super::facts::Facts;

/// A place in a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    text: String,
}

impl Path {
    /// Reads a path; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        Ok(Self {
            text: text.to_owned(),
        })
    }

    /// The path as the policy has it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What stands there.
    pub fn find(&self, facts: &Facts<'_>) -> Option<Value> {
        facts.arguments.get(&self.text).cloned()
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
}

impl Predicate {
    /// Does it hold? An error where the operator means nothing for what stands
    /// there; the call is then denied.
    pub fn holds(&self, _facts: &Facts<'_>) -> Result<bool, String> {
        Err(String::new())
    }
}

impl Predicate {
    /// Checks that the operator can take the value.
    pub fn new(
        pointer: String,
        path: Path,
        _op: &str,
        _value: Option<&Value>,
        on_deny: Option<String>,
    ) -> Result<Self, PredicateError> {
        Ok(Self {
            pointer,
            path,
            on_deny,
        })
    }
}

/// What is wrong with a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PredicateError {
    /// Where.
    pub part: Part,
    /// What.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// A part of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The operator.
    Op,
    /// The value.
    Value,
}
