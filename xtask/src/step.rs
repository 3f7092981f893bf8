//! One step of the set-up: says what it does, shows that it lives, says how long it took.

use std::{
    io::IsTerminal,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{paths, process};

/// A running step. On a terminal it is a spinner with the last line of the
/// program at work; elsewhere a plain line at the start and one at the end.
pub(crate) struct Step {
    name: String,
    slug: String,
    start: Instant,
    spinner: Option<ProgressBar>,
}

/// Runs `work` as a named step; an error is given the name of the step.
pub(crate) fn step<T>(name: &str, work: impl FnOnce(&Step) -> Result<T>) -> Result<T> {
    let step = Step::begin(name)?;
    let result = work(&step).with_context(|| format!("{name}: not done"));
    step.end(result.is_ok());
    result
}

impl Step {
    fn begin(name: &str) -> Result<Self> {
        let spinner = if std::io::stderr().is_terminal() {
            let spinner = ProgressBar::new_spinner();
            spinner.set_style(ProgressStyle::with_template(
                "{spinner} {prefix} [{elapsed}] {wide_msg}",
            )?);
            spinner.set_prefix(name.to_owned());
            spinner.enable_steady_tick(Duration::from_millis(120));
            Some(spinner)
        } else {
            eprintln!("... {name}");
            None
        };
        let slug = name
            .chars()
            .map(|c| if c.is_alphanumeric() { c } else { '-' })
            .collect();
        Ok(Self {
            name: name.to_owned(),
            slug,
            start: Instant::now(),
            spinner,
        })
    }

    fn end(self, done: bool) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
        let took = self.start.elapsed().as_secs_f32();
        let mark = if done { "ok " } else { "ERR" };
        eprintln!("{mark} {} ({took:.1} s)", self.name);
    }

    /// A remark that stays on the screen.
    pub(crate) fn say(&self, text: &str) {
        match &self.spinner {
            Some(spinner) => spinner.println(format!("    {text}")),
            None => eprintln!("    {text}"),
        }
    }

    /// Runs a program to its end, at most `limit` long; its output goes to a log in the cache.
    pub(crate) fn run(&self, command: Command, limit: Duration) -> Result<()> {
        let spinner = self.spinner.clone();
        process::logged(command, limit, &self.log()?, move |line| {
            if let Some(spinner) = &spinner {
                spinner.set_message(process::without_hosts(line));
            }
        })
    }

    fn log(&self) -> Result<PathBuf> {
        let folder = paths::cache()?.join("logs");
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("Failed to create {}", folder.display()))?;
        Ok(folder.join(format!("{}.log", self.slug)))
    }
}
