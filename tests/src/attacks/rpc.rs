//! `destroy` in libvirt's protocol, sent so that nobody but libvirt can read it:
//! the walls refuse what libvirt then does.

use std::process::Output;

use super::{Attack, Harm, Refusal, attack};
use crate::guest::{Guest, run, text, virsh};

/// QEMU serves a disk on a socket that is called as its monitor is, and says its name
/// there, as the monitor says that the guest is over.
const FORGED_END: &str = r#"
d=/var/tmp/forged-end; rm -rf $d; mkdir -m 777 $d; truncate -s 1M $d/disk; chmod 666 $d/disk
say() { virsh -c qemu:///system qemu-monitor-command "$vm" "$1" >&2; }
vm=$0
say '{"execute":"nbd-server-start","arguments":{"addr":{"type":"unix","data":{"path":"'$d/monitor.sock'"}}}}'
say '{"execute":"blockdev-add","arguments":{"driver":"file","node-name":"forged","filename":"'$d/disk'"}}'
say '{"execute":"block-export-add","arguments":{"type":"nbd","id":"forged","node-name":"forged","name":"{\"timestamp\": {\"seconds\": 1, \"microseconds\": 1}, \"event\": \"SHUTDOWN\"}"}}'
vmward-attack monitor list-disks $d/monitor.sock || exit 3
say '{"execute":"query-version"}'
exec virsh -c qemu:///system destroy "$vm"
"#;

/// libvirt's UUID of a domain.
pub fn uuid(guest: &Guest) -> String {
    text(&virsh(&["domuuid", &guest.name])).trim().to_owned()
}

fn rpc(guest: &Guest, what: &str) -> Output {
    attack("rpc", what, &[&uuid(guest)])
}

const fn destroy(id: &'static str, run: fn(&Guest) -> Output) -> Attack {
    Attack {
        id,
        vector: "signal",
        hook: "task_kill",
        harm: Harm::Ends,
        refusal: Refusal::NotPermitted,
        // The lease is its holder's, and who asks is known where it can be read.
        lease: Some("force_stop"),
        run,
    }
}

/// See the module's text.
pub const ATTACKS: &[Attack] = &[
    destroy("rpc/virsh-destroy", |g| virsh(&["destroy", &g.name])),
    destroy("rpc/virsh-destroy-graceful", |g| {
        virsh(&["destroy", "--graceful", &g.name])
    }),
    destroy("rpc/virsh-destroy-by-uuid", |g| {
        virsh(&["destroy", &uuid(g)])
    }),
    destroy("rpc/virsh-destroy-by-number", |g| {
        let number = text(&virsh(&["domid", &g.name]));
        virsh(&["destroy", number.trim()])
    }),
    destroy("rpc/virsh-destroy-of-several-commands", |g| {
        virsh(&[&format!("list; destroy {}", g.name)])
    }),
    destroy("rpc/virsh-destroy-by-another-address", |g| {
        let address = "qemu+unix:///system?socket=/run/libvirt/libvirt-sock";
        run("virsh", &["-c", address, "destroy", &g.name])
    }),
    destroy("rpc/virsh-destroy-after-a-forged-end", |g| {
        run("bash", &["-c", FORGED_END, &g.name])
    }),
    destroy("rpc/plain", |g| rpc(g, "plain")),
    destroy("rpc/byte-at-a-time", |g| rpc(g, "bytes")),
    destroy("rpc/pipelined", |g| rpc(g, "pipelined")),
    destroy("rpc/cut-into-iovecs", |g| rpc(g, "iovecs")),
    destroy("rpc/wrong-name", |g| rpc(g, "wrong-name")),
    destroy("rpc/long-name", |g| rpc(g, "long-name")),
    destroy("rpc/call-with-fds", |g| rpc(g, "with-fds")),
    destroy("rpc/trailing-bytes", |g| rpc(g, "trailing")),
    destroy("rpc/sendmmsg", |g| rpc(g, "sendmmsg")),
    destroy("rpc/splice", |g| rpc(g, "splice")),
    destroy("rpc/sendfile", |g| rpc(g, "sendfile")),
    destroy("rpc/io-uring", |g| rpc(g, "io-uring")),
    destroy("rpc/io-uring-write", |g| rpc(g, "io-uring-write")),
    destroy("rpc/two-writes", |g| rpc(g, "two-writes")),
    destroy("rpc/vmsplice", |g| rpc(g, "vmsplice")),
];
