//! The agent keeps to the gateway: twelve calls of `vm_stop`, ten allowed.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use crate::Story;
use crate::here::{DOMAINS, word};
use crate::host::{lives, pid, progress, running, ticks, ticks_on, wait};
use crate::mcp::{Answer, Client};
use crate::transcript::{Transcript, round};

/// What the agent calls itself.
pub(crate) const AGENT: &str = "night-shift-agent";
/// What the policy lets through in a minute.
const ALLOWED: usize = 10;
/// How many calls ask for force. They go first and by themselves, because their
/// leases are short and the host is slow.
const FORCED: usize = 2;
/// The policy's window.
const WINDOW: Duration = Duration::from_mins(1);
/// How long one stop may take under nested emulation.
const STOP_LIMIT: Duration = Duration::from_mins(3);

/// One call and its VM.
struct Call {
    vm: String,
    force: bool,
    pid: i32,
    ticks: usize,
    id: u64,
}

pub(crate) fn show(t: &mut Transcript, story: &mut Story) -> Result<()> {
    t.step("The agent stops VMs through the MCP server");
    let (mut client, hello) = Client::start(AGENT, "vmward", &["mcp", "--stop-timeout", "120"])?;
    let tools = client.tools()?;
    t.say(&format!(
        "An MCP client that calls itself {AGENT:?} starts `vmward mcp` and finds the tools {}. It \
         calls vm_stop for web-1 to web-12: for the first two with force, which pulls the plug, \
         and then for the other ten at once. The seconds count from the first call to the answer.",
        tools.join(", ")
    ));
    t.data("server", hello);

    let begin = Instant::now();
    let (forced, gentle) = (1..=FORCED, FORCED + 1..=DOMAINS);
    let mut answered = Vec::new();
    let mut asked = begin;
    for part in [forced, gentle] {
        let mut calls = Vec::new();
        for n in part {
            calls.push(ask(&mut client, n)?);
        }
        asked = Instant::now();
        for call in calls {
            let answer = client.answer(call.id, STOP_LIMIT)?;
            answered.push((call, answer));
        }
    }
    let asked = asked - begin;
    // In the order in which the agent heard.
    answered.sort_by_key(|(_, answer)| answer.at);
    let mut rows = Vec::new();
    for (call, answer) in &answered {
        rows.push(row(t, call, answer, begin));
    }
    let all = answered
        .iter()
        .map(|(_, answer)| answer.at - begin)
        .max()
        .unwrap_or_default();
    t.data("calls", Value::Array(rows));
    t.check(
        "twelve calls, all asked within one minute",
        answered.len() == DOMAINS && asked < WINDOW,
        "12 calls within 60 s",
        format!(
            "{} calls within {:.1} s; the last answer came after {:.1} s",
            answered.len(),
            asked.as_secs_f64(),
            all.as_secs_f64()
        ),
    );
    client.end()?;
    judge(t, story, &answered)
}

/// Sends one call.
fn ask(client: &mut Client, n: usize) -> Result<Call> {
    let vm = format!("web-{n}");
    let force = n <= FORCED;
    let arguments = if force {
        json!({ "identifier": vm, "force": true })
    } else {
        json!({ "identifier": vm })
    };
    let (pid, ticks) = (pid(&vm)?, ticks(&vm)?);
    let id = client.call("vm_stop", &arguments)?;
    Ok(Call {
        vm,
        force,
        pid,
        ticks,
        id,
    })
}

/// Shows one call in one line, and gives the same as data.
fn row(t: &mut Transcript, call: &Call, answer: &Answer, begin: Instant) -> Value {
    let seconds = round((answer.at - begin).as_secs_f64());
    let verdict = verdict(answer);
    let force = if call.force { ", force" } else { "" };
    t.show(&format!(
        "{seconds:>5.1} s  {:<22}  {verdict:<8} {}",
        format!("vm_stop({}{force})", call.vm),
        answer.text()
    ));
    json!({
        "vm": call.vm,
        "force": call.force,
        "verdict": verdict,
        "seconds": seconds,
        "text": answer.text(),
        "answer": answer.structured(),
    })
}

fn verdict(answer: &Answer) -> &'static str {
    let data = answer.structured();
    if data["stopped"] == true {
        "stopped"
    } else if data["decision"] == "deny" {
        "DENIED"
    } else {
        "error"
    }
}

/// Exactly ten stopped, two denied with reason and time, and the two live.
fn judge(t: &mut Transcript, story: &mut Story, answered: &[(Call, Answer)]) -> Result<()> {
    let of = |wanted: &'static str| {
        answered
            .iter()
            .filter(move |(_, answer)| verdict(answer) == wanted)
    };
    t.check(
        "stopped",
        of("stopped").count() == ALLOWED,
        ALLOWED,
        of("stopped").count(),
    );
    t.check(
        "denied",
        of("DENIED").count() == DOMAINS - ALLOWED,
        2,
        of("DENIED").count(),
    );
    for (call, answer) in of("DENIED") {
        let data = answer.structured();
        let wait_ms = data["retry_after_ms"].as_u64().unwrap_or_default();
        t.check(
            &format!("{} denied with reason and time to wait", call.vm),
            data["reason_code"] == "rate-limited" && (1..=60_000).contains(&wait_ms),
            "rate-limited, at most 60 s to wait",
            format!(
                "{}, rule {}, ask again in {} s",
                word(&data["reason_code"]),
                word(&data["rule"]),
                wait_ms.div_ceil(1000)
            ),
        );
    }
    for (call, _) in of("stopped") {
        if wait(Duration::from_secs(10), || (!lives(call.pid)).then_some(())).is_none() {
            t.check(
                &format!("{} stopped", call.vm),
                false,
                "its process is gone",
                "it lives",
            );
        }
    }
    let left = running()?;
    for (call, answer) in answered {
        match verdict(answer) {
            "stopped" => story.stopped.push((call.vm.clone(), call.force)),
            "DENIED" => story.denied.push(call.vm.clone()),
            _ => {}
        }
    }
    story.denied.sort_by_key(|name| (name.len(), name.clone()));
    t.same(
        "domains that libvirt calls running",
        story.denied.join(", "),
        left.join(", "),
    );
    for (call, _) in of("DENIED") {
        let (_, after) = ticks_on(&call.vm)?;
        t.check(
            &format!("{} ticks on", call.vm),
            progress((call.ticks, after)),
            "more ticks than before the call",
            format!("{} ticks before, {after} now", call.ticks),
        );
    }
    Ok(())
}
