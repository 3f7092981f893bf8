//! The kernel's verifier walks every program: nearly the whole of a start.

use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use aya::programs::Program;
use aya::{Btf, Ebpf};

use super::{PROGRAMS, failed, of_wrong_type};
use crate::kernel::KernelError;
use crate::notify;

/// How many programs are verified at a time.
const WORKERS_MAX: usize = 8;

/// Has the kernel verify every program, as many at a time as there are
/// processors.
pub(super) fn all(ebpf: &mut Ebpf, btf: &Btf) -> Result<(), KernelError> {
    let waiting: Vec<_> = ebpf
        .programs_mut()
        .filter_map(|(name, program)| {
            let (name, _) = PROGRAMS.iter().find(|(known, _)| *known == name)?;
            Some((*name, program))
        })
        .collect();
    let waiting = Mutex::new(waiting);
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let work = || -> Result<(), KernelError> {
        while let Some((name, program)) = next() {
            one(name, program, btf)?;
        }
        Ok(())
    };
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        let others: Vec<_> = (1..workers.min(WORKERS_MAX))
            .map(|_| scope.spawn(work))
            .collect();
        let own = work();
        let panicked = |_| Err(of_wrong_type("whose load did not panic"));
        others
            .into_iter()
            .map(|other| other.join().unwrap_or_else(panicked))
            .fold(own, Result::and)
    })
}

fn one(name: &'static str, program: &mut Program, btf: &Btf) -> Result<(), KernelError> {
    notify::starting();
    let began = Instant::now();
    let info = match program {
        Program::Lsm(p) => p.load(name, btf).and_then(|()| p.info()),
        Program::BtfTracePoint(p) => p.load(name, btf).and_then(|()| p.info()),
        Program::FExit(p) => p.load(name, btf).and_then(|()| p.info()),
        _ => return Err(of_wrong_type(name)),
    };
    let info = info.map_err(failed("load", name))?;
    let walked = info.verified_instruction_count().unwrap_or(0);
    tracing::debug!(program = name, walked, took = ?began.elapsed(), "verified");
    Ok(())
}
