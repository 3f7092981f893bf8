//! Reaching for the socket on which QEMU takes orders, by a client that is not
//! libvirt: QEMU serves it once libvirt is gone.

use std::path::Path;
use std::process::Output;

use super::super::{Attack, Harm, Refusal, owner_of};
use crate::guest::{Guest, run};

/// A connection alone: QEMU lets it wait until libvirt goes away.
const fn row(id: &'static str, run: fn(&Guest) -> Output) -> Attack {
    Attack {
        id,
        vector: "monitor-connect",
        hook: "unix_stream_connect",
        harm: Harm::Arms,
        refusal: Refusal::NotPermitted,
        lease: Some("force_stop"),
        run,
    }
}

/// A shell's lines; `$folder` is where the socket lies.
fn shell(guest: &Guest, lines: &str) -> Output {
    let script = format!("folder=$(echo /var/lib/libvirt/qemu/domain-*-\"$0\")\n{lines}");
    run("bash", &["-c", &script, &guest.name])
}

/// By a way of `vmward-attack`'s own.
fn by(how: &str, guest: &Guest) -> Output {
    let line = format!("exec vmward-attack monitor {how} $folder/monitor.sock");
    shell(guest, &line)
}

/// Without libvirt QEMU serves whoever comes next.
fn quit(guest: &Guest) -> Output {
    let line = "vmward-attack monitor quit $folder/monitor.sock";
    while_libvirt_is_away(guest, line)
}

/// The name of libvirt's daemon here, and that of the one of the other kind.
fn programs() -> [&'static str; 2] {
    if Path::new("/run/virtqemud.pid").exists() {
        ["virtqemud", "libvirtd"]
    } else {
        ["libvirtd", "virtqemud"]
    }
}

/// Speaks to QEMU as a program that passes for libvirt's daemon: whoever is root can
/// put one where that is, or a library into it.
pub(super) fn as_libvirt(guest: &Guest, how: &str) -> Output {
    let [_, other] = programs();
    let lines = format!(
        "cp \"$(command -v vmward-attack)\" /usr/sbin/{other}
         /usr/sbin/{other} monitor {how} $folder/monitor.sock"
    );
    let output = while_libvirt_is_away(guest, &lines);
    run("rm", &[&format!("/usr/sbin/{other}")]);
    output
}

/// Starts libvirt again after the lines, whatever became of the VM: by systemd where
/// that would start it by itself.
fn while_libvirt_is_away(guest: &Guest, lines: &str) -> Output {
    let [program, _] = programs();
    let units = format!("{program}.socket {program}-ro.socket {program}-admin.socket");
    let (end, start) = if Path::new("/run/systemd/system").exists() {
        (
            format!("systemctl stop {units} {program}.service"),
            format!("systemctl start {units} {program}.service"),
        )
    } else {
        ("kill -9 $pid".to_owned(), format!("{program} -d"))
    };
    let lines = format!(
        "pid=$(cat /run/{program}.pid)
         {end}
         # One that nobody waits for has no command line.
         while grep -q . /proc/$pid/cmdline 2>/dev/null; do sleep 0.1; done
         {lines}
         status=$?
         {start}
         until virsh -c qemu:///system list >/dev/null 2>&1; do sleep 0.2; done
         exit $status"
    );
    shell(guest, &lines)
}

/// See the module's text.
pub const ATTACKS: &[Attack] = &[
    row("monitor/connect", |g| by("connect", g)),
    row("monitor/connect-relative", |g| {
        shell(
            g,
            "cd $folder && exec vmward-attack monitor connect monitor.sock",
        )
    }),
    row("monitor/connect-own-root", |g| {
        shell(
            g,
            "exec vmward-attack monitor connect /proc/self/root$folder/monitor.sock",
        )
    }),
    row("monitor/connect-root-of-init", |g| {
        shell(
            g,
            "exec vmward-attack monitor connect /proc/1/root$folder/monitor.sock",
        )
    }),
    row("monitor/connect-symbolic-link", |g| {
        let lines = "d=$(mktemp -d); trap 'rm -r $d' EXIT
                     ln -s $folder/monitor.sock $d/s && vmward-attack monitor connect $d/s";
        shell(g, lines)
    }),
    // The link stays: taking a name of this file away is guarded, too.
    row("monitor/connect-hard-link", |g| {
        let lines = "link=$(dirname $folder)/link-$$.sock
                     ln $folder/monitor.sock $link && vmward-attack monitor connect $link";
        shell(g, lines)
    }),
    // In a mount namespace of its own, which goes with it.
    row("monitor/connect-bind-mount", |g| {
        let lines = "d=$(mktemp -d); trap 'rmdir $d' EXIT
                     unshare -m sh -c 'mount --bind $0 $1 && \
                     exec vmward-attack monitor connect $1/monitor.sock' $folder $d";
        shell(g, lines)
    }),
    row("monitor/connect-namespaces", |g| {
        shell(
            g,
            "unshare -m -u -i -n vmward-attack monitor connect $folder/monitor.sock",
        )
    }),
    row("monitor/connect-own-user", |g| {
        let user = owner_of(g);
        by(&format!("connect-as {user}"), g)
    }),
    row("monitor/connect-child", |g| {
        shell(
            g,
            "vmward-attack monitor connect $folder/monitor.sock & wait $!",
        )
    }),
    row("monitor/connect-named-as-libvirtd", |g| {
        let lines = "cp \"$(command -v vmward-attack)\" /var/tmp/libvirtd && \
                     /var/tmp/libvirtd monitor connect $folder/monitor.sock";
        shell(g, lines)
    }),
    row("monitor/connect-thread", |g| by("connect-thread", g)),
    row("monitor/connect-non-blocking", |g| {
        by("connect-non-blocking", g)
    }),
    row("monitor/connect-descriptor", |g| {
        by("connect-descriptor", g)
    }),
    row("monitor/connect-io-uring", |g| by("connect-io-uring", g)),
    Attack {
        harm: Harm::Ends,
        ..row("monitor/connect-while-libvirtd-is-down", quit)
    },
];
