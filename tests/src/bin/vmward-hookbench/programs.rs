//! How often the attached programs ran and for how long, by the kernel's own
//! count: vmwardd tells, since nobody else may look at its programs.

use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

pub(crate) fn enable_statistics() -> Result<()> {
    fs::write(SWITCH, "1").with_context(|| format!("Failed to write {SWITCH}"))
}

/// One line a program: name, runs, mean time.
pub(crate) fn table(status: &Value) -> Result<String> {
    let hooks = status["kernel"]["hooks"].as_array();
    let mut table = format!("{:<28} {:>10} {:>10}\n", "program", "runs", "mean");
    for hook in hooks.context("the status has no hooks")? {
        let name = hook["name"].as_str().context("a hook has no name")?;
        let number = |key: &str| {
            let number = hook[key].as_u64();
            number.with_context(|| format!("the status does not tell {key} of {name}"))
        };
        let (runs, mean) = (number("runs")?, number("mean_ns")?);
        writeln!(table, "{name:<28} {runs:>10} {mean:>7} ns")?;
    }
    Ok(table)
}
