//! Who is libvirt's daemon? Decided by facts of the kernel alone, so that it
//! holds while vmward's daemon is away and in the first moment of a libvirt that
//! starts: root's process, by nobody traced, that runs a program called
//! `libvirtd` or `virtqemud` from a folder that the daemon has named.

use aya_ebpf::helpers::bpf_get_current_uid_gid;

use super::unix::file_key;
use crate::maps::{LIBVIRT_FOLDERS, LIBVIRTS, offset};
use crate::task::{Task, current_tgid, opaque, read};

/// The names of the program, with the NUL.
const MONOLITHIC: [u8; 9] = *b"libvirtd\0";
const MODULAR: [u8; 10] = *b"virtqemud\0";

/// Is the running process libvirt's daemon? Once it was, it stays so, whatever
/// becomes of its file.
#[inline(always)]
pub fn is_current() -> bool {
    vmward_is_libvirt() == 1
}

/// [`is_current`], verified by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_is_libvirt() -> i32 {
    opaque(is_libvirt().into())
}

fn is_libvirt() -> bool {
    let task = Task::current();
    let tgid = current_tgid();
    let Some(ticks) = task.start_ticks() else {
        return false;
    };
    // SAFETY: a plain copy of a live map value.
    if unsafe { LIBVIRTS.get(tgid) }.copied() == Some(ticks) {
        return true;
    }
    let is_root = bpf_get_current_uid_gid() as u32 == 0;
    if !is_root || task.is_traced() || runs_libvirt(task) != Some(true) {
        return false;
    }
    // Where it is not kept, it is found out again.
    let _ = LIBVIRTS.insert(tgid, ticks, 0);
    true
}

fn runs_libvirt(task: Task) -> Option<bool> {
    let path = offset!(file_path) + offset!(path_dentry);
    let dentry: u64 = read(task.exe_file()?, path)?;
    let name: u64 = read(dentry, offset!(dentry_name))?;
    if read(name, 0) != Some(MONOLITHIC) && read(name, 0) != Some(MODULAR) {
        return Some(false);
    }
    let folder = file_key(read(dentry, offset!(dentry_parent))?)?;
    // SAFETY: only asked for its presence.
    Some(unsafe { LIBVIRT_FOLDERS.get(folder) }.is_some())
}
