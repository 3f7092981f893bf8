//! The files of cgroups, of either version.
//!
//! What is not known to be harmless is refused: controllers come and go.

use vmward_abi::{OFFSET_ABSENT, effect, role, vector};

use super::control_files::{Act, TAKE_IN};
use super::{cgroup_limits, libvirt, own};
use crate::cgroups::{Folder, host_with_vms};
use crate::input::{Input, input, number};
use crate::maps::{VMS, offset};
use crate::name::Name;
use crate::pids::{Whose, whose};
use crate::scope::{Vm, guarded, is_of_vmward};
use crate::task::{INIT, Task, current_tgid, read};
use crate::verdict::{Attempt, libvirt_side};

/// What moving a VM needs: in the cgroup that takes it in a limit may wait that ends it.
pub const MOVE: u32 = effect::FORCE_STOP;

/// `CGROUP_FREEZING_SELF`
const FREEZING_SELF: u32 = 1 << 1;

/// What a file is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum File {
    /// Ends every process.
    Kill,
    /// Stops every process, and lets it go on.
    Freeze,
    /// Takes processes or threads in.
    Members,
    /// Makes threads free to move.
    Kind,
    /// Any other: a limit, for all that is known.
    Limit(u32),
    /// Neither stops nor slows anything.
    Harmless,
}

/// A write to the file behind `inode`, whose name is left in `name`; `ask` is set
/// to [`TAKE_IN`] where that is still to be found out.
pub fn written(inode: u64, name: &mut Name, ask: &mut u32) -> Option<Act> {
    let node: u64 = read(inode, offset!(inode_private))?;
    let folder = Folder::of_file(node)?;
    let place = folder.place();
    *name = Name::at(read(node, offset!(kernfs_name))?);
    let file = file(name);
    // A row may be left of a VM that is gone.
    let Some((place, vm)) = place.and_then(|place| Some((place, place.vm()?))) else {
        return match file {
            File::Members => {
                *ask = TAKE_IN;
                None
            }
            // Processors for this one alone are taken from everybody else.
            File::Limit(effect) if takes_processors(name) => {
                judge(host_with_vms()?, vector::CGROUP_LIMIT, effect)
            }
            _ => None,
        };
    };
    if current_tgid() == vm.tgid {
        return None;
    }
    if own::is_own_daemon(&vm) && file != File::Members {
        return own_cgroup(vm, file, folder);
    }
    // virtlogd may be ended, and is not to be held up.
    let is_logger = vm.row.role == role::LOGGER;
    match file {
        File::Kill | File::Kind if is_logger => None,
        File::Kill => judge(vm, vector::CGROUP_KILL, effect::FORCE_STOP),
        File::Freeze if is_frozen(folder) => None,
        File::Freeze => judge(vm, vector::CGROUP_FREEZE, effect::PAUSE),
        File::Members if !place.own || is_logger || is_of_vmward(vm.row.role) => {
            *ask = TAKE_IN;
            None
        }
        File::Members | File::Kind if sorts_threads(&vm) => None,
        File::Members => judge(vm, vector::CGROUP_MOVE, MOVE),
        File::Kind if place.own => judge(vm, vector::CGROUP_MOVE, MOVE),
        File::Kind | File::Harmless => None,
        File::Limit(effect) => cgroup_limits::set(vm, effect, folder, &place, name),
    }
}

/// The cgroup of vmward's daemon, and of its inventory, or one above it. Its service
/// manager sets it up.
fn own_cgroup(daemon: Vm, file: File, folder: Folder) -> Option<Act> {
    let vector = match file {
        File::Kill => vector::CGROUP_KILL,
        File::Freeze if !is_frozen(folder) => vector::CGROUP_FREEZE,
        File::Limit(_) => vector::CGROUP_LIMIT,
        _ => return None,
    };
    refuse_own(daemon, vector)
}

/// Whatever is done to vmward's daemon is refused, but to itself, to its service
/// manager, and where it hangs.
fn refuse_own(daemon: Vm, vector: u32) -> Option<Act> {
    let mine = current_tgid();
    let may = mine == daemon.tgid || mine == INIT || !own::is_well();
    (!may).then_some(Act::Refuse(daemon, Attempt::new(vector, 0)))
}

fn judge(vm: Vm, vector: u32, effect: u32) -> Option<Act> {
    Some(Act::Judge(vm, Attempt::new(vector, effect)))
}

fn file(name: &Name) -> File {
    if name.is("cgroup.kill") {
        File::Kill
    } else if name.is("cgroup.freeze") || name.is("freezer.state") {
        File::Freeze
    } else if name.is("cgroup.procs") || name.is("cgroup.threads") || name.is("tasks") {
        File::Members
    } else if name.is("cgroup.type") {
        File::Kind
    } else if name.begins("cgroup.") || is_harmless(name) {
        // Which controllers, how many cgroups below, who listens for pressure.
        File::Harmless
    } else if name.begins("memory.")
        || name.begins("pids.")
        || name.begins("hugetlb.")
        || name.begins("misc.")
    {
        // What QEMU does not get ends it.
        File::Limit(effect::FORCE_STOP)
    } else {
        File::Limit(effect::PAUSE)
    }
}

fn takes_processors(name: &Name) -> bool {
    name.is("cpuset.cpus.partition")
        || name.is("cpuset.cpus.exclusive")
        || name.is("cpuset.cpu_exclusive")
}

fn is_harmless(name: &Name) -> bool {
    name.is("memory.pressure")
        || name.is("cpu.pressure")
        || name.is("io.pressure")
        || name.is("irq.pressure")
        || name.is("memory.peak")
        || name.is("memory.swap.peak")
        || name.is("notify_on_release")
        || name.is("release_agent")
}

/// What is frozen may be thawed: the file is the same.
fn is_frozen(folder: Folder) -> bool {
    let Some(cgroup) = folder.cgroup() else {
        return false;
    };
    if read::<u8>(cgroup, offset!(cgroup_freeze)).is_some_and(|freeze| freeze != 0) {
        return true;
    }
    let (freezer, state) = (offset!(cgroup_v1_freezer), offset!(freezer_state));
    if freezer == OFFSET_ABSENT as usize || state == OFFSET_ABSENT as usize {
        return false;
    }
    let state: Option<u32> = read(read(cgroup, freezer).unwrap_or(0), state);
    state.is_some_and(|state| state & FREEZING_SELF != 0)
}

/// libvirt's daemon, which spreads a VM's threads over cgroups, or vmward's own,
/// which brings a VM back.
pub fn sorts_threads(vm: &Vm) -> bool {
    let actor = Task::current();
    libvirt_side(vm, actor).0
        || libvirt::is_current()
        || guarded(actor, current_tgid()).is_some_and(|found| found.row.role == role::OWN)
}

/// A process or a thread is taken into a cgroup that is no VM's: is it a VM's? What
/// the writer hides, or writes as nobody does, is refused; what it changes in the
/// last moment is seen at the move.
pub fn taken_in() -> Option<Act> {
    let attempt = Attempt::new(vector::CGROUP_MOVE, MOVE);
    let wanted = match input() {
        Input::Text(text) => number(&text),
        Input::Hidden => None,
        Input::Unknown => return None,
    };
    match wanted {
        Some(wanted) => {
            let tgid = match whose(wanted) {
                Whose::Group(tgid) => tgid,
                Whose::Nobody => wanted,
                // There it can be left no time, and all VMs wait for what it does.
                Whose::Kernel => return host_with_vms().map(|vm| Act::Judge(vm, attempt)),
            };
            // SAFETY: a plain copy of a live map value.
            let row = unsafe { VMS.get(tgid) }.copied()?;
            let vm = Vm { tgid, row };
            if own::is_own_daemon(&vm) {
                return refuse_own(vm, vector::CGROUP_MOVE);
            }
            let vms = row.role == role::VM || row.role == role::HELPER || row.role == role::LOGGER;
            (vms && !sorts_threads(&vm) && current_tgid() != tgid)
                .then_some(Act::Judge(vm, attempt))
        }
        None => host_with_vms().map(|vm| Act::Judge(vm, attempt)),
    }
}
