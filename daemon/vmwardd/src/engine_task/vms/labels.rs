//! Labels that changed. Policies select VMs by them, so who relabels a VM changes
//! which rules hold for it.

use std::collections::BTreeMap;

use vmward_core::audit::VmRef;
use vmward_core::ids::{Process, VmUuid};

use super::super::batch::Batch;
use super::UNKNOWN_PROCESS;
use super::protect::vm_body;
use crate::inventory::{Domain, Labels, Run};

/// Most characters of either side of a change.
const SIDE_CHARS_MAX: usize = 512;

/// A VM that has other labels than before.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Relabelled {
    vm: VmRef,
    process: Process,
    /// As `tier=prod -> tier=test`.
    change: String,
}

/// Which domains that were known before have other labels now.
pub(super) fn relabelled(before: &[Domain], now: &[Domain]) -> Vec<Relabelled> {
    let before: BTreeMap<VmUuid, &Labels> = before
        .iter()
        .map(|domain| (domain.uuid, &domain.labels))
        .collect();
    let others = now.iter().filter_map(|domain| {
        let former = before.get(&domain.uuid).copied()?;
        (*former != domain.labels).then(|| Relabelled {
            vm: VmRef {
                uuid: Some(domain.uuid),
                name: domain.name.clone(),
            },
            process: match domain.run {
                Run::Running(process) => process,
                _ => UNKNOWN_PROCESS,
            },
            change: change(former, &domain.labels),
        })
    });
    others.collect()
}

/// What differs, and nothing that stayed.
fn change(before: &Labels, now: &Labels) -> String {
    let side = |these: &Labels, those: &Labels| {
        let differs = these
            .iter()
            .filter(|(name, value)| those.get(*name) != Some(*value));
        let pairs: Vec<String> = differs
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if pairs.is_empty() {
            return "none".to_owned();
        }
        pairs.join(" ").chars().take(SIDE_CHARS_MAX).collect()
    };
    format!("{} -> {}", side(before, now), side(now, before))
}

/// Takes down who was relabelled.
pub(super) fn tell(all: Vec<Relabelled>, batch: &mut Batch) {
    for Relabelled {
        vm,
        process,
        change,
    } in all
    {
        tracing::warn!(vm = vm.name, change, "the labels of a VM have changed");
        batch.audit(vm_body("labels", vm, process, Some(change)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(number: u8, labels: &[(&str, &str)]) -> Domain {
        let labels = labels.iter();
        Domain {
            uuid: VmUuid::from_bytes([number; 16]),
            name: format!("web-{number}"),
            labels: labels
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            run: Run::Off,
            paused: None,
        }
    }

    #[track_caller]
    fn check(before: &[(&str, &str)], now: &[(&str, &str)], expected: &[&str]) {
        let all = relabelled(&[domain(1, before)], &[domain(1, now)]);
        let changes: Vec<&str> = all.iter().map(|one| one.change.as_str()).collect();
        assert_eq!(changes, expected);
    }

    #[test]
    fn what_differs_is_told_with_what_it_was() {
        let prod = ("tier", "prod");
        check(&[prod], &[prod], &[]);
        check(&[prod], &[("tier", "test")], &["tier=prod -> tier=test"]);
        check(&[prod], &[], &["tier=prod -> none"]);
        let owned = ("owner", "db");
        check(&[prod], &[owned, prod], &["none -> owner=db"]);
        check(&[owned, prod], &[prod], &["owner=db -> none"]);
    }

    #[test]
    fn a_domain_that_was_not_known_before_is_not_relabelled() {
        let new = domain(2, &[("tier", "prod")]);
        assert_eq!(
            relabelled(&[domain(1, &[])], std::slice::from_ref(&new)),
            []
        );
        assert_eq!(relabelled(&[new], &[]), []);
    }

    #[test]
    fn a_change_is_bounded() {
        let long = "x".repeat(10_000);
        let all = relabelled(
            &[domain(1, &[("tier", &long)])],
            &[domain(1, &[("tier", "test")])],
        );
        let change = &all.first().unwrap().change;
        assert!(change.len() <= 2 * SIDE_CHARS_MAX + 4, "{}", change.len());
        assert!(change.ends_with(" -> tier=test"));
    }

    #[test]
    fn a_relabelled_vm_is_in_the_audit_log_once() {
        let dir = tempfile::tempdir().unwrap();
        let policy = r#"{"version": "1", "default": "deny", "tools": {"vm_list": {}}}"#;
        let mut shell = crate::engine_task::tests::shell_with(dir.path(), policy);
        for value in ["prod", "test", "test"] {
            let mut batch = Batch::default();
            let sighting = crate::inventory::Sighting::Domains {
                domains: vec![domain(1, &[("tier", value)])],
                deputy_pid: 0,
                beside: crate::inventory::Beside::default(),
            };
            shell.sighted(sighting, &mut batch);
            shell.commit(batch, crate::convert::now());
        }
        shell.audit.flush();
        let log = std::fs::read_to_string(dir.path().join("audit.jsonl")).unwrap();
        assert_eq!(log.matches("\"event\":\"labels\"").count(), 1, "{log}");
        assert!(log.contains("tier=prod -> tier=test"), "{log}");
    }
}
