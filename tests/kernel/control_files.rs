//! Control files, one after the other, beside one guest.

use std::time::Duration;

use vmward_tests::attacks::control_files::ATTACKS;
use vmward_tests::daemon::Mode;
use vmward_tests::guest::text;
use vmward_tests::wait;

use crate::Scene;

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn every_write_to_a_control_file_is_refused_and_recorded_once() {
    let scene = Scene::new("control-files-1", Mode::Enforce);
    let mut wrong = Vec::new();
    for (number, attack) in ATTACKS.iter().enumerate() {
        let output = (attack.run)(&scene.guest);
        let said = text(&output);
        if output.status.success() || !said.contains("Operation not permitted") {
            wrong.push(format!("{}: {said}", attack.id));
        }
        let records = wait::until("the record", Duration::from_secs(10), || {
            let all = scene.daemon.audit();
            let found = all.select(|r| r["kind"] == "kernel" && r["verdict"] == "refused");
            (found.len() > number).then_some(found)
        });
        if records.len() != number + 1 || records[number]["vector"] != attack.vector {
            wrong.push(format!("{}: {records:#?}", attack.id));
            break;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    scene.guest.assert_ticks();
}
