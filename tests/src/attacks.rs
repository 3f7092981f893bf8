//! The attack suite's table: every way to stop, pause, reset or starve a VM that
//! vmward knows of, one row each, by family.
//!
//! A row says how the attack is done, what becomes of the VM where nothing
//! refuses it, and how the attacker is refused. The suite in `kernel/` plays
//! each row: the control, enforced, observed, with a lease, and with the daemon
//! killed before.

pub mod arming;
pub mod control_files;
pub mod disguise;
pub mod host;
pub mod lifeline;
pub mod logger;
pub mod monitor;
pub mod own;
pub mod rpc;
pub mod sched;
pub mod signals;
pub mod storage;
pub mod tampering;

use std::fs;
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
#[derive(Clone, Copy, Debug)]
pub enum Harm {
    /// Its process ends.
    Ends,
    /// It makes no progress any more, and its process is there.
    Stalls,
    /// Its guest starts anew.
    Resets,
    /// Nothing at once: it makes a later stop possible. The attack's program
    /// succeeds where nothing refuses it.
    Arms,
    /// What this looks at comes true. While the attack is refused, it does not.
    Shows(fn(&Guest) -> bool),
    /// The host goes down or to sleep. The suite has no control for it, and does
    /// not let it through: the test VM would be gone.
    Host,
    /// vmward's own protection is gone or weaker. Without vmward there is
    /// nothing to attack, so only the refusals are played.
    Disarms,
    /// vmward's daemon ends or hangs: as above, and only while one runs.
    Daemon,
}

/// How a refused attacker learns of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The attack's program fails and says "Operation not permitted".
    NotPermitted,
    /// The attack's program fails and says this.
    Says(&'static str),
    /// The attack's program passes on an answer that says this.
    Answers(&'static str),
    /// Not at all: what it wrote or set up just has no effect.
    Silent,
}

/// How what an attack left behind on the host is taken back, by the beginning of
/// the row's id: cgroups, limits, files. Called after each time that the attack
/// worked; a fresh guest is started after it where the old one is not well.
pub const UNDO: &[(&str, Undo)] = &[
    (
        "arming/lifecycle-of-the-next-start",
        arming::restart_as_before,
    ),
    ("control-files/", control_files::thaw),
    ("sched/deadline", sched::end_deadline),
    ("host/audit-", host::audit_as_before),
    ("logger/", logger::go_on),
    ("storage/", storage::thaw),
];

/// Takes back what attacks left behind.
pub type Undo = fn(&Guest);

/// Every row, by family.
pub fn all() -> impl Iterator<Item = &'static Attack> {
    [
        disguise::ATTACKS,
        rpc::ATTACKS,
        arming::ATTACKS,
        signals::ATTACKS,
        signals::EVERY_SIGNAL,
        signals::BY_FILES,
        tampering::ATTACKS,
        sched::ATTACKS,
        control_files::ATTACKS,
        control_files::WRITES,
        control_files::LIMITS,
        control_files::VERSION_1,
        monitor::CONNECTIONS,
        monitor::ATTACKS,
        monitor::MORE,
        monitor::ARGUMENTS,
        monitor::TOGETHER,
        host::ATTACKS,
        host::OTHER_DOORS,
        lifeline::ATTACKS,
        logger::ATTACKS,
        storage::ATTACKS,
        own::ATTACKS,
        own::OBJECTS,
        own::DAEMON,
    ]
    .into_iter()
    .flatten()
}

/// Why it does no harm on this host, even where nothing refuses it.
#[must_use]
pub fn is_harmless(row: &Attack) -> Option<&'static str> {
    host::is_harmless(row).or_else(|| monitor::is_harmless(row))
}

/// An attack that no VM's lease is for: upon all of them, what they share, or vmward.
const fn of_all(
    id: &'static str,
    vector: &'static str,
    hook: &'static str,
    harm: Harm,
    run: fn(&Guest) -> Output,
) -> Attack {
    Attack {
        id,
        vector,
        hook,
        harm,
        refusal: Refusal::NotPermitted,
        lease: None,
        run,
    }
}

/// Runs `vmward-attack FAMILY WHAT PID...`, the attacks that no shell command
/// makes.
#[track_caller]
pub fn attack(family: &str, what: &str, args: &[&str]) -> Output {
    let mut all = vec![family, what];
    all.extend(args);
    run("vmward-attack", &all)
}

/// The number of the user whom the VM's process runs as.
fn owner_of(guest: &Guest) -> String {
    let path = format!("/proc/{}/status", guest.pid());
    let status = fs::read_to_string(path).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let user = line.and_then(|line| line.split_whitespace().next());
    user.unwrap_or("0").to_owned()
}
