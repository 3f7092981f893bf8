//! Files of `/proc`, `/sys` and `/dev` that end, starve or corrupt a process, or
//! the whole host, or take vmward's programs out of the kernel.
//!
//! Known by file system and name: nobody can rename what is in these.

use vmward_abi::{effect, vector};

use super::control_files::Act;
use super::libvirt;
use crate::cgroups::host_with_vms;
use crate::maps::offset;
use crate::name::Name;
use crate::objects::own_subject;
use crate::scope::guarded;
use crate::task::{Task, current_tgid, read};
use crate::verdict::Attempt;

/// `/dev/mem`, `/dev/kmem`, `/dev/port`, as the kernel numbers them.
const MEMORY_DEVICES: [u32; 3] = [1 << 20 | 1, 1 << 20 | 2, 1 << 20 | 4];
/// `/dev/uinput`, `/dev/uhid`: a keyboard, with the key that restarts a host.
const KEYBOARDS: [u32; 2] = [10 << 20 | 223, 10 << 20 | 239];
/// `/dev/input/eventN`
const INPUT_MAJOR: u32 = 13;
/// `/dev/cpu/N/msr`
const MSR_MAJOR: u32 = 202;
/// `/dev/snapshot`: whoever has it open freezes every other process, with one ioctl.
const SNAPSHOT: u32 = 10 << 20 | 231;
/// `/dev/watchdog`: whoever has opened it and does not feed it restarts the host.
const WATCHDOG: u32 = 10 << 20 | 130;
/// Majors that are given out as they are asked for: `/dev/watchdog0` has one of these.
const FREE_MAJORS: core::ops::RangeInclusive<u32> = 234..=254;
const S_IFMT: u16 = 0o170_000;
const S_IFCHR: u16 = 0o020_000;

/// A write to a file of `/proc`.
pub fn proc_written(file: u64, inode: u64, name: &mut Name) -> Option<Act> {
    let proc_inode = inode.wrapping_sub(offset!(proc_vfs_inode) as u64);
    let pid: u64 = read(proc_inode, offset!(proc_pid))?;
    if pid == 0 {
        return host_written(file, name);
    }
    let task = Task::of_pid(pid)?;
    let tgid = task.tgid()?;
    if tgid == current_tgid() {
        return None;
    }
    let vm = guarded(task, tgid)?;
    *name = name_of(dentry_of(file)?);
    Some(Act::Judge(vm, of_process(name)?))
}

/// A file of one process; none for what changes nothing that it does.
fn of_process(name: &Name) -> Option<Attempt> {
    let (vector, effect) = if name.is("oom_score_adj") || name.is("oom_adj") {
        (vector::OOM_ADJUST, effect::FORCE_STOP)
    } else if name.is("mem") {
        (vector::PTRACE, effect::FORCE_STOP)
    } else if name.is("autogroup") || name.is("sched") || name.is("timerslack_ns") {
        (vector::SCHED, effect::PAUSE)
    } else if name.is("comm") || name.is("coredump_filter") || name.is("loginuid") {
        return None;
    } else {
        (vector::KERNEL_FILE, effect::PAUSE)
    };
    Some(Attempt::new(vector, effect))
}

/// A file of `/proc` that is about the whole host.
fn host_written(file: u64, name: &mut Name) -> Option<Act> {
    let dentry = dentry_of(file)?;
    *name = name_of(dentry);
    if name.is("sysrq-trigger") {
        let attempt = Attempt::new(vector::SYSRQ, effect::HOST_REBOOT);
        return Some(Act::Judge(host_with_vms()?, attempt));
    }
    if name.is("ftrace_enabled") {
        // By the same switch all of vmward's programs are taken out of their hooks.
        return Some(Act::Refuse(
            own_subject(),
            Attempt::new(vector::KERNEL_FILE, 0),
        ));
    }
    if is_starving(name) {
        let attempt = Attempt::new(vector::KERNEL_FILE, effect::FORCE_STOP);
        return Some(Act::Judge(host_with_vms()?, attempt));
    }
    if !is_arming(name) && !is_registers(dentry) {
        return None;
    }
    let attempt = Attempt::new(vector::KERNEL_FILE, effect::FORCE_STOP);
    Some(Act::Witness(host_with_vms()?, attempt, false))
}

/// Settings by which QEMU ends itself, since it gets no thread or no memory any more,
/// by which others take all the processors' time, or by which what anybody can bring
/// about ends the host.
fn is_starving(name: &Name) -> bool {
    name.is("threads-max")
        || name.is("pid_max")
        || name.is("max_map_count")
        // Of all but root, as QEMU is.
        || name.is("file-max")
        || name.is("overcommit_memory")
        || name.is("overcommit_ratio")
        || name.is("overcommit_kbytes")
        || name.is("min_free_kbytes")
        || name.is("sched_rt_runtime_us")
        || name.is("sched_rt_period_us")
        || name.is("panic_on_oom")
        || name.is("panic_on_warn")
        || name.is("warn_limit")
        || name.is("hung_task_panic")
        || name.is("softlockup_panic")
        || name.is("hardlockup_panic")
        || name.is("panic_on_rcu_stall")
        || name.is("max_rcu_stall_to_panic")
        // `panic_on_unrecoverable_memory_failure`, as far as a name is read.
        || name.is("panic_on_unrecoverable_memory_f")
        // Whom the three keys that restart a host interrupt.
        || name.is("cad_pid")
        // Memory that no processor may keep in its cache.
        || name.is("mtrr")
}

/// Settings that decide what becomes of VMs when memory runs out or the kernel
/// meets an error: an administrator's to make, and on the record.
fn is_arming(name: &Name) -> bool {
    name.is("oom_kill_allocating_task")
        || name.is("panic")
        || name.is("panic_on_oops")
        || name.is("oops_limit")
        || name.is("unknown_nmi_panic")
        || name.is("panic_on_io_nmi")
        || name.is("panic_on_unrecovered_nmi")
        || name.is("dirty_bytes")
        || name.is("dirty_ratio")
        || name.is("nr_open")
        || name.is("aio-max-nr")
        || name.is("nr_hugepages")
        || name.is("nr_hugepages_mempolicy")
        || name.is("watermark_scale_factor")
        || name.is("lowmem_reserve_ratio")
        || name.is("sysrq")
}

/// A device's registers: `/proc/bus/pci/00/1f.2`.
fn is_registers(dentry: u64) -> bool {
    let folder: u64 = read(dentry, offset!(dentry_parent)).unwrap_or(0);
    name_above(folder).is("pci")
}

/// A write to a file of `resctrl`: how much of the processors' cache, and of the way to
/// memory, who gets. libvirt sets it as a domain's `cachetune` says.
pub fn share_written(file: u64, name: &mut Name) -> Option<Act> {
    *name = name_of_file(file);
    let attempt = Attempt::new(vector::KERNEL_FILE, effect::PAUSE);
    let host = host_with_vms()?;
    Some(if libvirt::is_current() {
        Act::Witness(host, attempt, true)
    } else {
        Act::Judge(host, attempt)
    })
}

/// A write to a file of `/sys`: memory failure, taking processors or memory away,
/// sleep; breakpoints in programs; a security module's rules.
pub fn sysfs_written(file: u64, name: &mut Name) -> Option<Act> {
    let dentry = dentry_of(file)?;
    *name = name_of(dentry);
    let parent: u64 = read(dentry, offset!(dentry_parent))?;
    let effect = if ends_processes(name, parent) {
        effect::FORCE_STOP
    } else if takes_away(name, parent) {
        effect::PAUSE
    } else if is_administered(name, parent) {
        let attempt = Attempt::new(vector::KERNEL_FILE, effect::FORCE_STOP);
        return Some(Act::Witness(host_with_vms()?, attempt, false));
    } else {
        return None;
    };
    let attempt = Attempt::new(vector::KERNEL_FILE, effect);
    Some(Act::Judge(host_with_vms()?, attempt))
}

fn ends_processes(name: &Name, parent: u64) -> bool {
    name.is("hard_offline_page")
        || name.is("soft_offline_page")
        || name.is("corrupt-pfn")
        || name.is("unpoison-pfn")
        || name.is("uprobe_events")
        || name.is("dynamic_events")
        // What a lockdown forbids to programs is what keeps libvirt's orders from QEMU.
        || name.is("lockdown")
        // By what anybody can bring about the host ends; an error of a file system that
        // is not there, at which it may have been told to end.
        || name.is("trigger_fs_error")
        || (name.is("panic_on_warn") || name.is("panic_on_stall"))
            && name_of(parent).is("parameters")
        // After one line of it no program may start any more, vmwardd among them.
        || name.is("policy") && name_of(parent).is("ima")
        // Made-up errors of the processor and of memory.
        || name.is("bank") && name_of(parent).is("mce-inject")
        || name.is("error_inject") && name_of(parent).is("einj")
}

/// What harms VMs in wrong hands, and is an administrator's or a daemon's daily work
/// in the right ones.
fn is_administered(name: &Name, parent: u64) -> bool {
    // AppArmor's profiles: libvirt sets one up for each VM.
    if name.is(".load") || name.is(".replace") || name.is(".remove") {
        return true;
    }
    if is_of_device(name, parent) {
        return true;
    }
    if name.is("nr_hugepages") || name.is("nr_hugepages_mempolicy") {
        return true;
    }
    // How long a thread runs before the next one may; tuned sets them.
    if name.is("base_slice_ns") || name.is("min_granularity_ns") || name.is("latency_ns") {
        return true;
    }
    // Memory that nobody uses is pushed out, at any price; pages that VMs share are given
    // to each of them again; a temperature from which on the host powers itself off; how
    // much power the processors get; every function of the kernel counted.
    name.is("min_ttl_ms")
        || name.is("run") && name_of(parent).is("ksm")
        || name.begins("constrai")
        || name.is("idlecpus")
        || name.is("idlepct")
        || name.is("function_profile_enabled")
        || name.begins("trip_poi")
        || name.is("enabled") && name_above(parent).is("damon_reclaim")
        || name.is("state") && name_above(parent).is("kdamonds")
}

/// A device taken from its driver or off its bus, without power or begun anew, or its
/// registers written; a processor slowed down to keep it cool.
fn is_of_device(name: &Name, parent: u64) -> bool {
    name.is("unbind")
        || name.is("remove")
        || name.is("config")
        || name.is("delete")
        || name.is("reset")
        || name.is("reset_subordinate")
        || name.is("host_reset")
        || name.is("unload_heads")
        || name.is("eject")
        || name.is("reset_controller")
        || name.is("delete_controller")
        || name.is("sriov_numvfs")
        || name.is("authorized")
        || name.is("array_state")
        || name.is("suspend_lo")
        || name.is("suspend_hi")
        || name.is("remove_single_major")
        || name.is("cur_state")
        || name.is("power") && name_above(parent).is("slots")
        // A disk of SCSI's, which can be offline.
        || name.is("state") && name_above(parent).begins("target")
}

/// The name of the folder above a folder.
fn name_above(folder: u64) -> Name {
    name_of(read(folder, offset!(dentry_parent)).unwrap_or(0))
}

/// Processors, memory, or the time of either.
fn takes_away(name: &Name, parent: u64) -> bool {
    // The second pushes out what a VM has in memory, used or not; one tracer
    // (`mmiotrace`) takes all processors but one away; and a filter of functions can have
    // each of them do something that takes long.
    if name.is("nx_huge_pages")
        || name.is("lru_gen")
        || name.is("current_tracer")
        || name.is("set_ftrace_filter")
    {
        return true;
    }
    if name.is("reclaim") && name_of(parent).begins("node") {
        return true;
    }
    // A processor, memory, or a part of the host with both.
    if name.is("eject") {
        let device = name_of(parent);
        return device.begins("LNXCPU") || device.begins("PNP0C80") || device.begins("ACPI0004");
    }
    // A file system has no room any more for what VMs and vmward write; all disks of an
    // adapter, or an array, wait.
    if name.is("reserved_clusters")
        || name.is("state") && (name_of(parent).begins("host") || name_of(parent).begins("dev-"))
    {
        return true;
    }
    // Parameters of `kvm`, `kvm_intel`, `kvm_amd`: how long a guest waits for its timer,
    // what becomes of it at an odd register.
    if name_of(parent).is("parameters") && name_above(parent).begins("kvm") {
        return true;
    }
    if name.is("online") || name.is("state") || name.is("runtime") || name.is("period") {
        let above = name_of(parent);
        if above.begins("cpu") || above.begins("memory") {
            return true;
        }
    }
    if name.is("target") || name.is("control") {
        let above = name_of(parent);
        return above.is("hotplug") || above.is("smt");
    }
    (name.is("state") || name.is("disk") || name.is("autosleep") || name.is("resume"))
        && is_at_top(parent, "power")
}

/// Is it the folder `name` right below the top?
fn is_at_top(folder: u64, name: &str) -> bool {
    let above: Option<u64> = read(folder, offset!(dentry_parent));
    let top: Option<u64> = above.and_then(|above| read(above, offset!(dentry_parent)));
    above.is_some() && above == top && name_of(folder).is(name)
}

/// Could it be a device that is the host's memory, its processors, its keyboard, its
/// sleep or its watchdog?
#[inline(always)]
pub fn is_host_device(device: u32, writes: bool) -> bool {
    device == SNAPSHOT
        || writes
            && (MEMORY_DEVICES.contains(&device)
                || KEYBOARDS.contains(&device)
                || device >> 20 == MSR_MAJOR
                || is_perhaps_watchdog(device))
}

/// Could it be an input device, such as a keyboard? Opening one to write is what who
/// only reads does as well.
#[inline(always)]
pub fn is_keyboard(device: u32) -> bool {
    device >> 20 == INPUT_MAJOR
}

#[inline(always)]
fn is_perhaps_watchdog(device: u32) -> bool {
    device == WATCHDOG || FREE_MAJORS.contains(&(device >> 20))
}

/// Such a device is opened. Fencing and PID 1 feed watchdogs: they are let through.
pub fn device_opened(file: u64, inode: u64, name: &mut Name) -> Option<Act> {
    let mode: u16 = read(inode, offset!(inode_mode))?;
    if mode & S_IFMT != S_IFCHR {
        return None;
    }
    let attempt = Attempt::new(vector::KERNEL_FILE, effect::FORCE_STOP);
    let host = host_with_vms()?;
    *name = name_of(dentry_of(file)?);
    let device: u32 = read(inode, offset!(inode_rdev))?;
    if !is_perhaps_watchdog(device) {
        return Some(Act::Judge(host, attempt));
    }
    let known = device == WATCHDOG || name.begins("watchdog");
    known.then_some(Act::Witness(host, attempt, false))
}

fn dentry_of(file: u64) -> Option<u64> {
    read(file, offset!(file_dentry))
}

/// The name of an open file.
pub fn name_of_file(file: u64) -> Name {
    name_of(dentry_of(file).unwrap_or(0))
}

fn name_of(dentry: u64) -> Name {
    Name::at(read(dentry, offset!(dentry_name)).unwrap_or(0))
}
