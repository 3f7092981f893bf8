//! Cgroups of version 1: a hierarchy of its own beside the unified one, in which
//! every process is as soon as it is mounted.

use super::{Attack, FORCE_STOP, FREEZER, Harm, row, shell};
use crate::guest::Guest;
use std::process::Output;

/// Into a frozen cgroup of the freezer's, by one of its two files.
fn into_frozen(file: &str, id: i32) -> Output {
    shell(&format!(
        "{FREEZER}; mkdir -p $m/frozen; /bin/echo FROZEN > $m/frozen/freezer.state
         /bin/echo {id} > $m/frozen/{file}"
    ))
}

const fn moves(id: &'static str, run: fn(&Guest) -> Output) -> Attack {
    row(id, "cgroup-move", Harm::Stalls, FORCE_STOP, run)
}

/// See the module's text.
pub const ATTACKS: &[Attack] = &[
    moves("control-files/move-version-1", |g| {
        into_frozen("cgroup.procs", g.pid())
    }),
    moves("control-files/move-version-1-tasks", |g| {
        into_frozen("tasks", g.pid())
    }),
    moves("control-files/move-version-1-thread", |g| {
        into_frozen("tasks", g.vcpu_thread())
    }),
];
