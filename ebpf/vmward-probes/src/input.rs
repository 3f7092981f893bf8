//! What the running thread is about to write, as far as can be seen before the
//! kernel has copied it: another thread may still change it. Good for a friendly
//! refusal and for letting a known writer do its work; no wall rests on that.

use aya_ebpf::helpers::generated::bpf_probe_read_user;

use crate::syscall::{
    PWRITE64, PWRITEV, PWRITEV2, WRITE, WRITEV, is_shown, plain_write, running, user,
};

/// How much is looked at: a process id with its newline, the word `max`.
pub const TEXT_LEN: usize = 16;
/// Process ids are below `2^22`.
const DIGITS_MAX: u32 = 7;

/// The beginning of a text, NUL padded.
pub type Text = [u8; TEXT_LEN];

/// The beginning of what is written.
pub enum Input {
    /// This.
    Text(Text),
    /// By a system call that hides it (`io_uring`, splice, sendfile), in memory that
    /// is not there yet, or in several parts.
    Hidden,
    /// Where this kernel keeps a system call's arguments is not known.
    Unknown,
}

/// Looks at the running system call.
pub fn input() -> Input {
    if !is_shown() {
        return Input::Unknown;
    }
    let call = running();
    match call.number {
        WRITE | PWRITE64 => text(call.second, call.third, 1),
        WRITEV | PWRITEV | PWRITEV2 => {
            let Some([mut at, mut len]) = user::<[u64; 2]>(call.second) else {
                return Input::Hidden;
            };
            // C libraries put an empty or buffered part before the text.
            let mut parts = call.third;
            if len == 0 && parts > 1 {
                let Some(second) = user::<[u64; 2]>(call.second.wrapping_add(16)) else {
                    return Input::Hidden;
                };
                [at, len] = second;
                parts -= 1;
            }
            text(at, len, parts)
        }
        _ => Input::Hidden,
    }
}

/// Is it a plain write(2), as most programs do? What it is about to write is left in
/// `text`; `None` where this kernel does not show it. It takes less of the stack than
/// [`input`].
#[inline(always)]
pub fn plain_input(text: &mut Text) -> Option<bool> {
    if !is_shown() {
        return None;
    }
    let Some((at, len)) = plain_write() else {
        return Some(false);
    };
    let len = up_to_text(len);
    // SAFETY: `len` bytes are inside the text; the helper checks the other address and
    // fails instead of faulting.
    let failed = unsafe { bpf_probe_read_user(text.as_mut_ptr().cast(), len, at as *const _) };
    Some(failed == 0)
}

/// What is written from `at` on: of several parts only what ends in the first.
fn text(at: u64, len: u64, parts: u64) -> Input {
    let mut text = [0; TEXT_LEN];
    let len = up_to_text(len);
    // SAFETY: `len` bytes are inside the array; the helper checks the other
    // address and fails instead of faulting.
    let failed = unsafe { bpf_probe_read_user((&raw mut text).cast(), len, at as *const _) };
    if failed != 0 || parts > 1 && !is_line(&text) {
        return Input::Hidden;
    }
    Input::Text(text)
}

fn up_to_text(len: u64) -> u32 {
    if len > TEXT_LEN as u64 {
        TEXT_LEN as u32
    } else {
        len as u32
    }
}

/// Does the text end in itself?
fn is_line(text: &Text) -> bool {
    let mut ends = false;
    for byte in text {
        ends |= *byte == b'\n';
    }
    ends
}

/// The number that a text is, as whoever has nothing to hide writes it: in decimal,
/// without a sign, blanks or zeros before it. `None` for any other text: the kernel
/// reads more.
pub fn number(text: &Text) -> Option<u32> {
    let mut number: u32 = 0;
    for (digits, byte) in (0..).zip(text) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            let ends = *byte == b'\n' || *byte == 0;
            return (ends && digits > 0).then_some(number);
        }
        // 0 alone is the writer itself; more behind it is another base.
        if digits == DIGITS_MAX || digits == 1 && number == 0 {
            return None;
        }
        number = number * 10 + u32::from(digit);
    }
    None
}
