//! What is here: the host, the daemon, the policy.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::host::{json_of, line_of, ran, wait};
use crate::transcript::Transcript;

/// How many domains the story needs.
pub(crate) const DOMAINS: usize = 12;

const POLICY: &str = "/etc/vmward/policy.json";
/// How long the daemon may take to find every domain.
const PROTECTED_LIMIT: Duration = Duration::from_mins(1);

pub(crate) fn show(t: &mut Transcript) -> Result<()> {
    t.step("What is here");
    t.say(
        "A virtualisation host: this kernel, libvirt, QEMU, and twelve domains, each with a tiny \
         guest that prints a dot on its serial line five times a second. A guest whose dots go on \
         is alive.",
    );
    let versions = line_of("virsh", &["-c", "qemu:///system", "version", "--daemon"])?;
    let kernel = line_of("uname", &["-r"])?;
    t.show(&format!("Linux {kernel}\n{versions}"));

    let status = wait(PROTECTED_LIMIT, || {
        let status = json_of("vmward", &["status", "--json"]).ok()?;
        (protected(&status) >= DOMAINS).then_some(status)
    });
    let status = status.map_or_else(|| json_of("vmward", &["status", "--json"]), Ok)?;
    t.command(&ran("vmward status", "vmward", &["status"]));
    t.same(
        "what happens to a stop without a lease",
        "enforce",
        word(&status["mode"]),
    );
    let hooks = status["kernel"]["hooks"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let good = hooks.iter().filter(|hook| hook["attached"] == true);
    let good = good.filter(|hook| hook["self_test"] != "failed").count();
    let ready = status["kernel"]["ready"] == true && good == hooks.len() && good > 0;
    t.check(
        "BPF programs attached, each hook tried out on this very kernel",
        ready,
        "all of them, and the kernel side ready",
        format!(
            "{good} of {}, ready: {}",
            hooks.len(),
            status["kernel"]["ready"]
        ),
    );
    let count = protected(&status);
    t.check("protected VMs", count == DOMAINS, DOMAINS, count);
    t.data("status", status);

    let policy = fs::read_to_string(POLICY).with_context(|| format!("Failed to read {POLICY}"))?;
    let policy: Value = serde_json::from_str(&policy).context("the policy is no JSON")?;
    t.say("The policy: what no rule names is denied; vm_stop ten times a minute for each caller.");
    t.show(&format!("{POLICY}: {policy}"));
    let limit = &policy["tools"]["vm_stop"]["limits"][0];
    t.same(
        "vm_stop in any minute",
        "10 a minute",
        format!("{} a {}", limit["max"], word(&limit["window"])),
    );
    t.data("policy", policy);
    Ok(())
}

fn protected(status: &Value) -> usize {
    let vms = status["vms"].as_array();
    vms.map_or(0, |vms| {
        vms.iter().filter(|vm| vm["protected"] == true).count()
    })
}

/// A JSON string without its quotes.
pub(crate) fn word(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
