//! Which tests run in which VM. One VM keeps one core busy under emulation, so
//! as many run at once as there are cores.

use anyhow::{Result, ensure};
use clap::Args;

use crate::{
    setup::Kernel,
    vm::{Audit, Host, Mode},
};

/// What of all that is wanted.
#[derive(Args)]
pub(super) struct Choice {
    /// Kernels to test on; without it, all
    #[arg(long = "kernel", value_name = "K")]
    kernels: Vec<Kernel>,
    /// Every test and every attack in every way on every kernel and host: takes hours.
    /// Without it a subset: every attack refused, host rules, leases and guests' lives
    /// on 6.12, and an attack for each hook on 6.1 and 7.3
    #[arg(long)]
    pub(super) full: bool,
    /// Take up a whole that was interrupted: what has passed in a VM with these very
    /// sources, by tests/data/full.jsonl, is not run again, and counted as it was
    #[arg(long, requires = "full")]
    pub(super) resume: bool,
    /// Only the runs in VMs whose names hold these words, and nothing on this machine
    /// itself. `cargo xtask coverage` takes their results with those of earlier runs
    #[arg(long = "run", value_name = "WORDS", conflicts_with = "no_vm")]
    words: Vec<String>,
    /// Name the runs in VMs, and do nothing
    #[arg(long)]
    pub(super) list: bool,
}

impl Choice {
    /// Are only some runs wanted, by their names?
    pub(super) fn is_narrowed(&self) -> bool {
        !self.words.is_empty()
    }

    /// The runs, in the order in which they are started.
    ///
    /// # Errors
    /// Words that no run's name holds: a slip of the pen must not pass for a test that
    /// passed.
    pub(super) fn runs(&self) -> Result<Vec<VmRun>> {
        let kernels = if self.kernels.is_empty() {
            Kernel::ALL
        } else {
            &self.kernels
        };
        let mut runs = runs(kernels, self.full);
        let is_called = |run: &VmRun, words: &String| run.name.contains(words);
        for words in &self.words {
            ensure!(
                runs.iter().any(|run| is_called(run, words)),
                "no run is called {words:?}; --list names them, and those of --full with it"
            );
        }
        if self.is_narrowed() {
            runs.retain(|run| self.words.iter().any(|words| is_called(run, words)));
        }
        Ok(runs)
    }
}

/// One boot of a VM and what runs in it.
pub(super) struct VmRun {
    pub(super) name: String,
    pub(super) kernel: Kernel,
    pub(super) host: Host,
    pub(super) audit: Audit,
    work: Work,
}

/// What is done in a VM.
enum Work {
    /// These, one after the other; each test starts its own daemon.
    Parts(Vec<Part>),
    /// The tests of vmward as installed under systemd, over a reboot.
    Installed,
}

/// One call of the program of kernel tests.
struct Part {
    /// Which rows of the attack table, as the suite's `VMWARD_ATTACKS`; empty for
    /// all.
    attacks: &'static str,
    /// Arguments of the test program: names, `--skip`.
    filter: &'static [&'static str],
}

const OTHERS: Part = Part {
    attacks: "",
    filter: &["--skip", "suite::", "--skip", "systemd::"],
};

/// On a host run by systemd with vmward installed, up to its reboot and after it.
const BEFORE_REBOOT: &str = "systemd:: --skip rebooted:: --skip going_down::";
const REBOOT: &str = "systemd::going_down::";
const AFTER_REBOOT: &str = "systemd::rebooted::";

fn enforced(attacks: &'static str) -> Part {
    Part {
        attacks,
        filter: &["suite::enforce"],
    }
}

fn all_of(filter: &'static [&'static str]) -> Part {
    Part {
        attacks: "",
        filter,
    }
}

/// The stated subset: every attack of the table, enforced; host rules, leases, the
/// lives of guests. On 6.1 and on 7.3 one attack for each hook, and each start of
/// the daemon attacks a canary through every hook. What `--full` adds is the other
/// ways to play the table, the table on the other kernels and under systemd, and
/// the other tests.
fn subset(kernel: Kernel) -> Vec<VmRun> {
    match kernel {
        Kernel::V6_12 => vec![
            run("leases and guests", kernel, vec![all_of(GUESTS)]),
            run("hosts and signals", kernel, vec![all_of(RULES)]),
            run("attacks, first half", kernel, vec![enforced("@1/2")]),
            run("attacks, second half", kernel, vec![enforced("@2/2")]),
        ],
        Kernel::V6_1 | Kernel::V7_3 => {
            vec![VmRun {
                // One of the hooks is asked by the kernel's auditing alone.
                audit: Audit::Possible,
                ..run("every hook", kernel, vec![enforced("@hooks")])
            }]
        }
    }
}

const GUESTS: &[&str] = &[
    "host_lease::the_host",
    "lease::a_lease_lets_virsh",
    "lease::another",
    "lease::the_eleventh",
    "legitimate::ends",
    "legitimate::guest::a_guest_powers",
    "legitimate::libvirtd::libvirtd_restarts",
    "inventory::",
];
const RULES: &[&str] = &[
    "bypass::observe",
    "host_rules::a_host_rule_is_used_up",
    "host_rules::a_program",
    "own::a_daemon",
];

/// Everything on this kernel: the table of attacks on either host, and the tests
/// that bring libvirt up and down themselves where nobody else does.
fn full(kernel: Kernel) -> Vec<VmRun> {
    let mut all = vec![run("tests", kernel, vec![OTHERS])];
    for host in [Host::Bare, Host::Systemd] {
        let on = match host {
            Host::Bare => "",
            Host::Systemd => " under systemd",
        };
        for (what, filter, parts) in PHASES {
            all.extend(parts.iter().map(|attacks| {
                let piece = attacks.replace('@', " ").replace('/', " of ");
                let name = format!("{what}{piece}{on}");
                let part = Part { attacks, filter };
                VmRun {
                    host,
                    ..run(&name, kernel, vec![part])
                }
            }));
        }
    }
    all.push(VmRun {
        audit: Audit::Possible,
        ..run(
            "attacks by the kernel's auditing",
            kernel,
            vec![Part {
                attacks: "host/audit-",
                filter: &["suite::"],
            }],
        )
    });
    all.push(VmRun {
        host: Host::Systemd,
        work: Work::Installed,
        ..run("installed under systemd", kernel, vec![])
    });
    all
}

/// The five ways to play the table, in pieces of half an hour or so: that much is
/// lost where the whole is interrupted.
const PHASES: [(&str, &[&str], &[&str]); 4] = [
    ("attacks, control", &["suite::control"], THIRDS),
    ("attacks, lease", &["suite::lease"], THIRDS),
    ("attacks, observe", &["suite::observe"], THIRDS),
    ("attacks", &["suite::enforce", "suite::down"], &[""]),
];
const THIRDS: &[&str] = &["@1/3", "@2/3", "@3/3"];

fn run(what: &str, kernel: Kernel, parts: Vec<Part>) -> VmRun {
    VmRun {
        name: format!("{kernel} {what}"),
        kernel,
        host: Host::Bare,
        audit: Audit::Off,
        work: Work::Parts(parts),
    }
}

fn runs(kernels: &[Kernel], everything: bool) -> Vec<VmRun> {
    let of = if everything { full } else { subset };
    // 6.12 has the longest ones.
    let mut kernels = kernels.to_vec();
    kernels.sort_by_key(|kernel| *kernel != Kernel::V6_12);
    kernels.into_iter().flat_map(of).collect()
}

/// The last test of the first boot has the host reboot, which ends this shell and
/// runs it once more.
fn over_a_reboot(program: &str) -> String {
    let call = |filter: &str| format!("'{program}' --test-threads=1 --include-ignored {filter}");
    let (before, reboot, after) = (call(BEFORE_REBOOT), call(REBOOT), call(AFTER_REBOOT));
    format!(
        "if [ \"$VMWARD_VM_BOOT\" -gt 1 ]; then exec {after}; fi; \
         {before} && {reboot} && exec sleep infinity"
    )
}

/// Runs all parts, and fails when one does.
fn one_by_one(parts: &[Part], program: &str) -> String {
    let part = |part: &Part| {
        let (attacks, filter) = (part.attacks, part.filter.join(" "));
        format!(
            "VMWARD_ATTACKS='{attacks}' '{program}' --test-threads=1 --include-ignored {filter} \
             || status=1; "
        )
    };
    let parts: String = parts.iter().map(part).collect();
    format!("status=0; {parts}exit $status")
}

impl VmRun {
    /// What runs in the VM already.
    pub(super) fn mode(&self) -> Mode {
        match self.work {
            Work::Parts(_) => Mode::Off,
            Work::Installed => Mode::Enforce,
        }
    }

    /// A shell's line that does the work.
    pub(super) fn script(&self, program: &str) -> String {
        match &self.work {
            Work::Parts(parts) => one_by_one(parts, program),
            Work::Installed => over_a_reboot(program),
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Result;

    use super::{Choice, Kernel, THIRDS, runs};

    fn names(full: bool, words: &[&str]) -> Result<Vec<String>> {
        let choice = Choice {
            kernels: Vec::new(),
            full,
            resume: false,
            words: words.iter().map(|some| (*some).to_owned()).collect(),
            list: false,
        };
        Ok(choice.runs()?.into_iter().map(|run| run.name).collect())
    }

    #[test]
    fn runs_are_chosen_by_words_of_their_names() {
        assert_eq!(
            names(true, &["7.3 attacks, lease 2 of 3", "6.1 tests"]).expect("all are there"),
            [
                "6.1 tests",
                "7.3 attacks, lease 2 of 3",
                "7.3 attacks, lease 2 of 3 under systemd"
            ]
        );
        let slip = names(false, &["7.3 every hook", "6.12 atacks"]);
        let told = slip.expect_err("no run is called so").to_string();
        assert!(told.contains("\"6.12 atacks\""), "{told}");
    }

    #[test]
    fn each_kernel_starts_the_daemon_and_the_whole_of_it_runs_in_full() {
        let text = |kernel, everything| -> String {
            let all = runs(Kernel::ALL, everything);
            let of = all.iter().filter(|run| run.kernel == kernel);
            of.map(|run| run.script("t")).collect()
        };
        for kernel in Kernel::ALL {
            let subset = text(*kernel, false);
            let wanted = match kernel {
                Kernel::V6_12 => &["@1/2", "@2/2"][..],
                Kernel::V6_1 | Kernel::V7_3 => &["@hooks"],
            };
            for part in wanted {
                assert!(
                    subset.contains(&format!("VMWARD_ATTACKS='{part}'")),
                    "{kernel}"
                );
            }
            assert_eq!(
                subset.matches("suite::enforce").count(),
                wanted.len(),
                "{kernel}"
            );
            let full = text(*kernel, true);
            assert!(full.contains("--skip suite::"), "{kernel}");
            for phase in ["control", "enforce", "observe", "lease", "down"] {
                let scripts = runs(&[*kernel], true)
                    .into_iter()
                    .map(|run| run.script("t"));
                let pieces: Vec<_> = scripts
                    .filter(|script| script.contains(&format!("suite::{phase}")))
                    .map(|script| script.split('\'').nth(1).unwrap_or_default().to_owned())
                    .collect();
                let of_host = if pieces.len() == 2 { &[""] } else { THIRDS };
                assert_eq!(pieces, [of_host, of_host].concat(), "{kernel}: {phase}");
            }
            for part in [
                "--skip rebooted::",
                "systemd::going_down::",
                "exec 't' --test-threads=1 --include-ignored systemd::rebooted::",
            ] {
                assert!(full.contains(part), "{kernel}: {part}");
            }
        }
    }
}
