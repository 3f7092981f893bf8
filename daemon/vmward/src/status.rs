//! `vmward status`: the daemon's whole state, bad news first.

use std::{fmt::Write as _, process::ExitCode};

use serde_json::Map;
use vmward_wire::v1::{Mode, StatusResult, method};

use crate::{
    cli::Socket,
    exit::Exit,
    protection::alarm,
    text::{plain, print, table, word},
};

/// Asks and prints.
pub(crate) fn status(socket: &Socket, json: bool) -> anyhow::Result<ExitCode> {
    // As the grant whose counters are asked for. A token that was lost must not
    // hide how things are.
    let mut client = match socket.open() {
        Ok(client) => client,
        Err(error) if Exit::of(&error) == Exit::Unreachable => return Err(error),
        Err(error) => {
            eprintln!("vmward: Asked without grant and token: {error:#}");
            socket.look()?
        }
    };
    let answer = client.call_value(method::STATUS, &Map::new())?;
    let text = if json {
        format!("{answer}\n")
    } else {
        render(&serde_json::from_value(answer)?)
    };
    print(&text)?;
    Ok(Exit::Done.into())
}

fn render(status: &StatusResult) -> String {
    let sections = [
        alarms(status),
        overview(status),
        hooks(status),
        vms(status),
        leases(status),
        host_rules(status),
        limits(status),
        counters(status),
    ];
    sections
        .into_iter()
        .filter(|section| !section.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

/// What the reader must not miss.
fn alarms(status: &StatusResult) -> String {
    let mut alarms: Vec<String> = status.disarmed.iter().map(alarm).collect();
    match status.mode {
        Mode::Enforce => {}
        Mode::Observe => alarms
            .push("OBSERVE MODE: stops without a lease are NOT refused, only recorded".to_owned()),
        Mode::PolicyOnly => alarms.push(
            "POLICY ONLY: the kernel refuses NOTHING; who goes around the policy socket gets \
             through"
                .to_owned(),
        ),
    }
    if status.mode != Mode::PolicyOnly && !status.kernel.ready {
        alarms.push("THE KERNEL SIDE IS NOT READY: see the self-tests below".to_owned());
    }
    if let Some(rejected) = &status.policy.rejected {
        // What is wrong with the text stands below the file's name, mistake by
        // mistake: the first is enough here.
        let why: Vec<&str> = rejected.lines().take(2).collect();
        let why = plain(&why.join(" "));
        alarms.push(format!("THE NEWEST POLICY FILE WAS NOT TAKEN: {why}"));
    }
    alarms.extend(
        status
            .degraded
            .iter()
            .map(|what| format!("DEGRADED: {}", plain(what))),
    );
    alarms.into_iter().fold(String::new(), |mut text, alarm| {
        let _infallible = writeln!(text, "!! {alarm}");
        text
    })
}

fn overview(status: &StatusResult) -> String {
    let kernel = &status.kernel;
    let ready = match (status.mode, kernel.ready) {
        (Mode::PolicyOnly, _) => "not used",
        (_, true) => "every self-test passed",
        (_, false) => "NOT READY",
    };
    let mut libvirt = match (&status.libvirt.connected, &status.libvirt.error) {
        (true, _) => "connected".to_owned(),
        (false, Some(error)) => format!("NOT CONNECTED: {}", plain(error)),
        (false, None) => "NOT CONNECTED".to_owned(),
    };
    if let Some(pid) = status.libvirt.inventory_pid {
        let _infallible = write!(libvirt, "; asked by process {pid}");
    }
    let protected = status.vms.iter().filter(|vm| vm.protected).count();
    let disarmed = match status
        .disarmed
        .iter()
        .filter(|one| one.vm.is_some())
        .count()
    {
        _ if status.disarmed.iter().any(|one| one.vm.is_none()) => ", ALL DISARMED".to_owned(),
        0 => String::new(),
        count => format!(", {count} DISARMED"),
    };
    format!(
        "mode     {}\n\
         daemon   vmwardd {}, process {}, ready for {} s\n\
         kernel   {}, {ready}; {} events, {} lost\n\
         policy   {}, loaded {}, sha256 {}\n\
         libvirt  {}, {libvirt}\n\
         VMs      {} running, {protected} protected{disarmed}\n{}",
        word(&status.mode),
        plain(&status.version),
        status.pid,
        status.ready_s,
        plain(&kernel.release),
        kernel.events,
        kernel.events_lost,
        plain(&status.policy.path),
        plain(&status.policy.loaded_at),
        plain(&status.policy.hash),
        plain(&status.libvirt.uri),
        status.vms.len(),
        remarks(status),
    )
}

/// What waits for people, and what they may want to look at.
fn remarks(status: &StatusResult) -> String {
    let mut text = String::new();
    if let Some(waiting) = status.approvals_waiting.filter(|count| *count > 0) {
        let _infallible = writeln!(
            text,
            "waiting  {waiting} requests for approval: vmward approvals list"
        );
    }
    if let Some(others) = &status.others {
        let _infallible = writeln!(
            text,
            "others   {} leases, {} limits and {} requests for approval are not shown: only root \
             sees those of other grants and of VMs",
            others.leases, others.limits, others.approvals_waiting
        );
    }
    if let Some(rules) = status.policy.shadow_rules.filter(|count| *count > 0) {
        let _infallible = writeln!(text, "shadow   {rules} rules are recorded and not enforced");
    }
    if let Some(lints) = status.policy.lints.filter(|count| *count > 0) {
        let _infallible = writeln!(
            text,
            "lints    {lints} in the policy: vmward policy check FILE"
        );
    }
    text
}

fn hooks(status: &StatusResult) -> String {
    let rows = status.kernel.hooks.iter().map(|hook| {
        let attached = yes_or(hook.attached, "NO");
        let ran = hook.runs.zip(hook.mean_ns);
        let ran = ran.map(|(runs, mean)| format!(", {runs} runs of {mean} ns"));
        [
            plain(&hook.name),
            plain(&hook.kind),
            attached,
            plain(&hook.self_test),
            plain(&hook.detail) + &ran.unwrap_or_default(),
        ]
    });
    let rows = rows.collect::<Vec<_>>();
    table(["HOOK", "KIND", "ATTACHED", "SELF-TEST", "DETAIL"], &rows)
}

fn vms(status: &StatusResult) -> String {
    let rows = status.vms.iter().map(|vm| {
        [
            plain(&vm.vm.name),
            vm.pid.to_string(),
            yes_or(vm.protected, "NO"),
            vm.events.to_string(),
            plain(&vm.vm.uuid),
            plain(vm.note.as_deref().unwrap_or_default()),
        ]
    });
    table(
        ["VM", "PID", "PROTECTED", "EVENTS", "UUID", "NOTE"],
        &rows.collect::<Vec<_>>(),
    )
}

fn leases(status: &StatusResult) -> String {
    let rows = status.leases.iter().map(|live| {
        [
            live.lease.id.to_string(),
            plain(&live.lease.vm.name),
            word(&live.lease.effect),
            plain(&live.state),
            format!("{} s", live.lease.expires_in_ms.div_ceil(1000)),
            format!("process {}", live.lease.holder_pid),
            plain(&live.grant),
        ]
    });
    let head = [
        "LEASE",
        "VM",
        "EFFECT",
        "STATE",
        "LAPSES IN",
        "HOLDER",
        "GRANT",
    ];
    table(head, &rows.collect::<Vec<_>>())
}

fn host_rules(status: &StatusResult) -> String {
    let rows = status.host_rules.iter().flatten().map(|rule| {
        let left = rule
            .left
            .map_or_else(|| "any".to_owned(), |left| left.to_string());
        [
            plain(&rule.name),
            rule.actors.to_string(),
            rule.uses.to_string(),
            left,
            plain(&rule.who),
        ]
    });
    table(
        ["HOST RULE", "ACTORS", "USES", "LEFT", "WHO"],
        &rows.collect::<Vec<_>>(),
    )
}

fn limits(status: &StatusResult) -> String {
    let rows = status.limits.iter().map(|limit| {
        let next = match limit.next_free_in_ms {
            0 => "now".to_owned(),
            ms => format!("in {} s", ms.div_ceil(1000)),
        };
        [
            plain(&limit.counter),
            plain(&limit.key),
            format!(
                "{} of {} per {} s",
                limit.remaining, limit.max, limit.window_s
            ),
            next,
        ]
    });
    let listed = table(
        ["LIMIT", "FOR", "LEFT", "NEXT FREE"],
        &rows.collect::<Vec<_>>(),
    );
    match status.limits_left_out {
        Some(more) => format!("{listed}and {more} more that are less full\n"),
        None => listed,
    }
}

fn counters(status: &StatusResult) -> String {
    let counted = status.counters.iter().filter(|(_, count)| **count > 0);
    let rows = counted.map(|(name, count)| [plain(name), count.to_string()]);
    table(["COUNTER", "COUNT"], &rows.collect::<Vec<_>>())
}

fn yes_or(is: bool, otherwise: &str) -> String {
    if is {
        "yes".to_owned()
    } else {
        otherwise.to_owned()
    }
}
