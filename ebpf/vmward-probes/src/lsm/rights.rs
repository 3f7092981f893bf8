//! What has no hook of its own but asks for a right, while VMs run. Fail mode:
//! closed.
//!
//! reboot(2) and kexec, and nothing else, ask for `CAP_SYS_BOOT`. Other calls ask for
//! a right that much else asks for, too: the running system call tells them apart.
//! Pushing out somebody else's memory (`process_madvise`): whose memory it is, does
//! not show. Taking memory for broken: it may be shared with a VM. Taking a module out
//! that is in use: KVM's, or that of a disk. Ports: by one of them a host starts anew.
//! Freezing or ending the file system of a VM's disk ([`storage`]). And what a process is said to run, by which vmward knows its own, is changed by
//! nobody.

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use vmward_abi::{WORD_LEN, effect, vector};

use crate::lsm::{mounts, storage};
use crate::maps::offset;
use crate::name::Name;
use crate::objects::{host_wall, own_wall};
use crate::syscall::{Call, call};
use crate::task::{INIT, Task, current_tgid, read};
use crate::verdict::Attempt;

const CAP_LINUX_IMMUTABLE: i32 = 9;
const CAP_SYS_MODULE: i32 = 16;
const CAP_SYS_RAWIO: i32 = 17;
const CAP_SYS_ADMIN: i32 = 21;
const CAP_SYS_BOOT: i32 = 22;
const CAP_SYS_NICE: i32 = 23;
const CAP_SYS_RESOURCE: i32 = 24;
const CAP_CHECKPOINT_RESTORE: i32 = 40;

/// match-proto: security/security.c:int security_capable(const struct cred *cred, struct user_namespace *ns, int cap, unsigned int opts)
#[lsm(hook = "capable")]
pub fn capable(ctx: LsmContext) -> i32 {
    let capability: i32 = ctx.arg(2);
    let earlier: i32 = ctx.arg(4);
    match capability {
        _ if earlier != 0 => earlier,
        CAP_SYS_BOOT => try_boot(ctx.arg::<*const u8>(1) as u64),
        CAP_LINUX_IMMUTABLE => storage::hold_file(),
        CAP_SYS_MODULE
        | CAP_SYS_RAWIO
        | CAP_SYS_ADMIN
        | CAP_SYS_NICE
        | CAP_SYS_RESOURCE
        | CAP_CHECKPOINT_RESTORE => try_call(capability),
        _ => 0,
    }
}

fn try_boot(user_namespace: u64) -> i32 {
    // A container that restarts itself: the right is asked for in the user
    // namespace of its process namespace.
    //
    // The host's first process: at an orderly shutdown vmward has let go of the
    // VMs before it comes to this. At another (`systemctl reboot --force`) there
    // is nothing left to keep a host for: everything else has been ended, and
    // refused, it would wait for ever. What it is about to do is recorded while
    // there still is somebody to write it down: see `exec.rs`.
    //
    // systemd itself does not make this call in order, but where a unit's end is told
    // to restart the host at once (`SuccessAction=reboot-immediate`), or after a crash
    // of its own. Refused, it goes on.
    let in_container = read::<i32>(user_namespace, offset!(user_ns_level)).unwrap_or(0) > 0;
    let actor = Task::current();
    if in_container || current_tgid() == INIT && !actor.is_traced() && !runs_systemd(actor) {
        return 0;
    }
    // Below a process namespace, whatever its user namespace, reboot(2) ends what is
    // in that one; kexec is the host's.
    match call() {
        Call::KeysOff => return 0,
        Call::Reboot if actor.is_in_pid_namespace() => return 0,
        _ => {}
    }
    host_wall(&Attempt::new(vector::REBOOT, effect::HOST_REBOOT))
}

fn runs_systemd(actor: Task) -> bool {
    let path = offset!(file_path) + offset!(path_dentry);
    let file = actor.exe_file().unwrap_or(0);
    let dentry: u64 = read(file, path).unwrap_or(0);
    Name::at(read(dentry, offset!(dentry_name)).unwrap_or(0)).is("systemd")
}

fn try_call(capability: i32) -> i32 {
    static MADVISE: [u8; WORD_LEN] = *b"process_madvise\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    static PORTS: [u8; WORD_LEN] = *b"ioperm or iopl\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    static SERIAL: [u8; WORD_LEN] = *b"TIOCSSERIAL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    static POISON: [u8; WORD_LEN] = *b"madvise, hwpoison\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    static TEAR: [u8; WORD_LEN] = *b"delete_module, O_TRUNC\0\0\0\0\0\0\0\0\0\0";
    static SET_EXE: [u8; WORD_LEN] = *b"prctl, PR_SET_MM\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let (word, vector) = match call() {
        Call::Other | Call::Reboot | Call::KeysOff | Call::Schedule | Call::Starve => return 0,
        // madvise(2) asks for it where it takes memory for broken.
        Call::Queued if capability == CAP_SYS_ADMIN => (POISON.as_ptr(), vector::KERNEL_FILE),
        Call::Queued => return 0,
        Call::ProcessMadvise => (MADVISE.as_ptr(), vector::PTRACE),
        Call::Ports => (PORTS.as_ptr(), vector::REBOOT),
        Call::SetSerial if capability == CAP_SYS_ADMIN => (SERIAL.as_ptr(), vector::REBOOT),
        Call::SetSerial => return 0,
        Call::Tear => (TEAR.as_ptr(), vector::KERNEL_FILE),
        Call::Poison => (POISON.as_ptr(), vector::KERNEL_FILE),
        Call::HoldFiles | Call::HoldDevice if capability != CAP_SYS_ADMIN => return 0,
        Call::HoldFiles => return storage::hold_files(),
        Call::HoldDevice => return storage::hold_device(),
        Call::SetMount if capability == CAP_SYS_ADMIN => return mounts::witness_options(),
        Call::SetMount => return 0,
        Call::SetExe => {
            return own_wall(&Attempt {
                word: SET_EXE.as_ptr() as u64,
                ..Attempt::new(vector::OWN_FILE, 0)
            });
        }
    };
    host_wall(&Attempt {
        word: word as u64,
        ..Attempt::new(vector, 0)
    })
}
