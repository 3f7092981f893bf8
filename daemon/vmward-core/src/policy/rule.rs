//! What a rule says. A rule applies to one tool, to all, to an effect, or to
//! protected VMs; what it says is the same everywhere.

use std::borrow::Cow;

use super::{args_schema::ArgsSchema, hours::Hours, predicate::Predicate};

/// Largest `max` of a limit, and the most that one call may count.
pub const LIMIT_MAX: u32 = 1_000_000;
/// The longest window in seconds: 31 days.
pub const WINDOW_SECONDS_MAX: u32 = 31 * 86_400;

/// The longest that a request for approval may wait, in seconds: 7 days.
pub const APPROVAL_TIMEOUT_S_MAX: u32 = 7 * 86_400;

/// One rule. Empty, it lets every call pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Where the rule stands, as a JSON Pointer.
    pub pointer: String,
    /// What happens to a call that passes everything below.
    pub action: Action,
    /// Does its verdict count, or is it only recorded?
    pub mode: RuleMode,
    /// What the agent is told when the action denies or waits for approval.
    pub reason: Option<String>,
    /// What the agent is told when a condition or limit of this rule denies.
    pub on_deny: Option<String>,
    /// All must hold.
    pub require: Vec<Predicate>,
    /// None may hold.
    pub deny_if: Vec<Predicate>,
    /// The arguments must satisfy it.
    pub args_schema: Option<ArgsSchema>,
    /// The call must fall into one of them; empty means any time.
    pub hours: Vec<Hours>,
    /// The caller must say why.
    pub require_reason: bool,
    /// All of them must have room.
    pub limits: Vec<LimitRule>,
    /// Seconds after which a request for approval lapses; the daemon's default
    /// where absent.
    pub approval_timeout_s: Option<u32>,
}

impl Rule {
    /// A rule that says nothing yet.
    pub fn new(pointer: String, action: Action) -> Self {
        Self {
            pointer,
            action,
            mode: RuleMode::Enforce,
            reason: None,
            on_deny: None,
            require: Vec::new(),
            deny_if: Vec::new(),
            args_schema: None,
            hours: Vec::new(),
            require_reason: false,
            limits: Vec::new(),
            approval_timeout_s: None,
        }
    }
}

/// What happens to a call that passes a rule's conditions and limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It passes.
    Allow,
    /// It is denied.
    Deny,
    /// It waits until a person says yes.
    RequireApproval,
}

/// Does a rule's verdict count?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleMode {
    /// It counts.
    Enforce,
    /// It is recorded beside the decision and changes nothing.
    Shadow,
}

/// At most so many calls in any such window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitRule {
    /// Where the limit stands, as a JSON Pointer.
    pub pointer: String,
    /// The counter's name: rules that name the same counter share it.
    pub counter: String,
    /// Length of the window.
    pub window: Window,
    /// Most that any window of that length may hold: 1 to [`LIMIT_MAX`].
    pub max: u32,
    /// Who has a counter of their own.
    pub scope: Scope,
    /// How much one call counts.
    pub increment: Increment,
}

impl LimitRule {
    /// As in `at most 10 a minute on vm_stop_rate for each grant`.
    pub fn describe(&self) -> String {
        let counts = match &self.increment {
            Increment::Fixed(1) => String::new(),
            Increment::Fixed(units) => format!(", a call counts {units}"),
            Increment::From(path) => format!(", a call counts {}", path.text()),
        };
        format!(
            "at most {} {} on {} for each {}{counts}",
            self.max,
            self.window.with_article(),
            self.counter,
            self.scope.name()
        )
    }
}

/// How much one call counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Increment {
    /// So much: 1 to [`LIMIT_MAX`].
    Fixed(u32),
    /// The number that stands there in the call. A call where it is missing, is
    /// no whole number, or is not 1 to [`LIMIT_MAX`], is denied.
    From(super::predicate::Path),
}

/// The length of a limit's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    seconds: u32,
}

impl Window {
    /// 60 seconds.
    pub const MINUTE: Self = Self { seconds: 60 };

    /// A window of that length: 1 to [`WINDOW_SECONDS_MAX`].
    pub fn from_seconds(seconds: u32) -> Option<Self> {
        (1..=WINDOW_SECONDS_MAX)
            .contains(&seconds)
            .then_some(Self { seconds })
    }

    /// The window that a word of the policy names.
    pub fn from_word(word: &str) -> Option<Self> {
        let seconds = match word {
            "second" => 1,
            "minute" => 60,
            "hour" => 3600,
            "day" => 86_400,
            _ => return None,
        };
        Some(Self { seconds })
    }

    /// The length in seconds.
    pub fn seconds(self) -> u32 {
        self.seconds
    }

    /// The length in nanoseconds.
    pub fn ns(self) -> i64 {
        i64::from(self.seconds) * crate::clock::NS_PER_S
    }

    /// As the policy has it: a word in quotes, or the seconds.
    pub fn text(self) -> String {
        let words = ["second", "minute", "hour", "day"];
        let word = words
            .into_iter()
            .find(|word| Self::from_word(word) == Some(self));
        word.map_or_else(|| self.seconds.to_string(), |word| format!("{word:?}"))
    }

    /// As in "10 a minute".
    pub fn with_article(self) -> Cow<'static, str> {
        match self.seconds {
            1 => "a second".into(),
            60 => "a minute".into(),
            3600 => "an hour".into(),
            86_400 => "a day".into(),
            seconds => format!("in any {seconds} s").into(),
        }
    }
}

/// Who has a counter of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Each grant.
    Grant,
    /// Each process that asks: one run of an MCP server or proxy.
    Session,
    /// Each agent of a grant, by the name that it gives itself.
    Agent,
    /// Each user.
    Uid,
    /// Each VM.
    Vm,
    /// The whole host.
    Host,
    /// Each tool; all tools with the same effect are one.
    Tool,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 7] = [
        Self::Grant,
        Self::Session,
        Self::Agent,
        Self::Uid,
        Self::Vm,
        Self::Host,
        Self::Tool,
    ];

    /// The word in the policy.
    pub fn name(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Session => "session",
            Self::Agent => "agent",
            Self::Uid => "uid",
            Self::Vm => "vm",
            Self::Host => "host",
            Self::Tool => "tool",
        }
    }
}
