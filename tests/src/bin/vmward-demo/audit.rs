//! The audit trail: each event, who was behind it, and the chain.

use anyhow::Result;
use serde_json::{Value, json};

use crate::Story;
use crate::agent::AGENT;
use crate::here::word;
use crate::host::{audit, json_of, ran, records};
use crate::transcript::Transcript;

/// More records than the story makes.
const ALL: &str = "1000";

pub(crate) fn show(t: &mut Transcript, story: &Story) -> Result<()> {
    t.step("The audit trail");
    let ends = story.stopped.len() + 1;
    // The last record of the story may be on its way.
    records(ends, |r| r["kind"] == "vm" && r["event"] == "ended");
    t.command(&ran(
        "vmward audit tail -n 1000",
        "vmward",
        &["audit", "tail", "-n", ALL],
    ));
    let all = audit().select(|_| true);
    decisions(t, &all);
    let refused = all
        .iter()
        .filter(|r| r["kind"] == "kernel" && r["verdict"] == "refused")
        .count();
    t.same("refusals by the kernel", story.refusals, refused);
    let stray: Vec<_> = all.iter().filter(|r| r["kind"] == "loss").collect();
    t.same("lost kernel events", 0, stray.len());
    leased_ends(t, story, &all);
    own_ends(t, story, &all);
    let ended = all.iter().filter(|r| is_end(r)).count();
    t.same("VM ends in all", ends, ended);
    t.data("records", json!(all));

    t.command(&ran("vmward audit verify", "vmward", &["audit", "verify"]));
    let verified = json_of("vmward", &["audit", "verify", "--json"])?;
    t.check(
        "the hash chain, from the first record to the last",
        verified["intact"] == true && verified["records"].as_u64() >= Some(all.len() as u64),
        "intact",
        format!(
            "{} records, intact: {}",
            verified["records"], verified["intact"]
        ),
    );
    t.data("verified", verified);
    Ok(())
}

fn is_end(record: &Value) -> bool {
    record["kind"] == "vm" && record["event"] == "ended"
}

fn decisions(t: &mut Transcript, all: &[Value]) {
    let decided = |verdict: &str| {
        let found = all
            .iter()
            .filter(|r| r["kind"] == "decision" && r["decision"] == verdict);
        found.filter(|r| r["caller"]["agent"] == AGENT).count()
    };
    t.same(
        &format!("allowed for agent {AGENT:?}"),
        10,
        decided("allow"),
    );
    t.same(&format!("denied for agent {AGENT:?}"), 2, decided("deny"));
}

/// Each stop that was allowed ended its VM, under the lease of its decision.
fn leased_ends(t: &mut Transcript, story: &Story, all: &[Value]) {
    let mut wrong = Vec::new();
    for (vm, _) in &story.stopped {
        let decision = all
            .iter()
            .find(|r| r["decision"] == "allow" && r["vm"]["name"] == **vm)
            .map_or(Value::Null, |r| r["decision_id"].clone());
        // Asked or forced: libvirt's order goes by the lease, too.
        let cause = "lease";
        let ends: Vec<_> = all
            .iter()
            .filter(|r| is_end(r) && r["vm"]["name"] == **vm)
            .collect();
        let right = |end: &Value| end["lease"] == decision && end["cause"] == cause;
        match ends.as_slice() {
            [end] if !decision.is_null() && right(end) => {}
            [end] => wrong.push(format!(
                "{vm}: cause {}, lease {} (wanted {cause}, lease {decision})",
                word(&end["cause"]),
                end["lease"]
            )),
            more => wrong.push(format!("{vm}: {} records", more.len())),
        }
    }
    let good = story.stopped.len() - wrong.len();
    t.check(
        "ends under the lease of an allowed call, with the right cause",
        wrong.is_empty(),
        story.stopped.len(),
        if wrong.is_empty() {
            good.to_string()
        } else {
            wrong.join("; ")
        },
    );
}

/// The end that nobody had a lease for.
fn own_ends(t: &mut Transcript, story: &Story, all: &[Value]) {
    let ways = [("by its own guest", &story.own_end)];
    for (how, vm) in ways {
        let Some(vm) = vm else { continue };
        let ends: Vec<_> = all
            .iter()
            .filter(|r| is_end(r) && r["vm"]["name"] == **vm)
            .collect();
        t.same(
            &format!("{vm} ended {how}"),
            "cause guest-shutdown, no lease",
            match ends.as_slice() {
                [end] if end["lease"].is_null() => {
                    format!("cause {}, no lease", word(&end["cause"]))
                }
                [end] => format!("cause {}, lease {}", word(&end["cause"]), end["lease"]),
                more => format!("{} records", more.len()),
            },
        );
    }
}
