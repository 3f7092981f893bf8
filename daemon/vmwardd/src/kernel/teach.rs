//! How this kernel writes the calls that no other BPF program may make.
//!
//! A helper's address is no secret that the daemon needs: it loads a program
//! that makes the call, and the hook that sees every new program takes the
//! instruction down. The same programs are the self-test's attack.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use nix::errno::Errno;
use vmward_abi::fact;

use super::KernelError;
use super::offsets;
use super::own::OwnMaps;

const BPF_PROG_LOAD: libc::c_long = 5;
const KPROBE: u32 = 2;
const TRACEPOINT: u32 = 5;

/// Instructions: operation, destination, source, offset, immediate.
const fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> u64 {
    code as u64
        | (dst as u64) << 8
        | (src as u64) << 12
        | (off.cast_unsigned() as u64) << 16
        | (imm.cast_unsigned() as u64) << 32
}

const fn set(register: u8, value: i32) -> u64 {
    insn(0xb7, register, 0, 0, value)
}

const fn copy(to: u8, from: u8) -> u64 {
    insn(0xbf, to, from, 0, 0)
}

const fn call(helper: i32) -> u64 {
    insn(0x85, 0, 0, 0, helper)
}

const EXIT: u64 = insn(0x95, 0, 0, 0, 0);
const SIGKILL: i32 = libc::SIGKILL;
const STACK: u8 = 10;

/// The calls, in the order of the slots from [`fact::CALLS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    SendSignal,
    SendSignalThread,
    OverrideReturn,
    ProbeWriteUser,
    SendSignalTask,
}

pub(super) const CALLS: [Call; fact::CALLS_LEN as usize] = [
    Call::SendSignal,
    Call::SendSignalThread,
    Call::OverrideReturn,
    Call::ProbeWriteUser,
    Call::SendSignalTask,
];

impl Call {
    fn program(self) -> Option<(u32, Vec<u64>)> {
        let (kind, mut program) = match self {
            Call::SendSignal => (KPROBE, vec![set(1, SIGKILL), call(109)]),
            Call::SendSignalThread => (KPROBE, vec![set(1, SIGKILL), call(117)]),
            Call::OverrideReturn => (KPROBE, vec![set(2, 0), call(58)]),
            Call::ProbeWriteUser => {
                let room = [
                    insn(0x7a, STACK, 0, -8, 0),
                    set(1, 0),
                    copy(2, STACK),
                    insn(0x07, 2, 0, 0, -8),
                    set(3, 8),
                ];
                (KPROBE, room.into_iter().chain([call(36)]).collect())
            }
            Call::SendSignalTask => {
                // A call of a kernel function names it by its type.
                let function = offsets::function("bpf_send_signal_task")?;
                let task = [call(158), copy(1, 0), set(2, SIGKILL), set(3, 0), set(4, 0)];
                let call = insn(0x85, 0, 2, 0, function.cast_signed());
                (TRACEPOINT, task.into_iter().chain([call]).collect())
            }
        };
        program.extend([set(0, 0), EXIT]);
        Some((kind, program))
    }
}

/// `union bpf_attr` for `BPF_PROG_LOAD`, as far as it is needed.
#[repr(C)]
struct LoadAttr {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// Loads a program that makes the call and does nothing else. It is attached to
/// nothing; `None` where this kernel does not have the call.
///
/// # Errors
/// Why the kernel does not take it.
#[expect(unsafe_code, reason = "a raw system call and its descriptor")]
pub(super) fn load(which: Call) -> Result<Option<OwnedFd>, Errno> {
    let Some((kind, program)) = which.program() else {
        return Ok(None);
    };
    let attr = LoadAttr {
        kind,
        count: u32::try_from(program.len()).unwrap_or(0),
        instructions: program.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: the attribute and what it points to outlive the call, which only
    // reads them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_LOAD,
            &raw const attr,
            size_of::<LoadAttr>(),
        )
    };
    match Errno::result(result) {
        Ok(fd) => {
            let fd = i32::try_from(fd).map_err(|_too_large| Errno::EBADF)?;
            // SAFETY: the kernel just gave it, and nobody else has it.
            Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
        }
        // The verifier knows no such call for this kind of program.
        Err(Errno::EINVAL) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Has the attached programs learn every call that this kernel has. What they know by an
/// earlier daemon of this boot stays true, and holds meanwhile.
///
/// # Errors
/// The kernel does not take a lesson, or nothing was learned of it.
pub(super) fn calls(own: &mut OwnMaps) -> Result<(), KernelError> {
    for (slot, which) in (0..).zip(CALLS) {
        own.set(fact::LESSON, u64::from(slot) + 1)?;
        let loaded = load(which);
        own.set(fact::LESSON, 0)?;
        let there = loaded.map_err(|errno| failed(errno.into()))?.is_some();
        if there && own.get(fact::CALLS + slot)? == 0 {
            let what = format!("no hook saw the program with {which:?}");
            return Err(failed(io::Error::other(what)));
        }
    }
    Ok(())
}

fn failed(source: io::Error) -> KernelError {
    KernelError::Canary {
        what: "learn how this kernel calls helpers",
        source,
    }
}
