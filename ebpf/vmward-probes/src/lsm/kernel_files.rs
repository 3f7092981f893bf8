//! Files of `/proc`, `/sys` and `/dev` that end, starve or corrupt a process, or
//! the whole host.
//!
//! Known by file system and name: nobody can rename what is in these.

use vmward_abi::{effect, vector};

use super::control_files::Act;
use crate::cgroups::host_with_vms;
use crate::maps::offset;
use crate::name::Name;
use crate::scope::guarded;
use crate::task::{Task, current_tgid, read};
use crate::verdict::Attempt;

/// `/dev/mem`, `/dev/kmem`, `/dev/port`, as the kernel numbers them.
const MEMORY_DEVICES: [u32; 3] = [1 << 20 | 1, 1 << 20 | 2, 1 << 20 | 4];
const S_IFMT: u16 = 0o170_000;
const S_IFCHR: u16 = 0o020_000;

/// A write to a file of `/proc`.
pub fn proc_written(file: u64, inode: u64, name: &mut Name) -> Option<Act> {
    let proc_inode = inode.wrapping_sub(offset!(proc_vfs_inode) as u64);
    let pid: u64 = read(proc_inode, offset!(proc_pid))?;
    if pid == 0 {
        return host_written(file, name);
    }
    // The one task that has this number: `PIDTYPE_PID` is 0.
    let link: u64 = read(pid, offset!(pid_tasks))?;
    if link == 0 {
        return None;
    }
    let task = Task::at(link.wrapping_sub(offset!(task_pid_links) as u64));
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
    } else if name.is("comm")
        || name.is("clear_refs")
        || name.is("coredump_filter")
        || name.is("loginuid")
    {
        return None;
    } else {
        (vector::KERNEL_FILE, effect::PAUSE)
    };
    Some(Attempt::new(vector, effect))
}

/// A file of `/proc` that is about the whole host.
fn host_written(file: u64, name: &mut Name) -> Option<Act> {
    *name = name_of(dentry_of(file)?);
    if name.is("sysrq-trigger") {
        let attempt = Attempt::new(vector::SYSRQ, effect::HOST_REBOOT);
        return Some(Act::Judge(host_with_vms()?, attempt));
    }
    if !is_arming(name) {
        return None;
    }
    let attempt = Attempt::new(vector::KERNEL_FILE, effect::FORCE_STOP);
    Some(Act::Witness(host_with_vms()?, attempt, false))
}

/// Settings that decide what becomes of VMs when memory runs out or the kernel
/// meets an error: an administrator's to make, and on the record.
fn is_arming(name: &Name) -> bool {
    name.is("oom_kill_allocating_task")
        || name.is("panic_on_oom")
        || name.is("overcommit_memory")
        || name.is("overcommit_ratio")
        || name.is("overcommit_kbytes")
        || name.is("min_free_kbytes")
        || name.is("panic")
        || name.is("panic_on_oops")
        || name.is("panic_on_warn")
        || name.is("hung_task_panic")
        || name.is("softlockup_panic")
        || name.is("hardlockup_panic")
        || name.is("sysrq")
}

/// A write to a file of `/sys`: memory failure, taking CPUs away, sleep.
pub fn sysfs_written(file: u64, name: &mut Name) -> Option<Act> {
    let dentry = dentry_of(file)?;
    *name = name_of(dentry);
    let parent: u64 = read(dentry, offset!(dentry_parent))?;
    let effect = if name.is("hard_offline_page")
        || name.is("soft_offline_page")
        || name.is("corrupt-pfn")
        || name.is("unpoison-pfn")
    {
        effect::FORCE_STOP
    } else if (name.is("online") && name_of(parent).begins("cpu"))
        || ((name.is("state") || name.is("disk")) && is_at_top(parent, "power"))
    {
        effect::PAUSE
    } else {
        return None;
    };
    let attempt = Attempt::new(vector::KERNEL_FILE, effect);
    Some(Act::Judge(host_with_vms()?, attempt))
}

/// Is it the folder `name` right below the top?
fn is_at_top(folder: u64, name: &str) -> bool {
    let above: Option<u64> = read(folder, offset!(dentry_parent));
    let top: Option<u64> = above.and_then(|above| read(above, offset!(dentry_parent)));
    above.is_some() && above == top && name_of(folder).is(name)
}

/// Could it be a device that is the host's memory?
#[inline(always)]
pub fn is_memory(device: u32) -> bool {
    MEMORY_DEVICES.contains(&device)
}

/// The host's memory is opened for writing.
pub fn memory_opened(file: u64, inode: u64, name: &mut Name) -> Option<Act> {
    let mode: u16 = read(inode, offset!(inode_mode))?;
    if mode & S_IFMT != S_IFCHR {
        return None;
    }
    let attempt = Attempt::new(vector::KERNEL_FILE, effect::FORCE_STOP);
    let host = host_with_vms()?;
    *name = name_of(dentry_of(file)?);
    Some(Act::Judge(host, attempt))
}

fn dentry_of(file: u64) -> Option<u64> {
    read(file, offset!(file_dentry))
}

fn name_of(dentry: u64) -> Name {
    Name::at(read(dentry, offset!(dentry_name)).unwrap_or(0))
}
