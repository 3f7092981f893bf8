//! Who may do what to which VM: every subject, effect and state of a VM under
//! three policies, as one table that is committed and read by people.
//!
//! A cell is the whole answer: `LEASE` (allowed, with a lease in the kernel),
//! `allow` (allowed, and no lease is needed), `pending`, or the reason of the
//! denial. A change of the engine that moves a cell has to change the table in
//! the same commit: run with `VMWARD_WRITE_MATRIX=1` and read the difference.

use std::{collections::BTreeSet, fmt::Write as _, path::Path};

use serde_json::{Map, Value, json};
use vmward_core::{
    clock::{LocalTime, Now},
    digest::Arguments,
    effect::Effect,
    engine::{Caller, Decision, Engine, ReasonCode, Request, Target, Via, VmTarget},
    ids::{Process, VmUuid},
    policy::{Policy, map::Mapped},
};

const TABLE: &str = include_str!("data/authorisation-matrix.txt");
const POLICIES: [(&str, &str); 3] = [
    ("seed", include_str!("data/policy.json")),
    ("full", include_str!("data/matrix-policy.json")),
    ("open", r#"{"version":"1","default":"allow","tools":{}}"#),
];
/// 2026-11-23 12:00 UTC, a Monday.
const NOW: Now = Now {
    boot_ns: 1_000_000_000_000,
    wall_ns: 1_795_435_200_000_000_000,
};

/// Who asks, and how.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    /// An agent through the gateway, with the effect's own tool.
    Agent,
    /// An agent through the gateway, with a tool that stops nothing by its name.
    AgentOtherTool,
    /// A user at a shell, who names the effect.
    User,
    /// Root at a shell.
    Root,
    /// libvirt-guests, at host shutdown.
    LibvirtGuests,
    /// A fencing agent.
    Fencing,
}

impl Subject {
    const ALL: [Self; 6] = [
        Self::Agent,
        Self::AgentOtherTool,
        Self::User,
        Self::Root,
        Self::LibvirtGuests,
        Self::Fencing,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::AgentOtherTool => "agent-other-tool",
            Self::User => "user",
            Self::Root => "root",
            Self::LibvirtGuests => "libvirt-guests",
            Self::Fencing => "fencing",
        }
    }

    fn caller(self) -> Caller {
        let uid = match self {
            Self::Agent | Self::AgentOtherTool | Self::User => 1000,
            Self::Root | Self::LibvirtGuests | Self::Fencing => 0,
        };
        Caller {
            grant: format!("uid:{uid}"),
            process: process(500),
            uid,
            comm: self.name().to_owned(),
            exe: (self == Self::Fencing).then(|| "/usr/sbin/sanlock".to_owned()),
            agent: None,
            unit: (self == Self::LibvirtGuests).then(|| "libvirt-guests.service".to_owned()),
            loginuid: None,
        }
    }
}

/// What the call is aimed at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    /// Runs, and the policy protects it.
    Database,
    /// Runs, and the kernel does not protect it.
    Unprotected,
    /// Runs, and another lease for it is live.
    Leased,
    Off,
    Unknown,
    Unchecked,
    Unnamed,
    /// The host, for what is done to it as a whole.
    Host,
}

impl State {
    const ALL: [Self; 9] = [
        Self::Running,
        Self::Database,
        Self::Unprotected,
        Self::Leased,
        Self::Off,
        Self::Unknown,
        Self::Unchecked,
        Self::Unnamed,
        Self::Host,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Database => "database",
            Self::Unprotected => "unprotected",
            Self::Leased => "leased",
            Self::Off => "off",
            Self::Unknown => "unknown",
            Self::Unchecked => "unchecked",
            Self::Unnamed => "unnamed",
            Self::Host => "host",
        }
    }

    fn target(self) -> Target {
        let vm = |name: &str| VmTarget {
            uuid: VmUuid::from_bytes([u8::try_from(name.len()).unwrap_or(0); 16]),
            name: name.to_owned(),
            process: Some(process(1000)),
            protected: true,
            labels: std::collections::BTreeMap::new(),
        };
        match self {
            Self::Running | Self::Leased => Target::Vm(vm("web-1")),
            Self::Database => Target::Vm(vm("db-1")),
            Self::Unprotected => Target::Vm(VmTarget {
                protected: false,
                ..vm("web-1")
            }),
            Self::Off => Target::Vm(VmTarget {
                process: None,
                ..vm("web-1")
            }),
            Self::Unknown => Target::Unknown("web-9".to_owned()),
            Self::Unchecked => Target::Unchecked("web-1".to_owned()),
            Self::Unnamed => Target::None,
            Self::Host => Target::Vm(VmTarget::host(true)),
        }
    }
}

fn process(pid: u32) -> Process {
    Process {
        pid,
        start_ticks: 1,
    }
}

fn request(engine: &Engine, subject: Subject, effect: Effect, target: Target) -> Request {
    let caller = subject.caller();
    let (via, tool) = match subject {
        Subject::Agent => (Via::Tool, effect.tool()),
        Subject::AgentOtherTool => (Via::Tool, "vm_list"),
        _ => (Via::Effect, effect.tool()),
    };
    let mut arguments = Map::new();
    if subject == Subject::Agent && effect == Effect::ForceStop {
        arguments.insert("force".to_owned(), json!(true));
    }
    let mapped = match via {
        Via::Tool => engine.mapped(tool, None, &arguments, &caller),
        Via::Effect => Mapped::Harmless { vm: None },
    };
    Request {
        tool: tool.to_owned(),
        via,
        server: None,
        arguments: Arguments::new(arguments),
        mapped,
        effect: Some(effect),
        target,
        holder: caller.process,
        caller,
        reason: None,
        local: LocalTime::default(),
    }
}

fn cell(policy: &str, subject: Subject, state: State, effect: Effect) -> String {
    let policy = Policy::parse(policy, "policy.json").expect("a good policy");
    let mut engine = Engine::new(policy, "boot");
    if state == State::Leased {
        // Fencing may always; its lease is then in everybody's way.
        let first = request(&engine, Subject::Fencing, Effect::ForceStop, state.target());
        let answer = engine.authorize(first.clone(), NOW);
        assert!(answer.lease.is_some(), "the other lease is live");
    }
    let request = request(&engine, subject, effect, state.target());
    let answer = engine.authorize(request.clone(), NOW);
    match answer.decision {
        Decision::Allow(_) if answer.lease.is_some() => "LEASE".to_owned(),
        Decision::Allow(_) => "allow".to_owned(),
        Decision::Pending(_) => "pending".to_owned(),
        Decision::Deny(denial) => word(denial.reason),
    }
}

fn word(reason: ReasonCode) -> String {
    match serde_json::to_value(reason) {
        Ok(Value::String(word)) => word,
        other => panic!("a reason is a word: {other:?}"),
    }
}

fn table() -> String {
    let mut text = format!("{:<6} {:<17} {:<12}", "policy", "subject", "vm");
    for effect in Effect::ALL {
        let _infallible = write!(text, " {:<17}", effect.name());
    }
    let mut text = format!("{}\n", text.trim_end());
    for (name, policy) in POLICIES {
        for subject in Subject::ALL {
            for state in State::ALL {
                let mut line = format!("{name:<6} {:<17} {:<12}", subject.name(), state.name());
                for effect in Effect::ALL {
                    let cell = cell(policy, subject, state, effect);
                    let _infallible = write!(line, " {cell:<17}");
                }
                text.push_str(line.trim_end());
                text.push('\n');
            }
        }
    }
    text
}

#[test]
fn the_table_is_what_the_engine_says() {
    let found = table();
    if std::env::var_os("VMWARD_WRITE_MATRIX").is_some() {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/authorisation-matrix.txt");
        std::fs::write(path, &found).expect("the table can be written");
        return;
    }
    for (line, (found, committed)) in found.lines().zip(TABLE.lines()).enumerate() {
        assert_eq!(found, committed, "line {}", line + 1);
    }
    assert_eq!(found, TABLE);
}

/// What every policy must keep, whatever else the table says.
#[test]
fn no_cell_of_the_table_lets_a_stop_through_that_must_not_pass() {
    for line in TABLE.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (policy, subject, state, cells) = (words[0], words[1], words[2], &words[3..]);
        assert_eq!(cells.len(), Effect::ALL.len(), "{line}");
        for cell in cells {
            let allowed = matches!(*cell, "LEASE" | "allow");
            let aimless = matches!(state, "unknown" | "unnamed");
            assert!(!(allowed && aimless), "allowed without a VM: {line}");
            assert!(
                !(allowed && state == "leased"),
                "two leases for one VM: {line}"
            );
            let outsider = matches!(subject, "agent" | "user" | "agent-other-tool");
            let of_the_policy = policy == "full" && state == "database" && outsider;
            assert!(!(allowed && of_the_policy), "a protected VM: {line}");
            // Only a VM that the kernel does not protect, or that does not run,
            // may be touched without a lease.
            let bare = matches!(state, "unprotected" | "unchecked" | "off");
            assert!(*cell != "allow" || bare, "allowed without a lease: {line}");
        }
    }
}

#[test]
fn the_table_shows_every_reason_that_depends_on_subject_effect_or_vm() {
    let shown: BTreeSet<&str> = TABLE
        .lines()
        .skip(1)
        .flat_map(str::split_whitespace)
        .collect();
    for reason in [
        ReasonCode::DefaultDeny,
        ReasonCode::RuleDenied,
        ReasonCode::Hidden,
        ReasonCode::Condition,
        ReasonCode::VmProtected,
        ReasonCode::OutsideHours,
        ReasonCode::ReasonRequired,
        ReasonCode::VmUnknown,
        ReasonCode::VmNotRunning,
        ReasonCode::LeaseBusy,
    ] {
        assert!(shown.contains(word(reason).as_str()), "{reason:?}");
    }
    assert!(shown.contains("LEASE") && shown.contains("allow") && shown.contains("pending"));
}
