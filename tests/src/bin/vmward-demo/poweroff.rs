//! A guest that powers itself off: nobody's business but its own.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::Story;
use crate::host::{lives, pid, ran, records, state, wait};
use crate::transcript::Transcript;

/// How long libvirt may take to finish a guest that is over.
pub(crate) const OFF_LIMIT: Duration = Duration::from_mins(1);

pub(crate) fn show(t: &mut Transcript, story: &mut Story, vm: &str) -> Result<()> {
    t.step("A guest powers itself off, which must work");
    t.say(
        "After a guest's power-off, libvirt ends the QEMU process with a signal. vmward knows \
         that this one is due, because QEMU itself announced the end of its guest; refused, the \
         domain would hang in shutdown for ever.",
    );
    let pid = pid(vm)?;
    t.command(&ran(
        &format!("xtask guest send {vm} p    # tells the guest to power itself off"),
        "xtask",
        &["guest", "send", vm, "p"],
    ));
    let start = Instant::now();
    let off = wait_off(vm, pid);
    t.check(
        &format!("{vm} is off, not hanging in shutdown"),
        off,
        "shut off, its process gone",
        format!("{} after {:.1} s", state(vm), start.elapsed().as_secs_f64()),
    );
    let ends = records(1, |r| {
        r["kind"] == "vm" && r["event"] == "ended" && r["pid"] == pid
    });
    t.check(
        "its end is in the audit log",
        ends.len() == 1,
        "1 record",
        ends.len(),
    );
    story.own_end = Some(vm.to_owned());
    Ok(())
}

/// The process ends and libvirt says so.
pub(crate) fn wait_off(vm: &str, pid: i32) -> bool {
    wait(OFF_LIMIT, || (!lives(pid)).then_some(())).is_some()
        && wait(OFF_LIMIT, || (state(vm) == "shut off").then_some(())).is_some()
}
