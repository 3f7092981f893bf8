//! Guests that stand still, whoever made them: QEMU itself does, where a disk is full
//! or a watchdog says so, and no wall is asked.

use vmward_core::audit::VmRef;
use vmward_core::ids::Process;

use super::super::batch::Batch;
use super::super::shell::Shell;
use super::Vms;
use super::protect::vm_body;
use crate::inventory::Run;

/// A guest that goes on or stands still, and did not before.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Turn {
    vm: VmRef,
    process: Process,
    /// Why it stands still; `None` where it goes on.
    paused: Option<String>,
}

impl Vms {
    /// Which guests stand still, or go on, since the last time.
    pub(super) fn turns(&mut self) -> Vec<Turn> {
        let mut turns = Vec::new();
        let before = std::mem::take(&mut self.paused);
        for domain in &self.domains {
            let Run::Running(process) = domain.run else {
                continue;
            };
            if let Some(why) = &domain.paused {
                self.paused.insert(domain.uuid, why.clone());
            }
            if before.get(&domain.uuid) != domain.paused.as_ref() {
                let vm = VmRef {
                    uuid: Some(domain.uuid),
                    name: domain.name.clone(),
                };
                turns.push(Turn {
                    vm,
                    process,
                    paused: domain.paused.clone(),
                });
            }
        }
        turns
    }
}

impl Shell {
    /// A guest that stands still must not go unnoticed.
    pub(super) fn tell_paused(&mut self, batch: &mut Batch) {
        for Turn {
            vm,
            process,
            paused,
        } in self.vms.turns()
        {
            let name = &vm.name;
            let event = if let Some(why) = &paused {
                tracing::warn!(vm = name, why, "a guest stands still");
                "paused"
            } else {
                tracing::info!(vm = name, "a guest goes on");
                "resumed"
            };
            batch.audit(vm_body(event, vm, process, paused));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use vmward_core::ids::VmUuid;

    use super::*;
    use crate::engine_task::names::Names;
    use crate::inventory::Domain;

    #[test]
    fn a_guest_is_told_when_it_stands_still_for_another_reason_and_when_it_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let mut vms = Vms::new(false, Names::load(dir.path()));
        let process = Process {
            pid: 7,
            start_ticks: 9,
        };
        let mut told = |run: Run, paused: Option<&str>| -> Vec<Option<String>> {
            vms.domains = vec![Domain {
                uuid: VmUuid::from_bytes([1; 16]),
                name: "web-1".to_owned(),
                labels: BTreeMap::new(),
                run,
                paused: paused.map(str::to_owned),
            }];
            vms.turns().into_iter().map(|turn| turn.paused).collect()
        };
        let running = Run::Running(process);
        assert_eq!(told(running.clone(), None), []);
        let full = Some("I/O error".to_owned());
        assert_eq!(told(running.clone(), Some("I/O error")), [full]);
        assert_eq!(told(running.clone(), Some("I/O error")), []);
        let user = Some("user".to_owned());
        assert_eq!(told(running.clone(), Some("user")), [user]);
        assert_eq!(told(running.clone(), None), [None]);
        assert_eq!(told(running.clone(), Some("user")).len(), 1);
        assert_eq!(told(Run::Off, None), [], "its end has a record of its own");
        assert_eq!(told(running, None), [], "it started anew");
    }
}
