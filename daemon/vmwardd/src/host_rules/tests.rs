use vmward_core::policy::host::Who;

use vmward_core::effect::Effect;

use super::*;

fn rule(who: Who) -> HostRule {
    HostRule {
        pointer: "/host_rules/test".to_owned(),
        enabled: true,
        who,
        effects: vec![Effect::ForceStop],
        vms: Vec::new(),
        limits: Vec::new(),
        mode: RuleMode::Enforce,
        reason: None,
    }
}

fn units(names: &[&str]) -> Who {
    Who {
        units: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Who::default()
    }
}

fn uids(uids: &[u32]) -> Who {
    Who {
        uids: uids.to_vec(),
        ..Who::default()
    }
}

#[test]
fn a_unit_is_found_in_its_slice_and_not_below_a_service() {
    let dir = tempfile::tempdir().unwrap();
    let mine = dir
        .path()
        .join("system.slice/system-fence.slice/fence@1.service");
    let fake = dir
        .path()
        .join("user.slice/user@1000.service/fence@1.service");
    fs::create_dir_all(&mine).unwrap();
    fs::create_dir_all(fake).unwrap();
    let found = resolve_in(&rule(units(&["fence@1.service"])), dir.path());
    let id = fs::metadata(&mine).unwrap().ino();
    assert_eq!(found.actors, BTreeSet::from([Actor::Cgroup(id)]));
    assert_eq!(found.effects, Effect::ForceStop.bit());
    fs::remove_dir(mine).unwrap();
    let gone = resolve_in(&rule(units(&["fence@1.service"])), dir.path());
    assert_eq!(gone.missing, ["unit fence@1.service is not running"]);
    assert!(gone.actors.is_empty());
}

#[test]
fn a_rule_goes_to_the_kernel_with_all_that_it_allows_and_only_where_it_is_in_force() {
    let with = |change: fn(&mut HostRule)| {
        let mut rule = rule(uids(&[7]));
        change(&mut rule);
        resolve(&rule)
    };
    assert_eq!(with(|_| {}).actors, BTreeSet::from([Actor::Uid(7)]));
    assert_eq!(with(|rule| rule.enabled = false), Resolved::default());
    assert_eq!(
        with(|rule| rule.mode = RuleMode::Shadow),
        Resolved::default()
    );
    assert_eq!(
        with(|rule| rule.effects = vec![Effect::Stop, Effect::Save]).effects,
        Effect::Stop.bit() | Effect::Save.bit(),
        "libvirt's orders are judged there, too"
    );
}

#[test]
fn a_program_in_a_folder_that_others_may_write_is_nobody() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let dir = tempfile::tempdir().unwrap();
    let exe = dir.path().join("fenced");
    symlink("/bin/bash", &exe).unwrap();
    let look = || {
        resolve(&rule(Who {
            exes: vec![exe.display().to_string()],
            ..Who::default()
        }))
    };
    assert_eq!(look().missing, Vec::<String>::new());
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o775)).unwrap();
    let found = look();
    assert!(found.actors.is_empty(), "every shell would be the rule's");
    let help = format!("chmod go-w {}", dir.path().display());
    assert!(
        found.missing[0].contains("in its place") && found.missing[0].contains(&help),
        "{:?}",
        found.missing
    );
}

#[test]
fn a_program_that_is_not_there_is_told() {
    let who = Who {
        exes: vec!["/nowhere/fence".to_owned()],
        ..uids(&[7])
    };
    let found = resolve(&rule(who));
    assert_eq!(found.actors.len(), 1);
    let told = found.missing.join(";");
    assert!(
        told.starts_with("/nowhere/fence: Failed to open it"),
        "{told}"
    );
}

#[test]
fn a_rule_keeps_its_number_for_ever() {
    assert_eq!(id_of("fencing"), id_of("fencing"));
    assert_ne!(id_of("fencing"), id_of("fencinG"));
}
