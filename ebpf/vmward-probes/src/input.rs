//! What the running thread is about to write, as far as can be seen before the
//! kernel has copied it: another thread may still change it. Good for a friendly
//! refusal and for letting a known writer do its work; no wall rests on that.

use aya_ebpf::helpers::generated::{
    bpf_get_current_task_btf, bpf_probe_read_user, bpf_task_pt_regs,
};
use vmward_abi::OFFSET_ABSENT;

use crate::maps::offset;
use crate::task::read_to;

/// How much is looked at: a process id with its newline, the word `max`.
const TEXT_LEN: usize = 16;
/// System calls, by their numbers on x86-64.
const WRITE: u64 = 1;
const PWRITE64: u64 = 18;
const WRITEV: u64 = 20;
const PWRITEV: u64 = 296;
const PWRITEV2: u64 = 328;
const PROCESS_MADVISE: u64 = 440;
/// Set in the numbers of the x32 calls, which are else the same.
const X32: u64 = 1 << 30;

/// The beginning of what is written.
pub enum Input {
    /// This, NUL padded.
    Text([u8; TEXT_LEN]),
    /// It is in memory that is not there yet.
    Absent,
    /// By a system call that hides it: `io_uring`, splice, sendfile.
    Hidden,
}

/// Looks at the running system call.
pub fn input() -> Input {
    if offset!(regs_syscall) == OFFSET_ABSENT as usize {
        return Input::Absent;
    }
    let regs = registers();
    // What cannot be read is 0, which is no writing system call. Not an absent
    // value: the verifier before 6.3 refuses one that is left undefined.
    let call = register(regs, offset!(regs_syscall));
    let at = register(regs, offset!(regs_second));
    let count = register(regs, offset!(regs_third));
    match call {
        WRITE | PWRITE64 => text(at, count),
        WRITEV | PWRITEV | PWRITEV2 => {
            let Some([mut at, mut len]) = user::<[u64; 2]>(at) else {
                return Input::Absent;
            };
            // C libraries put an empty or buffered part before the text.
            if len == 0 && count > 1 {
                let Some(second) = user::<[u64; 2]>(read_second(regs)) else {
                    return Input::Absent;
                };
                [at, len] = second;
            }
            text(at, len)
        }
        _ => Input::Hidden,
    }
}

/// Is the running system call process_madvise(2)? Its number does not change under
/// way, so that a wall may rest on it.
pub fn is_process_madvise() -> bool {
    if offset!(regs_syscall) == OFFSET_ABSENT as usize {
        return false;
    }
    register(registers(), offset!(regs_syscall)) & !X32 == PROCESS_MADVISE
}

fn registers() -> u64 {
    // SAFETY: no precondition; the second takes what the first gives.
    unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) as u64 }
}

fn register(regs: u64, offset: usize) -> u64 {
    let mut value = 0;
    // SAFETY: a local, as large as what is read.
    unsafe { read_to(&raw mut value, regs.wrapping_add(offset as u64)) };
    value
}

/// Address of the second part of a vector.
fn read_second(regs: u64) -> u64 {
    register(regs, offset!(regs_second)).wrapping_add(16)
}

fn user<T: Copy>(at: u64) -> Option<T> {
    // SAFETY: the helper checks the address and fails instead of faulting.
    unsafe { aya_ebpf::helpers::bpf_probe_read_user(at as *const T) }.ok()
}

fn text(at: u64, len: u64) -> Input {
    let mut text = [0; TEXT_LEN];
    let len = if len > TEXT_LEN as u64 {
        TEXT_LEN as u32
    } else {
        len as u32
    };
    // SAFETY: `len` bytes are inside the array; the helper checks the other
    // address and fails instead of faulting.
    let failed = unsafe { bpf_probe_read_user((&raw mut text).cast(), len, at as *const _) };
    if failed == 0 {
        Input::Text(text)
    } else {
        Input::Absent
    }
}

/// The number that a text begins with; 0 for none.
pub fn number(text: &[u8; TEXT_LEN]) -> u32 {
    let mut number: u32 = 0;
    let mut begun = false;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit < 10 {
            begun = true;
            number = number.wrapping_mul(10).wrapping_add(u32::from(digit));
        } else if begun || !matches!(*byte, b' ' | b'\t' | b'\n') {
            break;
        }
    }
    number
}
