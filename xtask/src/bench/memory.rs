//! The daemon's memory with many VMs and many live counters.
//!
//! The VMs are those of libvirt's test driver, which keeps them in the process
//! that asks: `vmward-inventory`, which is told in a line of its own. `bench
//! policy` measures without the kernel side, `bench memory` with it, in the test
//! VM; there the test driver's VMs are no processes, so the kernel's rows of VMs
//! are not in it, which are no memory of the process anyway.

use std::{
    env,
    fmt::{self, Write},
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use serde_json::json;

use super::{
    caller::Caller,
    daemon::{Daemon, Memory, Side, request, result},
    policy,
    report::Budget,
};
use crate::{
    setup::Kernel,
    vm::{self, VmArgs},
    wait,
};

const VMS: usize = 1_000;
const COUNTERS: usize = 10_000;
/// Callers at once, so that group commit shortens the filling.
const CALLERS: usize = 32;
const MIB_MAX: f64 = 16.0;
/// Seconds that a measurement in the VM may take.
const VM_LIMIT: u64 = 900;
const LOOK_LIMIT: Duration = Duration::from_mins(1);

#[derive(Args)]
pub(super) struct MemoryArgs {
    /// Kernel of the VM
    #[arg(long, default_value = "6.12")]
    kernel: Kernel,
    /// This machine is the test VM: measure this vmwardd here
    #[arg(long, hide = true, value_name = "FILE")]
    here: Option<PathBuf>,
}

pub(super) fn run(args: &MemoryArgs) -> Result<ExitCode> {
    let Some(binary) = &args.here else {
        return in_vm(args.kernel);
    };
    let dir = env::temp_dir().join("vmward-memory");
    let memories = measure(binary, &dir, Side::Kernel)?;
    let mut met = memories.short.is_none();
    for budget in &memories.budgets {
        println!("{}", budget.text());
        met &= budget.is_met();
    }
    println!("beside: {}", memories.beside);
    if let Some(short) = &memories.short {
        println!("not measured: {short}");
    }
    Ok(if met {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Builds the release daemon and measures it in the test VM.
fn in_vm(kernel: Kernel) -> Result<ExitCode> {
    let binary = policy::release()?;
    let binary = binary.to_str().context("the folder's name is not UTF-8")?;
    let command = ["xtask", "bench", "memory", "--here", binary];
    let command = command.map(str::to_owned).to_vec();
    let finished = vm::boot(&VmArgs::bare(kernel, VM_LIMIT, command))?;
    match finished.code {
        0 | 1 => {
            finished.clear()?;
            Ok(ExitCode::from(finished.code))
        }
        code => bail!(
            "the measurement ended with status {code}; its logs are in {}",
            finished.folder.display()
        ),
    }
}

/// Starts a daemon with this many VMs (of libvirt's test driver), fills this
/// many counters by real calls, and looks, before anybody asks for all of it and
/// after. Returns the lines of the budget and what else is to be said.
pub(super) fn measure(binary: &Path, dir: &Path, side: Side) -> Result<Memories> {
    fs::create_dir_all(dir)?;
    let domains = dir.join("domains.xml");
    fs::write(&domains, test_driver())?;
    // Agents would all be of one account, which has but a share of the counters.
    let limits: Vec<_> = (0..COUNTERS / VMS)
        .map(|n| json!({"counter": n.to_string(), "window": "day", "max": 100, "scope": "vm"}))
        .collect();
    let policy =
        json!({"version": "1", "default": "deny", "tools": {"look_at": {"limits": limits}}});
    let uri = format!("test://{}", domains.display());
    let daemon = Daemon::start_with(binary, dir, &policy, &uri, side)?;
    let vms = wait::until("the daemon to see every VM", LOOK_LIMIT, || {
        let seen = daemon.status()?["vms"].as_array().map_or(0, Vec::len);
        Ok((seen >= VMS).then_some(seen))
    })?;
    fill(&daemon)?;
    let unasked = daemon.memory_kib()?;
    let mut caller = Caller::connect(&daemon.socket(), &request("status", &json!({})))?;
    let status = result(caller.ask()?)?;
    // Once the same client has another answer, the daemon is done with that one.
    caller.set_request(&request("hello", &json!({"version": 1})));
    result(caller.ask()?)?;
    let asked = daemon.memory_kib()?;
    let listed = status["limits"].as_array().map_or(0, Vec::len);
    let left_out = status["limits_left_out"].as_u64().unwrap_or(0);
    let counters = listed + usize::try_from(left_out)?;
    let inventory = status["libvirt"]["inventory_pid"]
        .as_u64()
        .context("the daemon names no process that asks libvirt")?;
    let inventory = Memory::of(inventory)?;
    let line = |when: &str, memory: &Memory| {
        let what = format!("memory, {vms} VMs and {counters} counters{when}: {memory}");
        Budget::at_most(what, mib(memory.all), MIB_MAX, "MiB")
    };
    let short = (counters < COUNTERS)
        .then(|| format!("memory with {COUNTERS} live counters: there were {counters}"));
    Ok(Memories {
        budgets: [line("", &unasked), line(", after a status", &asked)],
        beside: format!(
            "vmward-inventory, with the {vms} VMs of the test driver in it: {:.2} MiB, {inventory}",
            mib(inventory.all)
        ),
        short,
    })
}

/// What was measured.
pub(super) struct Memories {
    pub(super) budgets: [Budget; 2],
    /// What is in no budget.
    pub(super) beside: String,
    /// What was not as it should be.
    pub(super) short: Option<String>,
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (own, files) = (mib(self.own), mib(self.files));
        write!(f, "own {own:.1}, files {files:.1} MiB")
    }
}

fn mib(kib: u64) -> f64 {
    f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) / 1024.0
}

/// One call about each VM: each has counters of its own.
fn fill(daemon: &Daemon) -> Result<()> {
    let socket = daemon.socket();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CALLERS)
            .map(|first| {
                let socket = &socket;
                scope.spawn(move || -> Result<()> {
                    let mut caller = Caller::connect(socket, b"")?;
                    for number in (first..VMS).step_by(CALLERS) {
                        let vm = format!("vm-{number}");
                        let call = json!({"tool": "look_at", "arguments": {}, "vm": vm});
                        caller.set_request(&request("authorize", &call));
                        let answer = result(caller.ask()?)?;
                        (answer["decision"] == "allow")
                            .then_some(())
                            .with_context(|| format!("{vm} was not allowed: {answer}"))?;
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
