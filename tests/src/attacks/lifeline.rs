//! The files without which libvirtd loses the VM at its next start. Each attack
//! puts back what it moved.

use std::fs;
use std::process::Output;

use super::{Attack, Harm, Refusal, attack, of_all};
use crate::guest::{Guest, run, text, virsh};

/// Moves a file away and back: the first step is what is refused.
fn away_and_back(path: &str) -> Output {
    let script = format!("mv -T {path} {path}.away && mv -T {path}.away {path}");
    run("sh", &["-c", &script])
}

fn status(guest: &Guest, kind: &str) -> String {
    format!("/run/libvirt/qemu/{}.{kind}", guest.name)
}

/// libvirt's folder of the running domain: `domain-ID-NAME`, the newest.
fn folder(guest: &Guest) -> String {
    const DOMAINS: &str = "/var/lib/libvirt/qemu";
    let folders = fs::read_dir(DOMAINS).expect("libvirt has been started");
    let number = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let (id, name) = name.strip_prefix("domain-")?.split_once('-')?;
        (name == guest.name).then(|| id.parse::<u32>().ok())?
    };
    let newest = folders.flatten().filter_map(number).max();
    let newest = newest.expect("it runs");
    format!("{DOMAINS}/domain-{newest}-{}", guest.name)
}

/// One that QEMU alone runs.
fn library(guest: &Guest) -> String {
    let maps = fs::read_to_string(format!("/proc/{}/maps", guest.pid()));
    let maps = maps.expect("the process lives");
    let mut paths = maps.lines().filter_map(|line| line.split_once('/'));
    let found = paths.find(|(_, path)| path.contains("libpixman"));
    let (_, path) = found.expect("QEMU draws with it");
    format!("/{path}")
}

const fn row(id: &'static str, hook: &'static str, run: fn(&Guest) -> Output) -> Attack {
    of_all(id, "lifeline-file", hook, Harm::Arms, run)
}

/// See the module's text.
pub const ATTACKS: &[Attack] = &[
    row("lifeline/move-status", "inode_rename", |guest| {
        away_and_back(&status(guest, "xml"))
    }),
    row("lifeline/move-pid-file", "inode_rename", |guest| {
        away_and_back(&status(guest, "pid"))
    }),
    row("lifeline/move-monitor", "inode_rename", |guest| {
        away_and_back(&format!("{}/monitor.sock", folder(guest)))
    }),
    row("lifeline/move-folder", "inode_rename", |guest| {
        away_and_back(&folder(guest))
    }),
    row("lifeline/replace-pid-file", "inode_rename", |guest| {
        let path = status(guest, "pid");
        let script = format!("cp {path} {path}.new && mv -T {path}.new {path}");
        let output = run("sh", &["-c", &script]);
        run("rm", &["-f", &format!("{path}.new")]);
        output
    }),
    row(
        "lifeline/move-status-that-is-new",
        "inode_rename",
        |guest| {
            let name = &guest.name;
            // libvirt writes the file anew, and the attack comes before anybody looks.
            let anew = virsh(&["desc", name, "--live", "written anew"]);
            assert!(anew.status.success(), "{}", text(&anew));
            away_and_back(&status(guest, "xml"))
        },
    ),
    row("lifeline/move-all-status", "inode_rename", |_| {
        away_and_back("/run/libvirt/qemu")
    }),
    row("lifeline/move-run-folder", "inode_rename", |_| {
        away_and_back("/run/libvirt")
    }),
    row("lifeline/move-all-folders", "inode_rename", |_| {
        away_and_back("/var/lib/libvirt/qemu")
    }),
    Attack {
        vector: "mount",
        refusal: Refusal::Says("permission denied"),
        ..row("lifeline/mount-over", "sb_mount", |_| {
            let script = "d=/run/libvirt/qemu; mount -t tmpfs none $d && umount $d";
            run("sh", &["-c", script])
        })
    },
    row("lifeline/truncate-pid-file", "file_open", |guest| {
        let path = status(guest, "pid");
        let script = format!("p=$(cat {path}) && truncate -c -s 0 {path} && printf %s $p > {path}");
        run("sh", &["-c", &script])
    }),
    row("lifeline/truncate-by-name", "path_truncate", |guest| {
        attack("own", "truncate", &[&status(guest, "xml")])
    }),
    // It is not written to: QEMU would not survive it.
    row("lifeline/library-opened", "file_open", |guest| {
        let script = format!(": >> {}", library(guest));
        run("bash", &["-c", &script])
    }),
    row("lifeline/library-cut-short", "path_truncate", |guest| {
        attack("own", "truncate", &[&library(guest)])
    }),
    row("lifeline/write-status", "file_open", |guest| {
        run(
            "sh",
            &["-c", &format!("printf '\\n' >> {}", status(guest, "xml"))],
        )
    }),
];
