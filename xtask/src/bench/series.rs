//! Series of samples, taken in turns so that whatever drifts on the machine
//! hits all of them alike.

use std::{
    fs::File,
    io::Write,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};

use super::{
    caller::{Caller, nanos},
    polkit::Polkit,
};

/// How long a series runs at a time. Short, because a disk that others use has
/// good and bad moments, and every series should have its share of both.
const SLICE: Duration = Duration::from_millis(20);

/// What a series measures.
pub(super) enum Subject {
    /// One or more callers at once, each with a connection of its own.
    Callers(Vec<Caller>),
    /// Appending these bytes to a file and waiting for the disk.
    Sync(File, Vec<u8>),
    /// polkit's answer.
    Polkit(Box<Polkit>),
}

pub(super) struct Series {
    pub(super) name: String,
    subject: Subject,
    /// Nanoseconds of each sample; sorted once all are taken.
    samples: Vec<u64>,
    /// How many of them ended while all callers were at work, and how long that was.
    in_time: usize,
    busy: Duration,
}

impl Series {
    pub(super) fn new(name: impl Into<String>, subject: Subject) -> Self {
        Self {
            name: name.into(),
            subject,
            samples: Vec::new(),
            in_time: 0,
            busy: Duration::ZERO,
        }
    }

    fn run(&mut self, slice: Duration) -> Result<()> {
        let start = Instant::now();
        let end = start + slice;
        let before = self.samples.len();
        match &mut self.subject {
            Subject::Callers(callers) => match callers.as_mut_slice() {
                [caller] => repeat(end, &mut self.samples, || caller.time())?,
                callers => {
                    self.in_time += together(callers, slice, &mut self.samples)?;
                    self.busy += slice;
                    return Ok(());
                }
            },
            Subject::Sync(file, bytes) => repeat(end, &mut self.samples, || {
                let start = Instant::now();
                file.write_all(bytes)?;
                file.sync_data()?;
                Ok(nanos(start.elapsed()))
            })?,
            Subject::Polkit(polkit) => repeat(end, &mut self.samples, || polkit.time())?,
        }
        self.in_time += self.samples.len() - before;
        self.busy += start.elapsed();
        Ok(())
    }

    /// The sample below which `percent` of all samples lie, in microseconds.
    pub(super) fn percentile_us(&self, percent: u32) -> f64 {
        let ns = percentile(&self.samples, percent);
        Duration::from_nanos(ns).as_secs_f64() * 1e6
    }

    /// Samples a second, of all callers together.
    pub(super) fn per_second(&self) -> f64 {
        let count = u32::try_from(self.in_time).unwrap_or(u32::MAX);
        f64::from(count) / self.busy.as_secs_f64().max(f64::EPSILON)
    }

    pub(super) fn samples(&self) -> usize {
        self.samples.len()
    }
}

/// Runs all series in turns for about `total`, and each of them at least once.
pub(super) fn run(series: &mut [Series], total: Duration) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < total || series.iter().any(|one| one.samples.is_empty()) {
        for one in series.iter_mut() {
            one.run(SLICE)
                .with_context(|| format!("the series {:?} broke", one.name))?;
        }
    }
    for one in series {
        one.samples.sort_unstable();
    }
    Ok(())
}

fn repeat(
    end: Instant,
    samples: &mut Vec<u64>,
    mut time: impl FnMut() -> Result<u64>,
) -> Result<()> {
    loop {
        samples.push(time()?);
        if Instant::now() >= end {
            return Ok(());
        }
    }
}

/// All callers at once for this long, from when the last has its thread. Returns how
/// many calls ended within it: those still on their way then have no crowd around them.
fn together(callers: &mut [Caller], slice: Duration, samples: &mut Vec<u64>) -> Result<usize> {
    let begin = Barrier::new(callers.len());
    let begin = &begin;
    thread::scope(|scope| {
        let threads: Vec<_> = callers
            .iter_mut()
            .map(|caller| {
                scope.spawn(move || {
                    begin.wait();
                    let end = Instant::now() + slice;
                    let (mut own, mut late) = (Vec::new(), 0);
                    repeat(end, &mut own, || {
                        let time = caller.time();
                        late += usize::from(Instant::now() > end);
                        time
                    })
                    .map(|()| (own.len() - late, own))
                })
            })
            .collect();
        let mut in_time = 0;
        for thread in threads {
            let (counted, own) = thread
                .join()
                .map_err(|_panic| anyhow!("a caller's thread panicked"))??;
            in_time += counted;
            samples.extend(own);
        }
        Ok(in_time)
    })
}

/// Nearest rank: the smallest sample that at least `percent` of all do not exceed.
fn percentile(sorted: &[u64], percent: u32) -> u64 {
    let percent = usize::try_from(percent.min(100)).unwrap_or(100);
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.max(1) - 1).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_are_samples_by_nearest_rank() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(percentile(&hundred, 50), 50);
        assert_eq!(percentile(&hundred, 99), 99);
        assert_eq!(percentile(&[7], 99), 7);
        assert_eq!(percentile(&[1, 9], 50), 1);
        assert_eq!(percentile(&[1, 9], 99), 9);
        assert_eq!(percentile(&[], 50), 0);
    }
}
