//! Kernel events as audit records: who did it, completed from `/proc` at once,
//! while the process may still be there.

use vmward_core::audit::{Actor, Ancestor, Requester, Signal};
use vmward_core::ids::Process;

use crate::kernel::{KernelActor, KernelEvent, KernelRequester};
use crate::process::{ProcHandle, unit_of_cgroup};

/// An event with everything that could be learned about its actor.
#[derive(Clone, Debug)]
pub struct Witnessed {
    /// As the kernel told it.
    pub event: KernelEvent,
    /// Who did it.
    pub actor: Actor,
    /// On whose behalf.
    pub requester: Option<Requester>,
}

impl Witnessed {
    /// Completes an event. Call at once: a short-lived actor is soon gone.
    pub fn complete(event: KernelEvent) -> Witnessed {
        let actor = actor(&event.actor);
        let requester = event.requester.as_ref().map(requester);
        Witnessed {
            event,
            actor,
            requester,
        }
    }
}

fn open(process: Process) -> Option<ProcHandle> {
    ProcHandle::open(process.pid)
        .filter(|handle| handle.stat().is_some_and(|stat| stat.process == process))
}

/// All but process and user is from `/proc`, where the process still lives: it
/// may not have been the running one when the kernel made the event.
fn requester(kernel: &KernelRequester) -> Requester {
    let handle = open(kernel.process);
    let cgroup = handle.as_ref().and_then(ProcHandle::cgroup);
    Requester {
        sure: kernel.sure,
        process: Actor {
            pid: kernel.process.pid,
            tgid: kernel.process.pid,
            uid: kernel.uid,
            comm: handle
                .as_ref()
                .and_then(ProcHandle::stat)
                .map(|stat| stat.comm)
                .unwrap_or_default(),
            exe: handle.as_ref().and_then(ProcHandle::exe),
            cmdline: handle.as_ref().and_then(ProcHandle::command_line),
            unit: cgroup.as_deref().and_then(unit_of_cgroup),
            cgroup,
            ..Actor::default()
        },
    }
}

fn actor(kernel: &KernelActor) -> Actor {
    let handle = open(Process {
        pid: kernel.tgid,
        start_ticks: kernel.start_ticks,
    });
    let cgroup = handle.as_ref().and_then(ProcHandle::cgroup);
    Actor {
        pid: kernel.pid,
        tgid: kernel.tgid,
        uid: kernel.uid,
        gid: kernel.gid,
        comm: kernel.comm.clone(),
        exe: handle.as_ref().and_then(ProcHandle::exe),
        cmdline: handle.as_ref().and_then(ProcHandle::command_line),
        loginuid: set(kernel.loginuid),
        session: set(kernel.session),
        unit: cgroup.as_deref().and_then(unit_of_cgroup),
        cgroup,
        ancestors: kernel
            .ancestors
            .iter()
            .map(|(pid, comm)| Ancestor {
                pid: *pid,
                comm: comm.clone(),
            })
            .collect(),
    }
}

/// The kernel's "unset" is the largest number.
fn set(id: u32) -> Option<u32> {
    (id != u32::MAX).then_some(id)
}

/// A signal with its name.
pub fn signal(number: u32) -> Signal {
    let name = i32::try_from(number)
        .ok()
        .and_then(|number| nix::sys::signal::Signal::try_from(number).ok())
        .map_or_else(
            || format!("signal {number}"),
            |signal| signal.as_str().to_owned(),
        );
    Signal { number, name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel_actor(start_ticks: u64) -> KernelActor {
        KernelActor {
            pid: std::process::id(),
            tgid: std::process::id(),
            start_ticks,
            uid: 0,
            gid: 0,
            loginuid: u32::MAX,
            session: 7,
            cgroup_id: 1,
            comm: "sh".to_owned(),
            ancestors: vec![(1, "init".to_owned())],
            deputy: false,
        }
    }

    #[test]
    fn the_actor_is_completed_while_it_is_the_same_process() {
        let own = crate::process::identify(std::process::id()).unwrap();
        let found = actor(&kernel_actor(own.start_ticks));
        assert!(found.exe.is_some() && found.cmdline.is_some());
        assert_eq!((found.loginuid, found.session), (None, Some(7)));
        assert_eq!(found.ancestors.len(), 1);
    }

    #[test]
    fn a_successor_with_the_same_number_lends_nothing() {
        let own = crate::process::identify(std::process::id()).unwrap();
        let found = actor(&kernel_actor(own.start_ticks + 1));
        assert_eq!(found.exe, None);
        assert_eq!(found.comm, "sh");
    }

    #[test]
    fn signals_have_names() {
        assert_eq!(signal(9).name, "SIGKILL");
        assert_eq!(signal(64).name, "signal 64");
    }
}
