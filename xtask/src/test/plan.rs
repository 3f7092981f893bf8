//! Which tests run in which VM. One VM keeps one core busy under emulation, so
//! as many run at once as there are cores.

use crate::setup::Kernel;

/// One boot of a VM and what runs in it.
pub(super) struct VmRun {
    pub(super) name: String,
    pub(super) kernel: Kernel,
    pub(super) parts: Vec<Part>,
}

/// One call of the program of kernel tests.
pub(super) struct Part {
    /// Which rows of the attack table, as the suite's `VMWARD_ATTACKS`; empty for
    /// all.
    pub(super) attacks: &'static str,
    /// Arguments of the test program: names, `--skip`.
    pub(super) filter: &'static [&'static str],
}

const OTHERS: Part = Part {
    attacks: "",
    filter: &["--skip", "suite::"],
};

fn all(filter: &'static [&'static str]) -> Part {
    Part {
        attacks: "",
        filter,
    }
}

fn hooks(filter: &'static [&'static str]) -> Part {
    Part {
        attacks: "@hooks",
        filter,
    }
}

/// The stated subset: every attack on 6.12, without vmward and enforced; one
/// attack a hook in the other phases there, and enforced on 6.1 and 7.3, where
/// the daemon's self-test attacks every hook besides; the other kernel tests
/// on 6.1. The longest come first.
fn subset(kernel: Kernel) -> Vec<VmRun> {
    match kernel {
        Kernel::V6_12 => vec![
            run("attacks, control", kernel, vec![all(&["suite::control"])]),
            run(
                "attacks",
                kernel,
                vec![
                    all(&["suite::enforce", "suite::down"]),
                    hooks(&["suite::observe", "suite::lease"]),
                ],
            ),
        ],
        Kernel::V6_1 => vec![run(
            "tests",
            kernel,
            vec![OTHERS, hooks(&["suite::enforce"])],
        )],
        Kernel::V7_3 => vec![run("hooks", kernel, vec![hooks(&["suite::enforce"])])],
    }
}

/// Everything on this kernel.
fn full(kernel: Kernel) -> Vec<VmRun> {
    vec![
        run("attacks, control", kernel, vec![all(&["suite::control"])]),
        run("attacks, lease", kernel, vec![all(&["suite::lease"])]),
        run("attacks, observe", kernel, vec![all(&["suite::observe"])]),
        run("tests", kernel, vec![OTHERS]),
        run(
            "attacks",
            kernel,
            vec![all(&["suite::enforce", "suite::down"])],
        ),
    ]
}

fn run(what: &str, kernel: Kernel, parts: Vec<Part>) -> VmRun {
    VmRun {
        name: format!("{kernel} {what}"),
        kernel,
        parts,
    }
}

/// The runs on these kernels, in the order in which they are started.
pub(super) fn runs(kernels: &[Kernel], everything: bool) -> Vec<VmRun> {
    let of = if everything { full } else { subset };
    // 6.12 has the longest ones.
    let mut kernels = kernels.to_vec();
    kernels.sort_by_key(|kernel| *kernel != Kernel::V6_12);
    kernels.into_iter().flat_map(of).collect()
}

impl VmRun {
    /// A shell's line that runs all parts and fails when one does.
    pub(super) fn script(&self, program: &str) -> String {
        let part = |part: &Part| {
            let (attacks, filter) = (part.attacks, part.filter.join(" "));
            format!(
                "VMWARD_ATTACKS='{attacks}' '{program}' --test-threads=1 --include-ignored \
                 {filter} || status=1; "
            )
        };
        let parts: String = self.parts.iter().map(part).collect();
        format!("status=0; {parts}exit $status")
    }
}

#[cfg(test)]
mod tests {
    use super::{Kernel, runs};

    #[test]
    fn each_test_runs_on_some_kernel_and_each_kernel_meets_every_hook() {
        let all = runs(Kernel::ALL, false);
        let text = |kernel| -> String {
            let of = all.iter().filter(|run| run.kernel == kernel);
            of.map(|run| run.script("t")).collect()
        };
        for kernel in Kernel::ALL {
            assert!(text(*kernel).contains("suite::enforce"), "{kernel}");
        }
        assert!(text(Kernel::V6_1).contains("--skip suite::"));
        assert!(text(Kernel::V6_12).contains("VMWARD_ATTACKS='' 't'"));
    }
}
