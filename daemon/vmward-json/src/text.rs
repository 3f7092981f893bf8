//! Strings and whole numbers.

/// The low bit of each byte of a word.
const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
/// The high bit of each byte.
const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
const QUOTES: u64 = u64::from_ne_bytes([b'"'; 8]);
const BACKSLASHES: u64 = u64::from_ne_bytes([b'\\'; 8]);
const SPACES: u64 = u64::from_ne_bytes([b' '; 8]);

/// Writes a string with its quotes at the end of `out`.
pub fn write_str(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    if is_plain(bytes) {
        out.reserve(bytes.len() + 2);
        out.push(b'"');
        out.extend_from_slice(bytes);
        out.push(b'"');
    } else {
        // A string and a vector cannot fail.
        serde_json::to_writer(out, text).unwrap_or_default();
    }
}

/// Writes the name of a member of an object, with what stands before it and the
/// colon behind.
pub(crate) fn write_name(out: &mut Vec<u8>, before: u8, name: &str) {
    out.reserve(name.len() + 4);
    out.push(before);
    write_str(out, name);
    out.push(b':');
}

/// Does nothing in it need an escape?
fn is_plain(bytes: &[u8]) -> bool {
    let Some((first, last)) = bytes.first_chunk::<8>().zip(bytes.last_chunk::<8>()) else {
        return bytes.iter().all(|byte| is_plain_byte(*byte));
    };
    let (blocks, rest) = bytes.as_chunks::<16>();
    // The compiler makes of this what looks at a whole block at once.
    let mut odd = [false; 16];
    for block in blocks {
        for (odd, byte) in odd.iter_mut().zip(block) {
            *odd |= !is_plain_byte(*byte);
        }
    }
    // The ends of what is left, some of which are looked at twice.
    let begin = rest.first_chunk::<8>().unwrap_or(first);
    !odd.contains(&true) && odd_bytes(*begin) | odd_bytes(*last) == 0
}

fn is_plain_byte(byte: u8) -> bool {
    byte >= b' ' && byte != b'"' && byte != b'\\'
}

/// Not zero where one of the bytes is a quote, a backslash or a control character.
fn odd_bytes(bytes: [u8; 8]) -> u64 {
    let word = u64::from_ne_bytes(bytes);
    // A byte that is zero borrows from its high bit. One that is not may lend to
    // the next, but only where one below it was zero: none is missed, and none is
    // found where there is none.
    let zeroes = |word: u64| word.wrapping_sub(ONES) & !word;
    let controls = word.wrapping_sub(SPACES) & !word;
    (zeroes(word ^ QUOTES) | zeroes(word ^ BACKSLASHES) | controls) & HIGHS
}

/// Writes a number at the end of `out`.
pub(crate) fn write_u64(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [b'0'; 20];
    let mut len = 0;
    for place in digits.iter_mut().rev() {
        // A remainder of ten fits a byte.
        *place = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        len += 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(20 - len..).unwrap_or_default());
}

/// Writes a number at the end of `out`.
pub(crate) fn write_i64(out: &mut Vec<u8>, number: i64) {
    if number < 0 {
        out.push(b'-');
    }
    write_u64(out, number.unsigned_abs());
}
