//! The daemon's memory with many VMs and many live counters.
//!
//! The VMs are those of libvirt's test driver, which keeps them in the process
//! that asks, so the number is too high by what that costs: some 7 MiB of the
//! process's own and 5 MiB of libraries. The kernel side is off and not counted.

use std::{fmt::Write, fs, path::Path, time::Duration};

use anyhow::{Context, Result, anyhow};
use serde_json::json;

use super::{
    caller::Caller,
    daemon::{Daemon, request, result},
    report::Budget,
};
use crate::wait;

const VMS: usize = 1_000;
const COUNTERS: usize = 10_000;
/// Callers at once, so that group commit shortens the filling.
const CALLERS: usize = 32;
const MIB_MAX: f64 = 16.0;
const LOOK_LIMIT: Duration = Duration::from_mins(1);

/// Starts a daemon with this many VMs (of libvirt's test driver), fills this
/// many counters by real calls, and looks. Returns the budget's line, and what
/// was not as it should be.
pub(super) fn measure(binary: &Path, dir: &Path) -> Result<(Budget, Option<String>)> {
    fs::create_dir_all(dir)?;
    let domains = dir.join("domains.xml");
    fs::write(&domains, test_driver())?;
    let policy = json!({"version": "1", "default": "deny", "tools": {"count_vms": {"limits": [
        {"counter": "count", "window": "day", "max": 100, "scope": "agent"}
    ]}}});
    let uri = format!("test://{}", domains.display());
    let daemon = Daemon::start(binary, dir, &policy, &uri)?;
    let vms = wait::until("the daemon to see every VM", LOOK_LIMIT, || {
        let seen = daemon.status()?["vms"].as_array().map_or(0, Vec::len);
        Ok((seen >= VMS).then_some(seen))
    })?;
    fill(&daemon)?;
    // Looking makes memory, too; so the daemon is measured before it is asked.
    let memory = daemon.memory_kib()?;
    let counters = daemon.status()?["limits"].as_array().map_or(0, Vec::len);
    let what = format!(
        "memory, {vms} VMs and {counters} counters: own {:.1}, files {:.1} MiB",
        mib(memory.own),
        mib(memory.files)
    );
    let short = (counters < COUNTERS)
        .then(|| format!("memory with {COUNTERS} live counters: there were {counters}"));
    Ok((
        Budget::at_most(what, mib(memory.all), MIB_MAX, "MiB"),
        short,
    ))
}

fn mib(kib: u64) -> f64 {
    f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) / 1024.0
}

/// One call for each of as many agents: each has a counter of its own.
fn fill(daemon: &Daemon) -> Result<()> {
    let socket = daemon.socket();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CALLERS)
            .map(|first| {
                let socket = &socket;
                scope.spawn(move || -> Result<()> {
                    let mut caller = Caller::connect(socket, b"")?;
                    for number in (first..COUNTERS).step_by(CALLERS) {
                        let agent = format!("agent-{number}");
                        let call = json!({"tool": "count_vms", "arguments": {}, "agent": agent});
                        caller.set_request(&request("authorize", &call));
                        let answer = result(caller.ask()?)?;
                        (answer["decision"] == "allow")
                            .then_some(())
                            .with_context(|| format!("{agent} was not allowed: {answer}"))?;
                    }
                    Ok(())
                })
            })
            .collect();
        for thread in threads {
            thread
                .join()
                .map_err(|_panic| anyhow!("a caller's thread panicked"))??;
        }
        Ok(())
    })
}

/// Running domains for libvirt's test driver.
fn test_driver() -> String {
    let mut text = String::from("<node>\n");
    for number in 0..VMS {
        // Writing to a string cannot fail.
        writeln!(
            text,
            "<domain type='test'><name>vm-{number}</name>\
             <uuid>00000000-0000-4000-8000-{number:012}</uuid>\
             <memory>1024</memory><os><type>hvm</type></os></domain>"
        )
        .unwrap_or_default();
    }
    text.push_str("</node>\n");
    text
}
