//! The host's end, its memory and its processors, and what other people's BPF
//! programs can do to a VM. Where nothing refuses the host's end, nobody is left
//! to look at the VM: these attacks are made so that they fail by themselves then.

use std::path::Path;
use std::process::Output;

use super::{Attack, Harm, attack, of_all};
use crate::guest::{Guest, run};

const fn host(
    id: &'static str,
    vector: &'static str,
    hook: &'static str,
    run: fn(&Guest) -> Output,
) -> Attack {
    of_all(id, vector, hook, Harm::Host, run)
}

/// Somebody's program that ends the VM from within.
const fn bpf(id: &'static str, run: fn(&Guest) -> Output) -> Attack {
    Attack {
        harm: Harm::Ends,
        ..host(id, "bpf-program", "bpf_prog", run)
    }
}

fn program(guest: &Guest, which: &str) -> Output {
    attack("host", which, &[&guest.pid().to_string()])
}

/// Writes what means nothing there: the file alone is what is refused.
fn nonsense_to(file: &str) -> Output {
    run("sh", &["-c", &format!("/bin/echo nonsense > {file}")])
}

/// Gives a setting the value that it has.
fn same_to(setting: &str) -> Output {
    let script = format!("v=$(cat {setting}) && /bin/echo \"$v\" > {setting}");
    run("sh", &["-c", &script])
}

/// A setting or a device by which all VMs end later.
const fn arms(
    id: &'static str,
    vector: &'static str,
    hook: &'static str,
    run: fn(&Guest) -> Output,
) -> Attack {
    Attack {
        harm: Harm::Arms,
        ..host(id, vector, hook, run)
    }
}

/// It is about all VMs, and no VM's lease is for that.
const fn setting(id: &'static str, run: fn(&Guest) -> Output) -> Attack {
    arms(id, "kernel-file", "file_permission", run)
}

/// A file of `/sys` that takes something away from all VMs. Opening it to write is
/// refused: not everything that then writes is asked again.
const fn sys_file(id: &'static str, run: fn(&Guest) -> Output) -> Attack {
    host(id, "kernel-file", "file_open", run)
}

/// A device node of the attacker's own making: its driver need not be there.
fn device(node: &str, opens: &str) -> Output {
    let script = format!(
        "d=$(mktemp -d); trap 'rm -r $d' EXIT; mknod $d/node {node} && bash -c \": {opens} $d/node\""
    );
    run("bash", &["-c", &script])
}

/// A breakpoint in a program, and its end.
fn breakpoint_by(file: &str) -> Output {
    let script = format!(
        "file=/sys/kernel/tracing/{file}
         /bin/echo 'p:vmward/attack /bin/true:0x40' >> $file && /bin/echo '-:vmward/attack' >> $file"
    );
    run("bash", &["-c", &script])
}

/// The host ends with the next record that the kernel's auditing loses.
const fn audit(id: &'static str, run: fn(&Guest) -> Output) -> Attack {
    arms(id, "kernel-file", "netlink_send", run)
}

/// A lost record is a line in the kernel's log again.
pub(super) fn audit_as_before(_guest: &Guest) {
    attack("host", "audit-failure", &["1"]);
}

const AUDIT: &str = "host/audit-";
const SCHEDULER: &str = "host/scheduler";
const FUNCTION: &str = "host/bpf-function-";
const BREAKPOINTS: &str = "host/breakpoint-multi";

/// What the running kernel lacks that an attack cannot do without.
#[must_use]
pub fn lacks(row: &Attack) -> Option<&'static str> {
    let has_schedulers = Path::new("/sys/kernel/sched_ext").exists();
    if row.id == SCHEDULER && !has_schedulers {
        return Some("this kernel has no sched_ext");
    }
    if row.id.starts_with(FUNCTION) {
        let functions = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
        let is_there = functions.contains(" bpf_send_signal_task\n");
        return (!is_there).then_some("this kernel has no bpf_send_signal_task");
    }
    let line = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let is_off = line.split_whitespace().any(|word| word == "audit=0");
    (row.id.starts_with(AUDIT) && is_off).then_some("the kernel's auditing is off for good")
}

/// Where nothing refuses it, does the running kernel? It is refused before the kernel
/// looks whether it knows such a thing.
pub(super) fn is_harmless(row: &Attack) -> Option<&'static str> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    (row.id == BREAKPOINTS && release.starts_with("6.1."))
        .then_some("this kernel has no uprobe_multi")
}

/// Doors beside those above: settings, devices and system calls that do the same.
pub const OTHER_DOORS: &[Attack] = &[
    setting("host/threads-max", |_| {
        same_to("/proc/sys/kernel/threads-max")
    }),
    setting("host/whom-the-keys-interrupt", |g| {
        let pid = g.pid().to_string();
        run(
            "sh",
            &["-c", "/bin/echo $0 > /proc/sys/kernel/cad_pid", &pid],
        )
    }),
    setting("host/pid-max", |_| same_to("/proc/sys/kernel/pid_max")),
    setting("host/max-map-count", |_| {
        same_to("/proc/sys/vm/max_map_count")
    }),
    setting("host/overcommit-memory", |_| {
        same_to("/proc/sys/vm/overcommit_memory")
    }),
    setting("host/overcommit-ratio", |_| {
        same_to("/proc/sys/vm/overcommit_ratio")
    }),
    setting("host/realtime-runtime", |_| {
        same_to("/proc/sys/kernel/sched_rt_runtime_us")
    }),
    setting("host/realtime-period", |_| {
        same_to("/proc/sys/kernel/sched_rt_period_us")
    }),
    setting("host/breakpoint", |_| breakpoint_by("uprobe_events")),
    setting("host/breakpoint-dynamic", |_| {
        breakpoint_by("dynamic_events")
    }),
    arms(
        "host/breakpoint-perf-event",
        "kernel-file",
        "perf_event_alloc",
        |_| attack("host", "uprobe", &["/bin/true"]),
    ),
    // Before 6.6 no kernel knows it; the program is refused all the same.
    arms(BREAKPOINTS, "bpf-program", "bpf_prog", |_| {
        attack("host", "uprobe-multi", &["/bin/true"])
    }),
    arms("host/ioperm", "reboot", "capable", |_| {
        attack("host", "ioperm", &[])
    }),
    arms("host/iopl", "reboot", "capable", |_| {
        attack("host", "iopl", &[])
    }),
    arms("host/ports-of-a-serial-line", "reboot", "capable", |_| {
        attack("host", "serial-ports", &[])
    }),
    arms("host/ioperm-32-bits", "reboot", "capable", |_| {
        attack("host", "ioperm-32", &[])
    }),
    arms("host/iopl-32-bits", "reboot", "capable", |_| {
        attack("host", "iopl-32", &[])
    }),
    arms("host/madvise-offline", "kernel-file", "capable", |_| {
        attack("host", "offline", &[])
    }),
    arms(
        "host/madvise-offline-queued",
        "kernel-file",
        "capable",
        |_| attack("host", "offline-queued", &[]),
    ),
    // In a namespace of processes reboot(2) is that one's own affair; this is not.
    host("host/kexec-in-a-namespace", "reboot", "capable", |_| {
        run("unshare", &["-pf", "vmward-attack", "host", "kexec-load"])
    }),
    setting("host/panic-on-oom", |_| {
        same_to("/proc/sys/vm/panic_on_oom")
    }),
    setting("host/min-free-kbytes", |_| {
        same_to("/proc/sys/vm/min_free_kbytes")
    }),
    setting("host/hung-task-panic", |_| {
        same_to("/proc/sys/kernel/hung_task_panic")
    }),
    sys_file("host/kvm-parameter", |_| {
        run(
            "sh",
            &[
                "-c",
                "modprobe kvm; /bin/echo nonsense > /sys/module/kvm/parameters/min_timer_period_us",
            ],
        )
    }),
    // An event that says nothing.
    arms(
        "host/keyboard-event",
        "kernel-file",
        "file_permission",
        |_| {
            let script = "modprobe evdev; dd if=/dev/zero of=$(ls -d /dev/input/event* | head -n 1) bs=24 count=1";
            run("sh", &["-c", script])
        },
    ),
    // It is believed in much.
    arms(
        "host/seize-first-process",
        "ptrace",
        "ptrace_access_check",
        |_| attack("tampering", "seize", &["1"]),
    ),
    // What it starts inherits it.
    arms(
        "host/limit-first-process",
        "rlimit",
        "task_setrlimit",
        |_| run("prlimit", &["--pid", "1", "--msgqueue=4096:4096"]),
    ),
    sys_file("host/cpu-hotplug-target", |_| {
        nonsense_to("/sys/devices/system/cpu/cpu1/hotplug/target")
    }),
    sys_file("host/smt-control", |_| {
        nonsense_to("/sys/devices/system/cpu/smt/control")
    }),
    sys_file("host/memory-offline", |_| {
        nonsense_to("$(ls -d /sys/devices/system/memory/memory* | head -n 1)/state")
    }),
    host(
        "host/push-memory-out",
        "kernel-file",
        "file_permission",
        |_| nonsense_to("/sys/kernel/debug/lru_gen"),
    ),
    // A loop device over it is written to without a question, from Linux 6.12 on.
    arms("host/opened-to-write", "kernel-file", "file_open", |_| {
        run("sh", &["-c", "exec 3> /sys/devices/system/cpu/cpu1/online"])
    }),
    setting("host/warn-limit", |_| {
        same_to("/proc/sys/kernel/warn_limit")
    }),
    arms(
        "host/panic-on-warn-parameter",
        "kernel-file",
        "file_open",
        |_| same_to("/sys/module/kernel/parameters/panic_on_warn"),
    ),
    audit("host/audit-panics", |_| {
        attack("host", "audit-failure", &["2"])
    }),
    audit("host/audit-panics-behind-others", |_| {
        attack("host", "audit-failure", &["2", "9"])
    }),
    audit("host/audit-panics-behind-many", |_| {
        attack("host", "audit-failure", &["2", "40"])
    }),
    // One tracer, `mmiotrace`, takes all processors but one.
    setting("host/tracer", |_| {
        same_to("/sys/kernel/tracing/current_tracer")
    }),
    // Each function that it names can be told to do something that takes long.
    arms("host/functions-traced", "kernel-file", "file_open", |_| {
        let file = "/sys/kernel/tracing/set_ftrace_filter";
        let script = format!("/bin/echo vfs_read > {file} && /bin/echo > {file}");
        run("sh", &["-c", &script])
    }),
    // From then on no program may write to what libvirt sends.
    host("host/lockdown", "kernel-file", "file_permission", |_| {
        nonsense_to("/sys/kernel/security/lockdown")
    }),
    arms("host/force-unload", "kernel-file", "capable", |_| {
        run(
            "sh",
            &["-c", "modprobe loop; vmward-attack host force-unload loop"],
        )
    }),
    sys_file("host/resume-from-disk", |_| {
        nonsense_to("/sys/power/resume")
    }),
    host("host/snapshot", "kernel-file", "file_open", |_| {
        device("c 10 231", "<")
    }),
    host("host/keyboard", "kernel-file", "file_open", |_| {
        device("c 10 223", ">")
    }),
    host("host/msr", "kernel-file", "file_open", |_| {
        device("c 202 0", ">")
    }),
    // It says when a VM's threads run, if ever.
    arms(SCHEDULER, "bpf-program", "bpf_prog", |_| {
        attack("host", "scheduler", &[])
    }),
    arms("host/bpf-lsm-refuses", "bpf-program", "bpf_prog", |_| {
        attack("host", "refuses", &[])
    }),
    // The next step takes what libvirt writes to QEMU, or writes in its place.
    arms(
        "host/sockets-by-iterator",
        "bpf-program",
        "bpf_prog",
        |_| attack("host", "takes-sockets", &[]),
    ),
];

/// See the module's text.
pub const ATTACKS: &[Attack] = &[
    bpf("host/bpf-send-signal", |g| program(g, "bpf-send-signal")),
    bpf("host/bpf-send-signal-thread", |g| {
        program(g, "bpf-send-signal-thread")
    }),
    bpf("host/bpf-send-signal-child", |g| {
        let script = "vmward-attack host bpf-send-signal \"$0\" & wait $!";
        run("sh", &["-c", script, &g.pid().to_string()])
    }),
    bpf("host/bpf-send-signal-subprogram", |g| {
        program(g, "bpf-subprogram")
    }),
    bpf("host/bpf-send-signal-long", |g| program(g, "bpf-long")),
    bpf("host/bpf-function-network", |g| program(g, "bpf-network")),
    bpf("host/bpf-function-network-long", |g| {
        program(g, "bpf-network-long")
    }),
    bpf("host/bpf-send-signal-writable", |g| {
        program(g, "bpf-writable")
    }),
    bpf("host/bpf-send-signal-tracepoint", |g| {
        program(g, "bpf-tracepoint")
    }),
    bpf("host/bpf-send-signal-kprobe", |g| program(g, "bpf-kprobe")),
    bpf("host/bpf-send-signal-perf-event", |g| {
        program(g, "bpf-perf-event")
    }),
    bpf("host/bpf-send-signal-fentry", |g| program(g, "bpf-fentry")),
    bpf("host/bpf-send-signal-typed-tracepoint", |g| {
        program(g, "bpf-typed-tracepoint")
    }),
    bpf("host/bpf-send-signal-lsm", |g| program(g, "bpf-lsm")),
    bpf("host/bpf-write-user", |g| program(g, "bpf-write-user")),
    // With wrong magic numbers.
    host("host/reboot", "reboot", "capable", |_| {
        attack("host", "reboot", &[])
    }),
    host("host/kexec-load", "reboot", "capable", |_| {
        attack("host", "kexec-load", &[])
    }),
    host("host/kexec-file-load", "reboot", "capable", |_| {
        attack("host", "kexec-file-load", &[])
    }),
    // Help, as a key: it only prints.
    host("host/sysrq", "sysrq", "file_permission", |_| {
        run("sh", &["-c", "/bin/echo h > /proc/sysrq-trigger"])
    }),
    host("host/sysrq-io-uring", "sysrq", "file_permission", |_| {
        attack("control_files", "io-uring", &["/proc/sysrq-trigger", "h"])
    }),
    host(
        "host/sysrq-second-mount",
        "sysrq",
        "file_permission",
        |_| {
            let script = "d=$(mktemp -d); trap 'rmdir $d' EXIT
            unshare -m sh -c 'mount -t proc proc $0 && /bin/echo h > $0/sysrq-trigger' $d";
            run("bash", &["-c", script])
        },
    ),
    sys_file("host/cpu-offline", |_| {
        nonsense_to("/sys/devices/system/cpu/cpu1/online")
    }),
    sys_file("host/sleep", |_| nonsense_to("/sys/power/state")),
    sys_file("host/offline-page", |_| {
        nonsense_to("/sys/devices/system/memory/hard_offline_page")
    }),
    sys_file("host/soft-offline-page", |_| {
        nonsense_to("/sys/devices/system/memory/soft_offline_page")
    }),
    sys_file("host/hibernate", |_| nonsense_to("/sys/power/disk")),
    host("host/ports", "kernel-file", "file_open", |_| {
        run("sh", &["-c", ": > /dev/port"])
    }),
    host("host/memory", "kernel-file", "file_open", |_| {
        run("sh", &["-c", ": > /dev/mem"])
    }),
];
