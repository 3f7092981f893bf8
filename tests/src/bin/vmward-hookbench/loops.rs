//! The loops: what any process does all the time.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::Pid;

/// Slices of each loop in each round.
pub(crate) const SLICES: usize = 12;
const SLICE: Duration = Duration::from_millis(25);
/// Operations between two looks at the clock.
const BATCH: u64 = 32;
const FILE: &str = "/dev/shm/vmward-hookbench";

type Operation = Box<dyn FnMut() -> Result<()>>;

/// One loop.
pub(crate) struct Loop {
    pub(crate) name: &'static str,
    operation: Operation,
}

impl Loop {
    /// Nanoseconds an operation.
    pub(crate) fn slice(&mut self) -> Result<u64> {
        let start = Instant::now();
        let mut count = 0;
        loop {
            for _ in 0..BATCH {
                (self.operation)()?;
            }
            count += BATCH;
            let taken = start.elapsed();
            if taken >= SLICE {
                return Ok(u64::try_from(taken.as_nanos())? / count);
            }
        }
    }
}

pub(crate) fn all() -> Result<Vec<Loop>> {
    Ok(vec![
        Loop {
            name: "kill",
            operation: kill_self()?,
        },
        Loop {
            name: "pipe",
            operation: pipe()?,
        },
        Loop {
            name: "unix-socket ping-pong",
            operation: ping_pong()?,
        },
        Loop {
            name: "file write",
            operation: write()?,
        },
        Loop {
            name: "open and close",
            operation: open(),
        },
    ])
}

/// A signal that could stop a VM, at a process that is none and ignores it.
#[expect(unsafe_code, reason = "sets how a signal is handled")]
fn kill_self() -> Result<Operation> {
    // SAFETY: ignoring a signal runs no code of ours.
    unsafe { signal(Signal::SIGUSR1, SigHandler::SigIgn) }?;
    let own = Pid::this();
    Ok(Box::new(move || Ok(kill(own, Signal::SIGUSR1)?)))
}

fn pipe() -> Result<Operation> {
    let (mut from, mut to) = std::io::pipe().context("no pipe")?;
    let mut byte = [0];
    Ok(Box::new(move || {
        to.write_all(&byte)?;
        Ok(from.read_exact(&mut byte)?)
    }))
}

fn ping_pong() -> Result<Operation> {
    let (mut left, mut right) = UnixStream::pair().context("no socket pair")?;
    let mut byte = [0];
    Ok(Box::new(move || {
        left.write_all(&byte)?;
        right.read_exact(&mut byte)?;
        right.write_all(&byte)?;
        Ok(left.read_exact(&mut byte)?)
    }))
}

fn write() -> Result<Operation> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .open(FILE)
        .context(FILE)?;
    Ok(Box::new(move || Ok(file.write_all_at(&[0; 64], 0)?)))
}

fn open() -> Operation {
    Box::new(|| Ok(File::open(FILE).map(drop)?))
}
