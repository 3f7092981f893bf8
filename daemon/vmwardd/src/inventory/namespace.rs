//! First processes of PID namespaces: where one ends, the kernel kills
//! everything in its namespace, and asks nobody.

use vmward_core::ids::Process;

use crate::process::{self, ProcHandle};

/// Deepest nesting of the kernel (`MAX_PID_NS_LEVEL`).
const LEVELS_MAX: usize = 32;
/// Most steps from a process up to the first one of its namespace.
const ANCESTORS_MAX: usize = 128;

/// The first process of each PID namespace around `inner`, below this one's own.
pub(super) fn inits(inner: Process) -> Vec<Process> {
    let mut found = Vec::new();
    let mut from = inner;
    while found.len() < LEVELS_MAX {
        let Some((init, parent)) = init_of(from) else {
            break;
        };
        found.push(init);
        // Its parent is outside, in the namespace around; whose first process
        // adopts where that one has gone.
        match process::identify(parent) {
            Some(outer) => from = outer,
            None => break,
        }
    }
    found
}

/// The first process of the namespace that `of` is in, and the number of that
/// one's parent, 0 where it does not show. `None` for the namespace that `/proc` shows.
fn init_of(of: Process) -> Option<(Process, u32)> {
    let handle = ProcHandle::open(of.pid)?;
    let namespace = handle.pid_namespace()?;
    if handle.numbers()?.len() < 2 {
        return None;
    }
    by_ancestry(handle, namespace).or_else(|| by_search(namespace))
}

/// The usual case: it, or who came before it, was the first.
fn by_ancestry(mut handle: ProcHandle, namespace: u64) -> Option<(Process, u32)> {
    for _ in 0..ANCESTORS_MAX {
        if let Some(found) = as_init(&handle, namespace) {
            return Some(found);
        }
        handle = ProcHandle::open(handle.stat()?.parent)?;
        if handle.pid_namespace()? != namespace {
            return None;
        }
    }
    None
}

/// Who entered the namespace from outside has its parent there.
fn by_search(namespace: u64) -> Option<(Process, u32)> {
    let all = procfs::process::all_processes().ok()?;
    let pids = all.filter_map(|process| u32::try_from(process.ok()?.pid).ok());
    pids.filter_map(ProcHandle::open)
        .find_map(|handle| as_init(&handle, namespace))
}

fn as_init(handle: &ProcHandle, namespace: u64) -> Option<(Process, u32)> {
    if handle.numbers()?.last() != Some(&1) || handle.pid_namespace()? != namespace {
        return None;
    }
    let stat = handle.stat()?;
    Some((stat.process, stat.parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Namespaces are made in the test VM only: see `beside.rs` there.
    #[test]
    fn outside_of_namespaces_there_is_nobody_whose_end_ends_others() {
        let own = process::identify(std::process::id()).unwrap();
        let numbers = ProcHandle::open(own.pid).unwrap().numbers().unwrap();
        assert_eq!(numbers.first(), i32::try_from(own.pid).ok().as_ref());
        if numbers.len() == 1 {
            assert_eq!(inits(own), []);
        }
    }
}
