//! `vmward-hookbench`: what the hooks cost processes that have nothing to do
//! with VMs. Runs inside the test VM; `cargo xtask bench hooks` starts it.
//!
//! The same loops run without vmward, with it, and with an audit rule on the
//! same system calls instead, in turns, so that what drifts hits all alike. A
//! domain runs all the time. The medians are compared; then the kernel's own
//! statistics say how often each program ran and for how long.

mod audit_rule;
mod loops;
mod programs;

use std::process::ExitCode;

use anyhow::{Context, Result};
use vmward_tests::daemon::{Daemon, Mode, take_enforcement_out};
use vmward_tests::guest::Guest;

use loops::Loop;

/// How often all three are measured in turn, where no argument says it.
const ROUNDS: u32 = 5;
/// Most that a loop may be slower, in percent: the budget.
const BUDGET: f64 = 3.0;

/// Under which conditions the loops run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Without,
    With,
    AuditRule,
}

/// Nanoseconds an operation, by slice.
struct Series {
    state: State,
    name: &'static str,
    slices: Vec<u64>,
}

impl Series {
    fn median(&mut self) -> u64 {
        self.slices.sort_unstable();
        self.slices.get(self.slices.len() / 2).copied().unwrap_or(0)
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(3),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// True when all budgets are met.
fn run() -> Result<bool> {
    anyhow::ensure!(
        std::env::var_os("VMWARD_VM_DIR").is_some(),
        "this loads BPF programs and audit rules; it runs in the test VM: cargo xtask bench hooks"
    );
    let rounds = match std::env::args().nth(1) {
        Some(word) => word.parse().context("the rounds must be a number")?,
        None => ROUNDS,
    };
    take_enforcement_out();
    let guest = Guest::start("bench-1");
    let mut loops = loops::all()?;
    let mut all = Vec::new();
    let mut no_rule = None;
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        measure(&mut all, State::Without, &mut loops)?;
        match audit_rule::Rule::set() {
            Ok(rule) => {
                measure(&mut all, State::AuditRule, &mut loops)?;
                rule.remove()?;
            }
            Err(error) => no_rule = Some(format!("{error:#}")),
        }
        let mut daemon = Daemon::start(Mode::Enforce);
        daemon.wait_protected(&guest.name);
        // The hooks stay; the daemon's own work is not what is measured.
        daemon.stop();
        measure(&mut all, State::With, &mut loops)?;
        if round == rounds {
            daemon.start_again(&[]);
            programs::enable_statistics()?;
            for one in &mut loops {
                one.slice()?;
            }
            println!("{}", programs::table(&daemon.status())?);
        }
        drop(daemon);
    }
    if let Some(why) = no_rule {
        println!("not measured: an audit rule: {why}");
    }
    let good = table(&mut all, &loops);
    println!("budget: at most {BUDGET} % slower with vmward; medians of {rounds} rounds in turns");
    Ok(good)
}

fn measure(all: &mut Vec<Series>, state: State, loops: &mut [Loop]) -> Result<()> {
    for one in loops {
        let name = one.name;
        let at = all.iter().position(|s| s.state == state && s.name == name);
        let at = at.unwrap_or_else(|| {
            all.push(Series {
                state,
                name,
                slices: Vec::new(),
            });
            all.len() - 1
        });
        // The first slice after a change of state fills caches.
        one.slice()?;
        for _ in 0..loops::SLICES {
            let taken = one.slice().context(name)?;
            all[at].slices.push(taken);
        }
    }
    Ok(())
}

/// Prints the comparison; true when all budgets are met.
#[expect(
    clippy::cast_precision_loss,
    reason = "nanoseconds an operation are far below 2^52"
)]
fn table(all: &mut [Series], loops: &[Loop]) -> bool {
    let mut good = true;
    println!(
        "{:<22} {:>10} {:>10} {:>9} {:>12} {:>9}",
        "loop", "without", "vmward", "slower", "audit rule", "slower"
    );
    for one in loops {
        let mut median = |state| {
            let series = all
                .iter_mut()
                .find(|s| s.state == state && s.name == one.name);
            series.map_or(0, Series::median) as f64
        };
        let (without, with) = (median(State::Without), median(State::With));
        let rule = median(State::AuditRule);
        let slower = |time: f64| (time / without.max(1.0) - 1.0) * 100.0;
        let missed = slower(with) > BUDGET;
        good &= !missed;
        let of_rule = if rule > 0.0 {
            format!("{rule:>9.0} ns {:>7.1} %", slower(rule))
        } else {
            format!("{:>12} {:>9}", "-", "-")
        };
        println!(
            "{:<22} {without:>7.0} ns {with:>7.0} ns {:>7.1} % {of_rule}{}",
            one.name,
            slower(with),
            if missed { "  MISSED" } else { "" }
        );
    }
    good
}
