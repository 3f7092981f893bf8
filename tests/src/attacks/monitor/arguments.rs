//! Commands that libvirt sends, too, with arguments that it never gives: they
//! make QEMU wait, start a program, or lose what its guest needs.

use std::process::Output;

use super::super::{Attack, Harm, Refusal};
use super::{order, people, qmp};
use crate::guest::{Guest, run, text};

/// How long the answer is waited for: where the attack works, none comes.
const ANSWER_LIMIT_S: &str = "15";

/// An order whose answer may never come.
fn order_without_answer(guest: &Guest, words: &[&str]) -> Output {
    let mut all = vec![ANSWER_LIMIT_S, "virsh", "-c", "qemu:///system"];
    all.extend(["qemu-monitor-command", &guest.name]);
    all.extend(words);
    run("timeout", &all)
}

/// A FIFO with nobody at its other end.
fn fifo(guest: &Guest) -> String {
    let path = format!("/var/tmp/{}.fifo", guest.name);
    // One that is there already does as well.
    run("mkfifo", &["-m", "666", &path]);
    path
}

/// Has QEMU write memory to a FIFO.
fn save_memory(guest: &Guest, command: &str) -> Output {
    let path = fifo(guest);
    let text = format!(
        r#"{{"execute":"{command}","arguments":{{"val":0,"size":16,"filename":"{path}"}}}}"#
    );
    order_without_answer(guest, &[&text])
}

/// Has QEMU listen, and wait for the first client.
fn wait_for_client(guest: &Guest, id: &str) -> Output {
    let path = format!("/var/tmp/{}.waits", guest.name);
    let addr = format!(r#"{{"type":"unix","data":{{"path":"{path}"}}}}"#);
    let text = format!(
        r#"{{"execute":"chardev-add","arguments":{{"id":"{id}","backend":{{"type":"socket",
            "data":{{"addr":{addr},"server":true,"wait":true}}}}}}}}"#
    );
    order_without_answer(guest, &[&text])
}

/// Takes the guest's first processor away.
fn unplug_processor(guest: &Guest) -> Output {
    let all = text(&qmp(guest, r#"{"execute":"query-cpus-fast"}"#));
    let path = all
        .split_once(r#""qom-path":""#)
        .and_then(|(_, rest)| rest.split('"').next())
        .unwrap_or("/machine/unattached/device[0]");
    let text = format!(
        r#"{{"execute":"qom-set","arguments":{{"path":"{path}","property":"realized","value":false}}}}"#
    );
    order_without_answer(guest, &[&text])
}

/// Gives QEMU a FIFO where it looks for the certificate of whom to trust.
fn certificate(guest: &Guest) -> Output {
    let folder = format!("/var/tmp/{}.certificates", guest.name);
    let script = "mkdir -p -m 777 $0 && ( [ -p $0/ca-cert.pem ] || mkfifo -m 666 $0/ca-cert.pem )";
    run("sh", &["-c", script, &folder]);
    let text = format!(
        r#"{{"execute":"object-add","arguments":{{"qom-type":"tls-creds-x509","id":"certificates",
            "dir":"{folder}","endpoint":"client","verify-peer":false}}}}"#
    );
    order_without_answer(guest, &[&text])
}

/// Has QEMU ask somebody at a socket who never answers.
fn ask_in_vain(guest: &Guest) -> Output {
    let path = format!("/var/tmp/{}.silent", guest.name);
    // It takes the connection and says nothing, as long as an answer is waited for.
    let script = r"rm -f $0; perl -MSocket -e '
        socket(S, AF_UNIX, SOCK_STREAM, 0); bind(S, pack_sockaddr_un($ARGV[0])) or die $!;
        chmod 0777, $ARGV[0]; listen(S, 5); alarm 60; accept(C, S); sleep 60' $0 >/dev/null 2>&1 &
        until [ -S $0 ]; do :; done";
    run("sh", &["-c", script, &path]);
    let text = format!(
        r#"{{"execute":"object-add","arguments":{{
            "qom-type":"pr-manager-helper","id":"helper","path":"{path}"}}}}"#
    );
    order_without_answer(guest, &[&text])
}

/// Plugs in a network card whose ROM is read from a FIFO.
fn plug_in_rom(guest: &Guest) -> Output {
    let (path, file) = (fifo(guest), format!("/var/tmp/{}.card.xml", guest.name));
    let card =
        format!("<interface type='user'><model type='e1000'/><rom file='{path}'/></interface>");
    std::fs::write(&file, card).expect("/var/tmp is writable");
    let words = [ANSWER_LIMIT_S, "virsh", "-c", "qemu:///system"];
    let words = [&words[..], &["attach-device", &guest.name, &file]].concat();
    run("timeout", &words)
}

/// Of what QEMU itself does: nobody's lease is for that.
const fn opens_fifo(id: &'static str, says: &'static str, run: fn(&Guest) -> Output) -> Attack {
    Attack {
        id,
        vector: "fifo",
        hook: "file_open",
        harm: Harm::Stalls,
        refusal: Refusal::Answers(says),
        lease: None,
        run,
    }
}

/// See the module's text.
pub const ATTACKS: &[Attack] = &[
    opens_fifo("monitor/qmp-certificate-fifo", "ca-cert.pem", certificate),
    Attack {
        refusal: Refusal::Says("failed to find romfile"),
        ..opens_fifo("monitor/attach-device-rom-fifo", "", plug_in_rom)
    },
    order(
        "monitor/qmp-object-silent-helper",
        Harm::Stalls,
        "force_stop",
        ask_in_vain,
    ),
    order(
        "monitor/qmp-chardev-waits",
        Harm::Stalls,
        "force_stop",
        |g| wait_for_client(g, "waits"),
    ),
    // What decides stands behind what is looked at.
    order(
        "monitor/qmp-chardev-waits-behind-a-long-name",
        Harm::Stalls,
        "force_stop",
        |g| wait_for_client(g, &"w".repeat(600)),
    ),
    // A guest that writes to it ends QEMU.
    order(
        "monitor/qmp-chardev-testdev",
        Harm::Arms,
        "force_stop",
        |g| {
            qmp(
                g,
                r#"{"execute":"chardev-add","arguments":{
                    "id":"test","backend":{"type":"testdev","data":{}}}}"#,
            )
        },
    ),
    order(
        "monitor/qmp-object-secret-of-a-fifo",
        Harm::Stalls,
        "force_stop",
        |g| {
            let path = fifo(g);
            let text = format!(
                r#"{{"execute":"object-add","arguments":{{
                    "qom-type":"secret","id":"secret","file":"{path}"}}}}"#
            );
            order_without_answer(g, &[&text])
        },
    ),
    order(
        "monitor/qmp-memsave-fifo",
        Harm::Stalls,
        "force_stop",
        |g| save_memory(g, "memsave"),
    ),
    order(
        "monitor/qmp-pmemsave-fifo",
        Harm::Stalls,
        "force_stop",
        |g| save_memory(g, "pmemsave"),
    ),
    // Without a processor the next interrupt is QEMU's end.
    order(
        "monitor/qmp-qom-set-realized",
        Harm::Ends,
        "force_stop",
        unplug_processor,
    ),
    order(
        "monitor/qmp-reopen-no-disk",
        Harm::Ends,
        "force_stop",
        |g| {
            qmp(
                g,
                r#"{"execute":"blockdev-reopen","arguments":{"options":[]}}"#,
            )
        },
    ),
    order("monitor/qmp-netdev-bridge", Harm::Ends, "force_stop", |g| {
        qmp(
            g,
            r#"{"execute":"netdev_add","arguments":{"type":"bridge","id":"bridge"}}"#,
        )
    }),
    // It starts a program when the guest says a word.
    order(
        "monitor/qmp-netdev-user-program",
        Harm::Arms,
        "force_stop",
        |g| {
            qmp(
                g,
                r#"{"execute":"netdev_add","arguments":{"type":"user","id":"user",
                "guestfwd":[{"str":"tcp:10.0.2.100:80-cmd:/bin/true"}]}}"#,
            )
        },
    ),
    order(
        "monitor/qmp-netdev-tap-helper",
        Harm::Ends,
        "force_stop",
        |g| {
            qmp(
                g,
                r#"{"execute":"netdev_add","arguments":{
                    "type":"tap","id":"tap","helper":"/bin/true"}}"#,
            )
        },
    ),
    people(
        "monitor/hmp-drive-add-fifo",
        Harm::Stalls,
        "force_stop",
        |g| {
            let path = fifo(g);
            let line = format!("drive_add 0 file={path},if=none,format=raw,readonly=on");
            order_without_answer(g, &["--hmp", &line])
        },
    ),
];
