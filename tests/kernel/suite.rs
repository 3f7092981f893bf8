//! Plays the table of attacks: every way to stop a VM that vmward knows of, one
//! test a phase, all rows in it.
//!
//! `VMWARD_ATTACKS=signals/,monitor/hmp` plays the rows whose ids begin so;
//! `@hooks` plays the first row of each hook, `@2/3` the second of three parts of
//! the table. Every outcome is a line in `results.jsonl` of the run's folder.

mod harm;
mod libvirt;
mod phases;
mod records;
mod report;

use vmward_tests::attacks::{self, Attack};

/// Which rows to play.
const SELECTION: &str = "VMWARD_ATTACKS";
/// Allows everything and limits nothing: whether a lease is to be had is not
/// what the suite is about.
const POLICY: &str = r#"{"version": "1", "default": "allow", "tools": {}}"#;

/// The rows that were asked for.
///
/// # Panics
/// When there is none, or an id is there twice.
fn rows() -> Vec<&'static Attack> {
    let mut ids: Vec<_> = attacks::all().map(|row| row.id).collect();
    ids.sort_unstable();
    let twice: Vec<_> = ids.windows(2).filter(|two| two[0] == two[1]).collect();
    assert!(twice.is_empty(), "ids that are not unique: {twice:?}");
    let wanted = std::env::var(SELECTION).unwrap_or_default();
    let mut hooks = Vec::new();
    let mut all = attacks::all().enumerate().collect::<Vec<_>>();
    all.retain(|(number, row)| {
        let new = !hooks.contains(&row.hook);
        hooks.push(row.hook);
        let is_meant = |word: &str| match word.strip_prefix('@') {
            Some("hooks") => new,
            Some(part) => is_in_part(part, *number),
            None => row.id.starts_with(word),
        };
        wanted.is_empty() || wanted.split(',').any(is_meant)
    });
    let rows: Vec<_> = all.into_iter().map(|(_, row)| row).collect();
    assert!(!rows.is_empty(), "{SELECTION}={wanted} is no attack");
    rows
}

/// Is the row of this number in the part that is called, say, `2/3`? Rows that
/// are alike stand together in the table: each part gets some of them.
fn is_in_part(part: &str, number: usize) -> bool {
    let numbers = part.split_once('/').and_then(|(which, of)| {
        let (which, of) = (which.parse::<usize>().ok()?, of.parse::<usize>().ok()?);
        (1..=of).contains(&which).then_some((which, of))
    });
    let (which, of) = numbers.unwrap_or_else(|| panic!("{SELECTION}: @{part} is no part"));
    number % of == which - 1
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn control_without_vmward_each_attack_does_its_harm() {
    phases::control(&rows());
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn enforce_each_attack_is_refused_and_recorded_once() {
    phases::enforce(&rows());
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn observe_each_attack_passes_and_the_record_says_would_refuse() {
    phases::observe(&rows());
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn lease_each_attack_passes_with_its_own_and_with_no_other() {
    phases::lease(&rows());
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn down_each_attack_is_refused_without_a_daemon_and_recorded_by_the_next() {
    phases::down(&rows());
}
