//! The agent goes around the gateway.

use anyhow::Result;
use serde_json::{Value, json};
use vmward_tests::audit::is_kernel;

use crate::Story;
use crate::host::{
    Ran, daemon_pid, lives, pid, progress, ran, records, running, state, ticks_on, vcpu_thread,
};
use crate::transcript::Transcript;

/// libvirtd, whichever of its worker threads it is.
const LIBVIRTD: &str = "libvirtd";
/// What the kernel tells whoever it refuses.
const EPERM: &str = "Operation not permitted";

/// Kills one thread, which takes the whole process along. No shell command
/// makes this system call.
const TGKILL: &str = "import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
if libc.syscall(234, int(sys.argv[1]), int(sys.argv[2]), signal.SIGKILL):
    sys.exit('tgkill: ' + os.strerror(ctypes.get_errno()))
";
/// A libvirt client of its own.
const LIBVIRT: &str = "import libvirt, sys
libvirt.registerErrorHandler(lambda *_: None, None)
try:
    libvirt.open('qemu:///system').lookupByName(sys.argv[1]).destroy()
except libvirt.libvirtError as error:
    sys.exit(f'libvirtError: {error}')
";

/// One way around, and what the audit log must say of it.
struct Bypass<'a> {
    /// The command as the reader sees it.
    shown: String,
    program: &'static str,
    args: Vec<&'a str>,
    /// The domains at which it is aimed.
    vms: Vec<&'a str>,
    signal: &'static str,
    /// The command name of the process that sends the signal, or [`LIBVIRTD`].
    actor: &'static str,
}

pub(crate) fn show(t: &mut Transcript, story: &mut Story, vm: &str, other: &str) -> Result<()> {
    t.step("The agent goes around the gateway");
    t.say(&format!(
        "It is root on this host, it was denied, and it wants {vm} down all the same. None of what \
         follows asks vmward; every refusal below is the kernel's."
    ));
    let process = pid(vm)?;
    let thread = vcpu_thread(process)?.to_string();
    for bypass in ways(vm, other, &process.to_string(), &thread) {
        let done = ran(&bypass.shown, bypass.program, &bypass.args);
        judge(t, story, &bypass, &done, process)?;
    }
    t.say(
        "Where the request went through libvirt, the audit names a worker thread of libvirtd, \
         since that one sends the signal, and beside it who asked libvirt.",
    );
    order(t, story, vm, process);
    Ok(())
}

/// Everything that ends in a signal.
fn ways<'a>(vm: &'a str, other: &'a str, process: &'a str, thread: &'a str) -> [Bypass<'a>; 6] {
    let aimed = |shown: String, program, args: &[&'a str], signal, actor| Bypass {
        shown,
        program,
        args: args.to_vec(),
        vms: vec![vm],
        signal,
        actor,
    };
    [
        aimed(
            format!("virsh destroy {vm}"),
            "virsh",
            &["-c", "qemu:///system", "destroy", vm],
            "SIGTERM",
            LIBVIRTD,
        ),
        aimed(
            format!("kill -9 {process}    # the QEMU process of {vm}"),
            "/bin/kill",
            &["-9", process],
            "SIGKILL",
            "kill",
        ),
        aimed(
            format!("kill -STOP {process}    # would freeze it"),
            "/bin/kill",
            &["-STOP", process],
            "SIGSTOP",
            "kill",
        ),
        aimed(
            format!(
                "python3 -c '... tgkill({process}, {thread}, SIGKILL) ...'    # its vCPU thread"
            ),
            "/usr/bin/python3",
            &["-c", TGKILL, process, thread],
            "SIGKILL",
            "python3",
        ),
        Bypass {
            shown: "pkill qemu    # both VMs that still run".to_owned(),
            program: "pkill",
            args: vec!["qemu"],
            vms: vec![vm, other],
            signal: "SIGTERM",
            actor: "pkill",
        },
        aimed(
            format!("python3 -c '... libvirt.open().lookupByName(\"{vm}\").destroy() ...'"),
            "/usr/bin/python3",
            &["-c", LIBVIRT, vm],
            "SIGTERM",
            LIBVIRTD,
        ),
    ]
}

/// It was refused in so many words, the guests tick on, the audit names who.
fn judge(
    t: &mut Transcript,
    story: &mut Story,
    bypass: &Bypass<'_>,
    done: &Ran,
    process: i32,
) -> Result<()> {
    t.command(done);
    t.check(
        "refused",
        done.code != Some(0) && done.said.contains(EPERM),
        format!("it fails with {EPERM:?}"),
        done.said
            .lines()
            .find(|line| line.contains(EPERM))
            .map_or("it did not", |_| EPERM),
    );
    let alive = lives(process);
    let running = running()?;
    for vm in &bypass.vms {
        let pair = if alive { ticks_on(vm)? } else { (0, 0) };
        t.check(
            &format!("{vm} runs and ticks on"),
            alive && progress(pair) && running.iter().any(|name| name == vm),
            "the same process, and three ticks more",
            format!(
                "process {}, {} ticks before, {} now",
                pid(vm).unwrap_or(-1),
                pair.0,
                pair.1
            ),
        );
    }
    let before = story.refusals;
    story.refusals += bypass.vms.len();
    let all = records(story.refusals, |r| {
        r["kind"] == "kernel" && r["verdict"] == "refused"
    });
    let new = all.get(before..).unwrap_or_default();
    t.data(&format!("refused: {}", done.shown), json!(new));
    for vm in &bypass.vms {
        let mut found = new.iter().filter(|r| is_kernel(r, "refused", vm));
        let (first, more) = (found.next(), found.count());
        t.same(
            &format!("the audit log has it once for {vm}"),
            format!("{} from {}", bypass.signal, bypass.actor),
            match (first, more) {
                (Some(record), 0) => named(record),
                (Some(record), more) => format!("{} and {more} more", named(record)),
                (None, _) => "no record".to_owned(),
            },
        );
    }
    Ok(())
}

/// The signal and who sent it.
fn named(record: &Value) -> String {
    let (signal, actor) = (&record["signal"]["name"], &record["actor"]);
    let by_libvirtd = daemon_pid(LIBVIRTD).is_ok_and(|pid| actor["tgid"] == pid);
    let comm = if by_libvirtd {
        LIBVIRTD
    } else {
        actor["comm"].as_str().unwrap_or("?")
    };
    format!("{} from {comm}", signal.as_str().unwrap_or("?"))
}

/// A stop that needs no signal: libvirt's own order to QEMU.
fn order(t: &mut Transcript, story: &mut Story, vm: &str, process: i32) {
    t.say(
        "And one way that needs no signal: libvirt tells QEMU to press the power button. vmward \
         makes the order harmless on its way, and QEMU answers that there is no such command.",
    );
    let done = ran(
        &format!("virsh shutdown {vm}"),
        "virsh",
        &["-c", "qemu:///system", "shutdown", vm],
    );
    t.command(&done);
    let refused = done.code != Some(0) && done.said.contains("denied-by-vmward");
    let on = lives(process) && state(vm) == "running";
    story.refusals += 1;
    t.check(
        &format!("the order is refused, and {vm} runs on"),
        refused && on,
        "an error of libvirt's, then running",
        format!("exit status {}, {}", done.code.unwrap_or(-1), state(vm)),
    );
}
