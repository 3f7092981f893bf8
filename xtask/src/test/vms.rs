//! Runs in VMs: as many at once as there are cores, since under emulation each keeps
//! one busy.

use std::{
    fs,
    num::NonZero,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Result, bail};

use super::{Suite, count::Count, coverage, passed::Passed, plan::VmRun, suite};
use crate::vm::{self, VmArgs};

/// How the runs are run.
pub(super) struct Vms<'a> {
    /// The program of kernel tests.
    pub(super) binary: &'a Path,
    /// Seconds that one run may take.
    pub(super) limit: u64,
    /// Is what has passed with these sources not run again?
    pub(super) resume: bool,
    /// What has, where the whole is run.
    pub(super) passed: Option<&'a Passed>,
}

impl Vms<'_> {
    /// Runs all, in no order.
    pub(super) fn run_all(&self, runs: &[VmRun]) -> Vec<Suite> {
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::new());
        let work = || {
            while let Some(run) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                let suite = self.earlier(run).unwrap_or_else(|| self.run(run));
                done.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(suite);
            }
        };
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        thread::scope(|scope| {
            for _ in 0..cores.min(runs.len()) {
                scope.spawn(work);
            }
        });
        done.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn earlier(&self, run: &VmRun) -> Option<Suite> {
        let earlier = self.passed.filter(|_| self.resume)?.earlier(&run.name)?;
        Some(Suite {
            name: format!("kernel {}, earlier", run.name),
            count: earlier.count(),
            seconds: earlier.seconds,
            broken: None,
        })
    }

    fn run(&self, run: &VmRun) -> Suite {
        let suite = suite(&format!("kernel {}", run.name), || self.in_vm(run));
        // Costs a second run of it at most.
        if let Some(passed) = self.passed
            && let Err(error) = passed.take(&run.name, suite.count, suite.seconds)
        {
            eprintln!("{}: {error:#}", run.name);
        }
        suite
    }

    fn in_vm(&self, run: &VmRun) -> Result<Count> {
        let script = run.script(&self.binary.display().to_string());
        let finished = vm::boot(&VmArgs {
            verbose: false,
            host: run.host,
            audit: run.audit,
            mode: run.mode(),
            output: vm::Output::Kept,
            ..VmArgs::bare(
                run.kernel,
                self.limit,
                ["bash", "-c", &script].map(str::to_owned).to_vec(),
            )
        })?;
        let output = fs::read(finished.folder.join("stdout")).unwrap_or_default();
        let output = String::from_utf8_lossy(&output);
        let errors = fs::read(finished.folder.join("stderr")).unwrap_or_default();
        // In one piece: other VMs run at the same time.
        println!("--- kernel {}\n{output}", run.name);
        eprintln!("{}", String::from_utf8_lossy(&errors));
        let mut count = Count::default();
        output.lines().for_each(|line| count.add_line(line));
        coverage::keep(&run.name, &finished.folder)?;
        let code = finished.code;
        if code != 0 && count.failed == 0 {
            bail!("the kernel tests ended with status {code} without naming a failed test");
        }
        if count.failed == 0 {
            finished.clear()?;
        } else {
            eprintln!("the logs of the run are in {}", finished.folder.display());
        }
        Ok(count)
    }
}
