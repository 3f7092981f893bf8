//! The policy: what agents may do.
//!
//! Types only; `parse` turns text into them or into every mistake with its
//! place.

mod error;
mod json;
mod parse;
mod suggest;

use std::collections::BTreeMap;

pub use error::{ERRORS_MAX, PolicyError, PolicyErrors};

/// Longest policy in bytes.
pub const POLICY_BYTES_MAX: usize = 1 << 20;
/// Largest `max` of a limit.
pub const LIMIT_MAX: u32 = 1_000_000;

/// A policy without mistakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    hash: String,
    default_allow: bool,
    tools: BTreeMap<String, ToolRule>,
}

/// The rule for one tool. Without limits it allows every call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolRule {
    /// Where the rule stands, as a JSON Pointer.
    pub pointer: String,
    /// All of them must hold.
    pub limits: Vec<LimitRule>,
}

/// At most so many calls in any such window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitRule {
    /// Where the limit stands, as a JSON Pointer.
    pub pointer: String,
    /// The counter's name: tools that name the same counter share it.
    pub counter: String,
    /// Length of the window.
    pub window: Window,
    /// Most calls in any window of that length: 1 to [`LIMIT_MAX`].
    pub max: u32,
    /// Who has a counter of their own.
    pub scope: Scope,
}

/// The length of a limit's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// 60 seconds.
    Minute,
    /// 3,600 seconds.
    Hour,
    /// 86,400 seconds.
    Day,
}

impl Window {
    /// The length in seconds.
    pub fn seconds(self) -> u32 {
        match self {
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => 86_400,
        }
    }

    /// The length in nanoseconds.
    pub fn ns(self) -> i64 {
        i64::from(self.seconds()) * crate::clock::NS_PER_S
    }

    /// The word in the policy.
    pub fn name(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// As in "10 a minute".
    pub fn with_article(self) -> &'static str {
        match self {
            Self::Minute => "a minute",
            Self::Hour => "an hour",
            Self::Day => "a day",
        }
    }
}

/// Who has a counter of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Each grant.
    Grant,
}

impl Policy {
    /// Reads a policy. `file` only names it in the errors. Either the whole text
    /// is understood or nothing of it is taken.
    pub fn parse(text: &str, file: &str) -> Result<Self, PolicyErrors> {
        parse::parse(text, file)
    }

    /// SHA-256 of the text, as 64 hexadecimal digits.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// May a tool be called that no rule names?
    pub fn default_allow(&self) -> bool {
        self.default_allow
    }

    /// The rule for a tool.
    pub fn tool(&self, name: &str) -> Option<&ToolRule> {
        self.tools.get(name)
    }

    /// Every tool with a rule, by name.
    pub fn tools(&self) -> impl Iterator<Item = (&str, &ToolRule)> {
        self.tools.iter().map(|(name, rule)| (name.as_str(), rule))
    }
}

#[cfg(test)]
mod tests;
