//! Is what is sent one JSON value and nothing more? QEMU takes whatever stands behind
//! the first one for another order, and after what is no JSON begins anew. So all of a
//! message is walked through, as QEMU's own reader would.

use aya_ebpf::helpers::bpf_probe_read_user;

use crate::task::opaque;

/// Bytes that are looked at in one go, and how many goes there are: libvirt's orders
/// have some hundred bytes.
const PIECE: u32 = 64;
const PIECES_MAX: u32 = 1024;
/// QEMU takes less than its double.
const DEPTH_MAX: i32 = 512;

/// Where the walk is. It lies in memory of which the verifier knows no value.
#[repr(C)]
struct Walk {
    /// Objects and arrays that are open.
    braces: i32,
    brackets: i32,
    /// One of the places below.
    place: u32,
    /// The quote that the string began with.
    quote: u32,
    /// What there is of a number.
    number: u32,
    /// Something is there that honest JSON does not have.
    odd: u32,
}

/// Before the value, or within it.
const OUTSIDE: u32 = 0;
const IN_STRING: u32 = 1;
const ESCAPED: u32 = 2;
/// Behind the value.
const DONE: u32 = 3;

const NONE: u32 = 0;
const MINUS: u32 = 1;
const ZERO: u32 = 2;
const DIGITS: u32 = 3;

/// Is it, from `address` on?
#[inline(always)]
pub fn is_one_value(address: u64, size: u32) -> bool {
    vmward_is_one_value(address, size) == 1
}

/// [`is_one_value`], verified by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_is_one_value(address: u64, size: u32) -> i32 {
    let mut walk = Walk {
        braces: 0,
        brackets: 0,
        place: OUTSIDE,
        quote: 0,
        number: NONE,
        odd: 0,
    };
    let mut left = size;
    for piece in 0..PIECES_MAX {
        if left == 0 || walk.odd != 0 {
            break;
        }
        let at = address.wrapping_add(u64::from(piece * PIECE));
        vmward_walk(at, left, &raw mut walk);
        left = left.saturating_sub(PIECE);
    }
    let one = left == 0 && walk.odd == 0 && walk.place == DONE;
    opaque(one.into())
}

/// Walks through one piece. Verified by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_walk(at: u64, left: u32, walk: *mut Walk) -> i32 {
    // SAFETY: null or alive.
    let Some(walk) = (unsafe { walk.as_mut() }) else {
        return 0;
    };
    for i in 0..PIECE {
        if i >= left {
            break;
        }
        let from = at.wrapping_add(u64::from(i)) as *const u8;
        // SAFETY: the helper checks the address and fails instead of faulting.
        match unsafe { bpf_probe_read_user(from) } {
            Ok(byte) => step(walk, byte),
            Err(_) => walk.odd = 1,
        }
    }
    0
}

#[inline(always)]
fn step(walk: &mut Walk, byte: u8) {
    let good = match walk.place {
        OUTSIDE => outside(walk, byte),
        DONE => is_blank(byte),
        place => in_string(walk, place, byte),
    };
    if !good {
        walk.odd = 1;
    }
}

/// QEMU begins anew after a control character in a string, and after what is no UTF-8
/// at all.
#[inline(always)]
fn in_string(walk: &mut Walk, place: u32, byte: u8) -> bool {
    walk.place = if place == ESCAPED {
        IN_STRING
    } else if u32::from(byte) == walk.quote {
        OUTSIDE
    } else if byte == b'\\' {
        ESCAPED
    } else {
        IN_STRING
    };
    (0x20..0xfe).contains(&byte)
}

#[inline(always)]
fn outside(walk: &mut Walk, byte: u8) -> bool {
    let number = walk.number;
    walk.number = NONE;
    if byte.is_ascii_digit() {
        walk.number = if byte == b'0' && number != DIGITS {
            ZERO
        } else {
            DIGITS
        };
        return number != ZERO;
    }
    if number == MINUS {
        return false;
    }
    match byte {
        b'{' => walk.braces += 1,
        b'}' => walk.braces -= 1,
        b'[' => walk.brackets += 1,
        b']' => walk.brackets -= 1,
        b'"' | b'\'' => {
            walk.quote = byte.into();
            walk.place = IN_STRING;
            return true;
        }
        b'-' => {
            walk.number = MINUS;
            return true;
        }
        b':' | b',' | b'a'..=b'z' => return true,
        _ => return is_blank(byte),
    }
    let (braces, brackets) = (walk.braces, walk.brackets);
    if braces == 0 && brackets == 0 {
        walk.place = DONE;
    }
    braces >= 0 && brackets >= 0 && braces + brackets <= DEPTH_MAX
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}
