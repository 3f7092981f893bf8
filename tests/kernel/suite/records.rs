//! The audit's records of an attack.

use std::time::Duration;

use serde_json::Value;
use vmward_tests::attacks::{Attack, Harm};
use vmward_tests::audit::{AuditLog, events};
use vmward_tests::wait;

const RECORD_LIMIT: Duration = Duration::from_secs(30);

const BY_THREAD: &[&str] = &["sched/renice-group"];

/// A place in the log: its end, as long as all records of earlier events are there.
#[derive(Clone, Copy)]
pub(super) struct Mark(u64);

/// The present end of the log.
pub(super) fn mark(audit: &AuditLog) -> Mark {
    Mark(audit.bytes())
}

/// The kernel records after `mark`, with this verdict.
fn since(audit: &AuditLog, mark: Mark, verdict: &str) -> Vec<Value> {
    let mut records = audit.after(mark.0);
    records.retain(|record| record["kind"] == "kernel" && record["verdict"] == verdict);
    records
}

/// Is there a record after `mark` that tells of anything at all?
pub(super) fn any(audit: &AuditLog, mark: Mark) -> bool {
    audit.after(mark.0).iter().any(|record| {
        record["kind"] == "kernel" || record["kind"] == "vm" && record["event"] == "ended"
    })
}

/// Waits for records after `mark` with this verdict.
pub(super) fn wait_for(audit: &AuditLog, mark: Mark, verdict: &str) -> Result<Vec<Value>, String> {
    wait::within(RECORD_LIMIT, || {
        let found = since(audit, mark, verdict);
        (!found.is_empty()).then_some(found)
    })
    .ok_or_else(|| format!("no record says {verdict}"))
}

/// Does the kernel ask once for each thread that the attack means?
pub(super) fn is_by_thread(row: &Attack) -> bool {
    BY_THREAD.contains(&row.id)
}

/// There is exactly one such event after `mark` by now, and it is the row's.
pub(super) fn exactly_one(
    row: &Attack,
    audit: &AuditLog,
    mark: Mark,
    verdict: &str,
    vm: &str,
) -> Result<Value, String> {
    let found = since(audit, mark, verdict);
    let is_good = match events(&found) {
        0 => false,
        1 => true,
        _ => is_by_thread(row),
    };
    if !is_good {
        let list: Vec<_> = found.iter().map(brief).collect();
        return Err(format!(
            "{} events instead of one: {list:?}",
            events(&found)
        ));
    }
    let record = found.into_iter().next().ok_or("there is no record")?;
    is_of(row, &record, vm)?;
    Ok(record)
}

/// Calls to libvirt that nobody can read on their way. Who sent one is not known,
/// where nobody else asked for the same before.
const UNREAD: [&str; 7] = [
    "rpc/byte-at-a-time",
    "rpc/pipelined",
    "rpc/cut-into-iovecs",
    "rpc/splice",
    "rpc/sendfile",
    "rpc/two-writes",
    "rpc/vmsplice",
];

/// The record is about this attack.
pub(super) fn is_of(row: &Attack, record: &Value, vm: &str) -> Result<(), String> {
    if record["vector"] != row.vector {
        return Err(format!("not of vector {}: {}", row.vector, brief(record)));
    }
    let host_too = matches!(
        row.harm,
        Harm::Host | Harm::Disarms | Harm::Daemon | Harm::Arms
    );
    // What is done to libvirt's daemons is done to all their VMs; what a program is loaded
    // for is seen by nobody, and not whom a number means that is written to hide it.
    let hidden = row.vector == "cgroup-move" && row.lease.is_none();
    let of_all = record["vm"]["name"] == "(host)"
        && (["libvirtd", "virtlogd"]
            .iter()
            .any(|daemon| record["word"] == *daemon)
            || row.id.starts_with("logger/")
            || row.vector == "bpf-program"
            || row.vector == "storage"
            || hidden);
    if record["vm"]["name"] != vm && !host_too && !of_all {
        return Err(format!("not about {vm}: {}", brief(record)));
    }
    // A terminal's data comes to its readers by a thread of the kernel, and the
    // signal with it.
    let of_kernel =
        row.hook == "file_send_sigiotask" && record["actor"]["ancestors"][0]["comm"] == "kthreadd";
    let of_nobody = UNREAD.contains(&row.id) && record["requester"].is_null();
    // Whoever had it open that file: QEMU does.
    let of_vm = row.vector == "fifo";
    // The attacker passes for libvirt, and nobody has asked it.
    let as_libvirt = row.id.starts_with("monitor/orders-") && record["requester"].is_null();
    if !of_kernel && !of_nobody && !of_vm && !as_libvirt && !names_attacker(record) {
        return Err(format!(
            "names another: {}, for {}",
            record["actor"], record["requester"]
        ));
    }
    Ok(())
}

/// Does the record name the attack's program? Where libvirt's daemon acts for it,
/// as whom it acts for. The tests' processes are younger than the test itself.
fn names_attacker(record: &Value) -> bool {
    let own = u64::from(std::process::id());
    let actor = &record["actor"];
    let word = |name: &str| actor[name].as_str().unwrap_or_default();
    if is_by_libvirt(record) {
        return record["requester"]["pid"].as_u64() > Some(own);
    }
    let comm = word("comm");
    actor["tgid"].as_u64() > Some(own) && comm != "vmwardd" && !comm.starts_with("qemu-")
}

/// libvirt's daemon did it, or what passes for it.
pub(super) fn is_by_libvirt(record: &Value) -> bool {
    ["/usr/sbin/libvirtd", "/usr/sbin/virtqemud"]
        .iter()
        .any(|daemon| record["actor"]["exe"] == *daemon)
}

/// A record in a line.
pub(super) fn brief(record: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    format!(
        "{} {} {} of {} by {}({})",
        word(&record["verdict"]),
        word(&record["vector"]),
        record["signal"]["name"]
            .as_str()
            .map_or_else(|| word(&record["word"]), str::to_owned),
        word(&record["vm"]["name"]),
        word(&record["actor"]["comm"]),
        record["actor"]["tgid"],
    )
}
