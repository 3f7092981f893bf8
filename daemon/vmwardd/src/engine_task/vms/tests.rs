use super::*;

#[test]
fn a_vm_that_cannot_be_protected_is_told_once_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let mut vms = Vms::new(false, Names::load(dir.path()));
    let bare = |why: &str| Domain {
        uuid: VmUuid::from_bytes([1; 16]),
        name: "web-1".to_owned(),
        labels: BTreeMap::new(),
        run: Run::Unprotectable(why.to_owned()),
    };
    vms.domains = vec![bare("it is traced")];
    assert_eq!(vms.newly_bare().len(), 1);
    assert_eq!(vms.newly_bare(), []);
    vms.domains = vec![bare("no process")];
    assert_eq!(vms.newly_bare().first().unwrap().1, "no process");
    vms.domains = Vec::new();
    assert_eq!(vms.newly_bare(), []);
    vms.domains = vec![bare("no process")];
    assert_eq!(vms.newly_bare().len(), 1, "it was well in between");
}

#[test]
fn a_vm_is_found_with_its_labels_by_name_and_by_uuid() {
    let dir = tempfile::tempdir().unwrap();
    let mut vms = Vms::new(false, Names::load(dir.path()));
    let uuid = VmUuid::from_bytes([1; 16]);
    vms.domains = vec![Domain {
        uuid,
        name: "db-1".to_owned(),
        labels: BTreeMap::from([("tier".to_owned(), "prod".to_owned())]),
        run: Run::Off,
    }];
    for name in ["db-1", &uuid.to_string()] {
        let Target::Vm(vm) = vms.resolve(name, false) else {
            panic!("{name} is known");
        };
        assert_eq!(vm.labels.get("tier").map(String::as_str), Some("prod"));
    }
}
