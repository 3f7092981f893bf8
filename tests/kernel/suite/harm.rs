//! Has an attack done its harm, or none? And how a guest is made well again.

use std::process::Output;
use std::time::Duration;

use super::libvirt;
use vmward_tests::attacks::{Attack, Harm, Refusal, UNDO};
use vmward_tests::guest::{Guest, lives, run, text, virsh};
use vmward_tests::progress::{Progress, stalls_within, ticks_within};
use vmward_tests::wait;

/// How long harm may take to show: libvirt waits ten seconds between SIGTERM and
/// SIGKILL.
const HARM_LIMIT: Duration = Duration::from_secs(30);
const TICK_LIMIT: Duration = Duration::from_secs(30);
const OFF_LIMIT: Duration = Duration::from_mins(1);

/// The guest before an attack.
pub(super) struct Before {
    pub(super) pid: i32,
    boots: usize,
}

impl Before {
    pub(super) fn look(guest: &Guest) -> Self {
        Self {
            pid: guest.pid(),
            boots: Progress::of(guest).boots,
        }
    }

    /// Its process has not ended.
    pub(super) fn lives(&self) -> bool {
        lives(self.pid)
    }

    /// The attack did what its row says.
    pub(super) fn harmed(
        &self,
        row: &Attack,
        guest: &Guest,
        output: &Output,
    ) -> Result<(), String> {
        let seen = match row.harm {
            Harm::Ends => wait::within(HARM_LIMIT, || (!self.lives()).then_some(())).is_some(),
            Harm::Stalls => stalls_within(guest, HARM_LIMIT) && self.lives(),
            Harm::Resets => wait::within(HARM_LIMIT, || {
                (Progress::of(guest).boots > self.boots).then_some(())
            })
            .is_some(),
            Harm::Shows(look) => wait::within(HARM_LIMIT, || look(guest).then_some(())).is_some(),
            Harm::Arms | Harm::Host | Harm::Disarms | Harm::Daemon => output.status.success(),
        };
        if seen {
            return Ok(());
        }
        Err(format!(
            "no harm ({:?}) was done; the attack ended with {}: {}",
            row.harm,
            output.status,
            text(output).trim()
        ))
    }

    /// The guest goes on, and libvirt can work with it.
    pub(super) fn unharmed(&self, row: &Attack, guest: &Guest) -> Result<(), String> {
        if !self.lives() {
            return Err("the QEMU process is gone".to_owned());
        }
        if !ticks_within(guest, TICK_LIMIT) {
            return Err("the guest does not tick".to_owned());
        }
        if Progress::of(guest).boots != self.boots {
            return Err("the guest was reset".to_owned());
        }
        if let Harm::Shows(look) = row.harm
            && look(guest)
        {
            return Err("the harm shows all the same".to_owned());
        }
        libvirt::in_order(&guest.name)
    }
}

/// The attacker learnt of the refusal as its row says.
pub(super) fn refused(row: &Attack, output: &Output) -> Result<(), String> {
    let (words, fails) = match row.refusal {
        Refusal::NotPermitted => ("Operation not permitted", true),
        Refusal::Says(words) => (words, true),
        Refusal::Answers(words) => (words, false),
        Refusal::Silent => return Ok(()),
    };
    let said = text(output);
    if fails && output.status.success() {
        return Err(format!("the attack succeeded: {}", said.trim()));
    }
    if !said.contains(words) {
        return Err(format!(
            "the attack failed, but not with {words:?}: {}",
            said.trim()
        ));
    }
    Ok(())
}

/// Takes back what the attack left behind on the host.
pub(super) fn undo(row: &Attack, guest: &Guest) {
    for (family, undo) in UNDO {
        if row.id.starts_with(family) {
            undo(guest);
        }
    }
}

/// A guest that ticks, after an attack that worked: the same one where it can
/// be made well, else a fresh one. `end` ends the old process.
pub(super) fn heal(row: &Attack, guest: &Guest, before: &Before, end: impl FnOnce(i32)) {
    undo(row, guest);
    // A limit that is lowered already cannot be lowered again, a monitor lets no more
    // than two clients wait, and whoever was moved is somewhere else.
    let used_up = ["tampering/", "monitor/connect", "control-files/move-"];
    let keep = matches!(row.harm, Harm::Stalls | Harm::Resets | Harm::Arms)
        && !used_up.iter().any(|family| row.id.starts_with(family));
    if keep && before.lives() && wake(guest, before) {
        return;
    }
    fresh(guest, before.pid, end);
}

/// The guest ticks, and libvirt can work with it.
pub(super) fn is_well(guest: &Guest) -> bool {
    ticks_within(guest, Duration::from_secs(5)) && libvirt::in_order(&guest.name).is_ok()
}

/// Lets a guest go on that was stopped or paused; does it?
pub(super) fn wake(guest: &Guest, before: &Before) -> bool {
    run("/bin/kill", &["-CONT", &before.pid.to_string()]);
    if libvirt::is_paused(&guest.name) {
        virsh(&["resume", &guest.name]);
    }
    ticks_within(guest, Duration::from_secs(5))
}

/// A fresh guest in the place of the process `pid`.
pub(super) fn fresh(guest: &Guest, pid: i32, end: impl FnOnce(i32)) {
    if lives(pid) {
        end(pid);
        Guest::wait_gone(pid);
    }
    let name = &guest.name;
    wait::until("libvirt to see its end", OFF_LIMIT, || {
        libvirt::is_off(name).then_some(())
    });
    if let Err(why) = libvirt::start(name) {
        panic!("{name} does not start: {why}");
    }
    wait::until("it to boot", TICK_LIMIT, || {
        let now = Progress::of(guest);
        (now.boots > 0 && now.ticks > 0).then_some(())
    });
}
