//! Values as JSON text, byte for byte as `serde_json` writes it, in a fraction of
//! the time: a decision's record and its answer are written before its caller
//! hears of it.
//!
//! `serde_json` looks at each byte of a string by itself. Here many are looked at
//! once, and where none of them needs an escape, as nearly always, the string is
//! copied as it is. Whatever is rare is left to `serde_json`: strings that need an
//! escape, fractions, and values of a shape that is not known here.
#![forbid(unsafe_code)]

mod text;
mod writer;

use serde::Serialize;
use serde_json::Error;

pub use text::write_str;
use writer::Writer;

/// Writes a value at the end of `out`.
///
/// # Errors
/// As `serde_json::to_writer`; `out` may then end in a part of the text.
pub fn write<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), Error> {
    let start = out.len();
    match value.serialize(Writer { out: &mut *out }) {
        Ok(()) => Ok(()),
        Err(_rare) => {
            out.truncate(start);
            serde_json::to_writer(out, value)
        }
    }
}
