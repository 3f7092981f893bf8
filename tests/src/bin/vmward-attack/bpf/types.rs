//! The kernel's own types, as it tells them: by kind and name to their number.
//!
//! The format is `Documentation/bpf/btf.rst` of the kernel.

use super::{Failed, usage};

pub(super) const STRUCT: u32 = 4;
pub(super) const FUNCTION: u32 = 12;
pub(super) const TYPEDEF: u32 = 8;
const PATH: &str = "/sys/kernel/btf/vmlinux";
/// A type's own words: name, kind and count, size.
const TYPE_LEN: usize = 12;

/// The number of a type.
pub(super) fn find(kind: u32, name: &str) -> Result<u32, Failed> {
    let all = std::fs::read(PATH)?;
    match search(&all, kind, name.as_bytes()) {
        Some(number) => Ok(number),
        None => usage(&format!("the kernel has no type {name}")),
    }
}

fn search(all: &[u8], wanted: u32, name: &[u8]) -> Option<u32> {
    let header = usize::try_from(word(all, 4)?).ok()?;
    let at = |offset| Some(header + usize::try_from(word(all, offset)?).ok()?);
    let (mut place, strings) = (at(8)?, at(16)?);
    let end = place + usize::try_from(word(all, 12)?).ok()?;
    // The first is no type at all.
    let mut number = 1;
    while place < end {
        let info = word(all, place + 4)?;
        let (kind, count) = (info >> 24 & 0x1f, usize::try_from(info & 0xffff).ok()?);
        if kind == wanted {
            let from = strings + usize::try_from(word(all, place)?).ok()?;
            let found = all.get(from..=from + name.len())?;
            if found.split_last() == Some((&0, name)) {
                return Some(number);
            }
        }
        place += TYPE_LEN + more(kind, count);
        number += 1;
    }
    None
}

/// How many bytes follow a type's own words.
fn more(kind: u32, count: usize) -> usize {
    match kind {
        // Integers, variables, tags.
        1 | 14 | 17 => 4,
        // Arrays.
        3 => 12,
        // Members, places in sections, numbers of 64 bits.
        4 | 5 | 15 | 19 => 12 * count,
        // Numbers, parameters.
        6 | 13 => 8 * count,
        _ => 0,
    }
}

fn word(all: &[u8], at: usize) -> Option<u32> {
    let bytes = all.get(at..at + 4)?;
    bytes.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_found_by_kind_and_name_and_no_other_is() {
        let strings = b"\0int\0call\0calls\0";
        let mut types = Vec::new();
        let mut add = |words: &[u32]| words.iter().for_each(|w| types.extend(w.to_ne_bytes()));
        add(&[1, 1 << 24, 4, 32]);
        add(&[0, 13 << 24 | 1, 1, 0, 1]);
        add(&[10, FUNCTION << 24, 2]);
        add(&[5, FUNCTION << 24, 2]);
        let mut all = vec![0; 4];
        let length = u32::try_from(types.len()).expect("short");
        let after = u32::try_from(strings.len()).expect("short");
        for word in [24, 0, length, length, after] {
            all.extend(u32::to_ne_bytes(word));
        }
        all.extend(types);
        all.extend(strings);
        assert_eq!(search(&all, FUNCTION, b"call"), Some(4));
        assert_eq!(search(&all, FUNCTION, b"calls"), Some(3));
        assert_eq!(search(&all, TYPEDEF, b"call"), None);
        assert_eq!(search(&all, FUNCTION, b"cal"), None);
    }
}
