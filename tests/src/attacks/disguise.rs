//! The attacker is another than it seems: copies and links of programs, other
//! namespaces, names, users and threads. One signal stands for all ways: what a
//! wall decides by is the same for each.

use std::process::Output;

use super::{Attack, Harm, Refusal, attack, owner_of};
use crate::guest::{Guest, run};

const fn kill(id: &'static str, refusal: Refusal, run: fn(&Guest) -> Output) -> Attack {
    Attack {
        id,
        vector: "signal",
        hook: "task_kill",
        harm: Harm::Ends,
        refusal,
        lease: Some("force_stop"),
        run,
    }
}

/// A shell's line; `$1` is the VM's process, `$2` its domain.
fn shell(guest: &Guest, line: &str) -> Output {
    let pid = guest.pid().to_string();
    run("/bin/bash", &["-c", line, "bash", &pid, &guest.name])
}

fn attack_on(guest: &Guest, what: &str) -> Output {
    attack("disguise", what, &[&guest.pid().to_string()])
}

/// See the module's text.
pub const ATTACKS: &[Attack] = &[
    kill("disguise/copy-of-kill", Refusal::NotPermitted, |guest| {
        shell(
            guest,
            "cp /bin/kill /var/tmp/innocent && /var/tmp/innocent -9 $1",
        )
    }),
    kill(
        "disguise/hard-link-to-kill",
        Refusal::NotPermitted,
        |guest| {
            let line = "cd /var/tmp && cp /bin/kill k1 && ln -f k1 k2 && ./k2 -9 $1";
            shell(guest, line)
        },
    ),
    kill(
        "disguise/named-as-libvirtd",
        Refusal::NotPermitted,
        |guest| {
            shell(
                guest,
                "cp /bin/kill /var/tmp/libvirtd && /var/tmp/libvirtd -9 $1",
            )
        },
    ),
    kill("disguise/copy-of-virsh", Refusal::NotPermitted, |guest| {
        let line = "cp /usr/bin/virsh /var/tmp/v && /var/tmp/v -c qemu:///system destroy $2";
        shell(guest, line)
    }),
    kill(
        "disguise/hard-link-to-virsh",
        Refusal::NotPermitted,
        |guest| {
            let line = "cd /var/tmp && cp /usr/bin/virsh v1 && ln -f v1 v2 && \
                        ./v2 -c qemu:///system destroy $2";
            shell(guest, line)
        },
    ),
    kill("disguise/namespaces", Refusal::NotPermitted, |guest| {
        shell(guest, "unshare -m -u -i -n /bin/kill -9 $1")
    }),
    kill("disguise/chroot", Refusal::NotPermitted, |guest| {
        let line = "mkdir -p /var/tmp/root && unshare -m bash -c \
                    'mount --bind / /var/tmp/root && chroot /var/tmp/root /bin/kill -9 $0' $1";
        shell(guest, line)
    }),
    kill(
        "disguise/own-user-of-qemu",
        Refusal::NotPermitted,
        |guest| {
            let (user, pid) = (owner_of(guest), guest.pid().to_string());
            let args = ["--reuid", &user, "--clear-groups", "/bin/kill", "-9", &pid];
            run("setpriv", &args)
        },
    ),
    // Once the first process is its parent, it descends from no holder of a lease.
    Attack {
        lease: None,
        ..kill("disguise/orphan", Refusal::Silent, |guest| {
            let line = "setsid --fork sh -c 'until grep -q ^PPid:.1$ /proc/$$/status; do :; done; \
                        exec /bin/kill -9 $0' $1";
            shell(guest, line)
        })
    },
    kill("disguise/memfd", Refusal::NotPermitted, |guest| {
        let line = "exec python3 -c \"import os, sys
fd = os.memfd_create('x')
os.write(fd, open('/bin/kill', 'rb').read())
os.execve(fd, ['kill', '-9', sys.argv[1]], {'LC_ALL': 'C'})\" $1";
        shell(guest, line)
    }),
    kill(
        "disguise/exec-by-another-thread",
        Refusal::NotPermitted,
        |guest| attack_on(guest, "thread-exec"),
    ),
    kill(
        "disguise/kill-by-another-thread",
        Refusal::NotPermitted,
        |guest| attack_on(guest, "thread-kill"),
    ),
    kill(
        "disguise/32-bit-system-call",
        Refusal::NotPermitted,
        |guest| attack_on(guest, "int80"),
    ),
];
