//! The attack suite's table: every way to stop, pause, reset or starve a VM that
//! vmward knows of, one row each, by family.
//!
//! A row says how the attack is done, what becomes of the VM where nothing
//! refuses it, and how the attacker is refused. The suite in `kernel/` plays
//! each row: the control, enforced, observed, with a lease, and with the daemon
//! killed before.

pub mod host;
pub mod lifeline;
pub mod signals;

use std::process::Output;

use crate::guest::{Guest, run};

/// One attack.
pub struct Attack {
    /// `family/what`, unique.
    pub id: &'static str,
    /// The audit's name of the way.
    pub vector: &'static str,
    /// The hook that refuses, by its name in `vmward status`.
    pub hook: &'static str,
    /// What becomes of the VM where nothing refuses it.
    pub harm: Harm,
    /// How the attacker learns of the refusal.
    pub refusal: Refusal,
    /// The effect whose lease lets it through; `None` where no lease does.
    pub lease: Option<&'static str>,
    /// Carries it out, as root.
    pub run: fn(&Guest) -> Output,
}

/// What becomes of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// Its process ends.
    Ends,
    /// It makes no progress any more, and its process is there.
    Stalls,
    /// Its guest starts anew.
    Resets,
    /// Nothing at once: it makes a later stop possible.
    Arms,
}

/// How a refused attacker learns of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The attack's program fails and says "Operation not permitted".
    NotPermitted,
    /// The attack's program fails and says this.
    Says(&'static str),
    /// Not at all: what it wrote or set up just has no effect.
    Silent,
}

/// Every row, by family.
pub fn all() -> impl Iterator<Item = &'static Attack> {
    [signals::ATTACKS, host::ATTACKS, lifeline::ATTACKS]
        .into_iter()
        .flatten()
}

/// Runs `vmward-attack FAMILY WHAT PID...`, the attacks that no shell command
/// makes.
#[track_caller]
pub fn attack(family: &str, what: &str, args: &[&str]) -> Output {
    let mut all = vec![family, what];
    all.extend(args);
    run("vmward-attack", &all)
}
