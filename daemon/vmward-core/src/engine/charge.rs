//! What a call is charged, and on whose counters.

use std::{borrow::Borrow, sync::Arc};

use serde_json::Value;

use super::{
    Engine, LimitRow, ReasonCode, Request, Target,
    govern::{Applied, Call, mapped_effect},
    message,
    refusal::Refusal,
};
use crate::{
    clock::{self, Now},
    limit::{KeyFacts, KeyVm, LimitError, Load, Want, Whose, key},
    policy::{LIMIT_MAX, LimitRule, RuleMode, Scope, rule::Increment},
};

/// One limit of a call.
pub(super) struct Charged<'a> {
    pub(super) limit: &'a LimitRule,
    pub(super) want: Want,
    on_deny: Option<&'a str>,
}

impl Borrow<Want> for Charged<'_> {
    fn borrow(&self) -> &Want {
        &self.want
    }
}

/// The limits of all rules that count, one for each counter: a call that two
/// rules charge to the same counter counts once, by the stricter of them.
pub(super) fn binding<'a>(
    applied: &[Applied<'a>],
    call: &Call<'_>,
) -> Result<Vec<Charged<'a>>, Refusal> {
    let mut all: Vec<Charged<'a>> = Vec::new();
    for charged in of_mode(applied, RuleMode::Enforce, call) {
        join(&mut all, charged?);
    }
    Ok(all)
}

/// Those of the rules in shadow mode, but for one whose increment makes no sense:
/// the shadow verdict has said so, and the others are counted all the same.
pub(super) fn in_shadow<'a>(applied: &[Applied<'a>], call: &Call<'_>) -> Vec<Charged<'a>> {
    let mut all: Vec<Charged<'a>> = Vec::new();
    for charged in of_mode(applied, RuleMode::Shadow, call).flatten() {
        join(&mut all, charged);
    }
    all
}

fn of_mode<'a>(
    applied: &[Applied<'a>],
    mode: RuleMode,
    call: &Call<'_>,
) -> impl Iterator<Item = Result<Charged<'a>, Refusal>> {
    let rules = applied.iter().filter(move |rule| rule.mode == mode);
    rules.flat_map(move |rule| of_rule(rule, call))
}

/// The limits of all rules, whatever their mode, with nothing known of the
/// arguments: a limit that counts by them counts 1.
pub(super) fn in_any_mode<'a>(applied: &[Applied<'a>], call: &Call<'_>) -> Vec<Charged<'a>> {
    let mut all = Vec::new();
    for rule in applied {
        for limit in rule.limits {
            let cost = match limit.increment {
                Increment::Fixed(cost) => cost,
                Increment::From(_) => 1,
            };
            let charged = Charged {
                limit,
                want: want(limit, scope_key(limit.scope, call.request), cost),
                on_deny: None,
            };
            join(&mut all, charged);
        }
    }
    all
}

/// The limits of one rule.
pub(super) fn of_rule<'a>(
    applied: &Applied<'a>,
    call: &Call<'_>,
) -> impl Iterator<Item = Result<Charged<'a>, Refusal>> {
    let on_deny = applied.on_deny;
    // Arguments of another tool say nothing to a rule that only lends its limits.
    let borrowed = applied.rule.is_none();
    applied.limits.iter().map(move |limit| {
        let cost = match &limit.increment {
            Increment::Fixed(cost) => *cost,
            Increment::From(_) if borrowed => 1,
            Increment::From(path) => {
                let found = path.find(&call.facts);
                let found = found.filter(|_| path.look_alike(&call.facts).is_none());
                let units = found.as_ref().and_then(|value| units(value));
                units.ok_or_else(|| bad_units(limit, path.text(), call.request))?
            }
        };
        let want = want(limit, scope_key(limit.scope, call.request), cost);
        Ok(Charged {
            limit,
            want,
            on_deny,
        })
    })
}

fn join<'a>(all: &mut Vec<Charged<'a>>, charged: Charged<'a>) {
    let same = |other: &&mut Charged<'_>| {
        other.want.counter == charged.want.counter && other.want.key == charged.want.key
    };
    match all.iter_mut().find(same) {
        Some(other) => {
            let cost = other.want.cost.max(charged.want.cost);
            if charged.want.max < other.want.max {
                *other = charged;
            }
            other.want.cost = cost;
        }
        None => all.push(charged),
    }
}

/// A whole number that a limit can count.
fn units(value: &Value) -> Option<u32> {
    let units = u32::try_from(value.as_u64()?).ok()?;
    (1..=LIMIT_MAX).contains(&units).then_some(units)
}

fn bad_units(limit: &LimitRule, path: &str, request: &Request) -> Refusal {
    let message = format!(
        "{} is counted by {path}, which must be a whole number from 1 to {LIMIT_MAX}",
        request.tool
    );
    Refusal::new(ReasonCode::BadArguments, message, &limit.pointer)
}

/// A limit of the policy as the limiter wants it.
pub(super) fn want(limit: &LimitRule, Key { text: key, maker }: Key, cost: u32) -> Want {
    Want {
        counter: limit.counter.clone(),
        key,
        maker,
        window_ns: limit.window.ns(),
        max: limit.max,
        cost,
    }
}

/// Whose counter a call is charged to.
pub(super) struct Key {
    text: String,
    /// The caller's account, where the caller could as well have said something
    /// else and so had another counter.
    maker: Option<Arc<str>>,
}

impl Key {
    /// Of something that nobody can make up.
    pub(super) fn known(text: String) -> Self {
        Self { text, maker: None }
    }
}

fn scope_key(scope: Scope, request: &Request) -> Key {
    let caller = &request.caller;
    let facts = KeyFacts {
        grant: &caller.grant,
        uid: caller.uid,
        process: caller.process,
        agent: caller.agent.as_deref(),
        vm: match &request.target {
            Target::None => KeyVm::None,
            Target::Unknown(name) | Target::Unchecked(name) => KeyVm::Named(name),
            Target::Vm(vm) => KeyVm::Known(vm.uuid),
        },
        effect: mapped_effect(request).or(request.effect),
        tool: &request.tool,
    };
    let key = key(scope, &facts);
    Key {
        text: key.text,
        maker: key.made_up.then(|| caller.grant.as_str().into()),
    }
}

/// Does a counter's key belong to this scope?
pub(super) fn is_of_scope(key: &str, scope: Scope) -> bool {
    let rest = key.strip_prefix(scope.name());
    rest.is_some_and(|rest| rest.starts_with(':'))
}

impl Engine {
    /// Is there room for all of them? Changes nothing.
    pub(super) fn room(&self, charged: &[Charged<'_>], call: &Call<'_>) -> Result<(), Refusal> {
        let checked = self.limiter.check(charged, call.now.boot_ns);
        checked.map_err(|error| self.limited(error, charged, call))
    }

    /// The limiter's no as a denial.
    pub(super) fn limited(
        &self,
        error: LimitError,
        charged: &[Charged<'_>],
        call: &Call<'_>,
    ) -> Refusal {
        let limits = self.rows(charged, call.now);
        let (index, retry_after_ns, full) = match error {
            LimitError::Exceeded {
                index,
                retry_after_ns,
            } => (index, Some(retry_after_ns), None),
            LimitError::NeverFits { index } => (index, None, None),
            LimitError::Full {
                index,
                whose,
                retry_after_ns,
            } => (index, retry_after_ns, Some(whose)),
        };
        let refusal = match (charged.get(index).zip(limits.get(index)), full) {
            (Some((due, _)), Some(whose)) => no_room(due, whose, retry_after_ns, call),
            (Some((slowest, row)), None) => used_up(slowest, row, retry_after_ns, call),
            // The limiter names one of the wants that it was given.
            (None, _) => Refusal::new(ReasonCode::Unavailable, "no limit".to_owned(), ""),
        };
        Refusal { limits, ..refusal }
    }

    pub(super) fn rows(&self, charged: &[Charged<'_>], now: Now) -> Vec<LimitRow> {
        charged
            .iter()
            .map(|charged| self.row(&charged.want, now))
            .collect()
    }

    pub(super) fn row(&self, want: &Want, now: Now) -> LimitRow {
        let view = self.limiter.state(want, now.boot_ns);
        LimitRow {
            counter: want.counter.clone(),
            key: want.key.clone(),
            window_s: u64::try_from(want.window_ns / clock::NS_PER_S).unwrap_or(0),
            max: u64::from(want.max),
            remaining: u64::from(view.remaining),
            next_free_in_ms: if view.remaining == 0 {
                clock::ceil_ms(view.next_free_in_ns)
            } else {
                0
            },
        }
    }

    /// What is left of a limit that was told before.
    pub fn limit_now(
        &self,
        counter: &str,
        key: &str,
        window_s: u64,
        max: u64,
        now: Now,
    ) -> LimitRow {
        let window_s = i64::try_from(window_s).unwrap_or(i64::MAX);
        let want = Want {
            counter: counter.to_owned(),
            key: key.to_owned(),
            window_ns: window_s.saturating_mul(clock::NS_PER_S),
            max: u32::try_from(max).unwrap_or(u32::MAX),
            cost: 1,
            maker: None,
        };
        self.row(&want, now)
    }

    /// What is taken of the limiter's memory.
    pub fn limiter_load(&mut self, now: Now) -> Load {
        self.limiter.load(now.boot_ns)
    }
}

fn used_up(
    slowest: &Charged<'_>,
    row: &LimitRow,
    wait_ns: Option<i64>,
    call: &Call<'_>,
) -> Refusal {
    let retry_after_ms = wait_ns.map(clock::ceil_ms);
    let message = match slowest.on_deny {
        Some(words) => words.to_owned(),
        None => message::limited(
            call.request,
            slowest.limit,
            row,
            slowest.want.cost,
            retry_after_ms,
        ),
    };
    Refusal {
        retry_after_ms,
        ..Refusal::new(ReasonCode::RateLimited, message, &slowest.limit.pointer)
    }
}

/// Denied for want of memory to count the call in.
fn no_room(due: &Charged<'_>, whose: Whose, wait_ns: Option<i64>, call: &Call<'_>) -> Refusal {
    let retry_after_ms = wait_ns.map(clock::ceil_ms);
    let message = message::no_room(call.request, due.limit, whose, retry_after_ms);
    Refusal {
        retry_after_ms,
        ..Refusal::new(ReasonCode::Unavailable, message, &due.limit.pointer)
    }
}
