//! Each way of libvirt's to stop a VM: refused with an error that says so, after
//! which the domain can be managed as before; and done under its lease.

use std::fs;

use vmward_tests::guest::{Guest, text, virsh};
use vmward_tests::progress::Progress;
use vmward_tests::wait;

use super::{ANYTHING, Hosted, assert_off, leased, virsh_done};

/// What becomes of the VM when it is done.
enum Then {
    Ends,
    Pauses,
    Resets,
}

struct Way {
    name: &'static str,
    effect: &'static str,
    words: &'static [&'static str],
    then: Then,
}

const QUIT: &str = r#"{"execute":"quit"}"#;
const IMAGE: &str = "/var/tmp/way-save.image";
/// Migration has a test of its own, with all that it needs.
const WAYS: [Way; 5] = [
    Way {
        name: "way-shutdown",
        effect: "stop",
        words: &["shutdown", "way-shutdown"],
        then: Then::Ends,
    },
    Way {
        name: "way-reset",
        effect: "reset",
        words: &["reset", "way-reset"],
        then: Then::Resets,
    },
    Way {
        name: "way-suspend",
        effect: "pause",
        words: &["suspend", "way-suspend"],
        then: Then::Pauses,
    },
    Way {
        name: "way-save",
        effect: "save",
        words: &["save", "way-save", IMAGE],
        then: Then::Ends,
    },
    Way {
        name: "way-quit",
        effect: "force_stop",
        words: &["qemu-monitor-command", "way-quit", QUIT],
        then: Then::Ends,
    },
];

/// Everything that asks and changes nothing for good works.
#[track_caller]
fn assert_manageable(guest: &Guest) {
    let name = guest.name.as_str();
    for words in [
        ["dominfo", name],
        ["domblklist", name],
        ["dumpxml", name],
        ["resume", name],
    ] {
        let output = virsh(&words);
        let said = text(&output);
        // A domain that runs cannot be resumed, and says so.
        let well = output.status.success() || said.contains("already running");
        assert!(well, "{words:?}: {said}");
    }
    guest.assert_ticks();
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn each_way_to_stop_is_refused_cleanly_and_works_with_its_lease() {
    let names = WAYS.map(|way| way.name);
    let hosted = Hosted::start(&names, ANYTHING, |_, xml| xml.to_owned());
    for way in WAYS {
        let guest = hosted.guest(way.name);
        let pid = guest.pid();
        let output = virsh(way.words);
        let said = text(&output);
        assert!(said.contains("has not been found"), "{}: {said}", way.name);
        assert_eq!((guest.pid(), guest.state().as_str()), (pid, "running"));
        assert_manageable(guest);
        hosted.assert_order(way.name);

        let boots = Progress::of(guest).boots;
        let output = leased(way.name, way.effect, way.words);
        // QEMU is gone before it can answer.
        let answered = output.status.success() || way.name == "way-quit";
        assert!(answered, "{}: {}", way.name, text(&output));
        match way.then {
            Then::Ends => assert_off(guest, pid),
            Then::Pauses => {
                assert_eq!(guest.state(), "paused");
                virsh_done(&["resume", way.name]);
                assert_manageable(guest);
            }
            Then::Resets => {
                wait::until(
                    "it to boot again",
                    std::time::Duration::from_mins(1),
                    || (Progress::of(guest).boots > boots).then_some(()),
                );
                assert_manageable(guest);
            }
        }
        hosted.assert_order(way.name);
    }
    fs::remove_file(IMAGE).expect("virsh wrote it");
}
