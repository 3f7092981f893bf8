//! Bytes to lines to JSON values, without IO.
//!
//! A frame is one line of JSON. Whatever is on the other side may be hostile,
//! so a line is bounded before it is buffered, and a value that two JSON
//! readers could understand differently is refused: what vmward judged is then
//! what everybody else sees.

use std::{collections::VecDeque, fmt};

use serde::{
    Deserialize, Serialize,
    de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value, map::Entry};

/// The longest line on the policy socket, its line feed not counted.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Room for the members of an object; most have fewer.
const MEMBERS: usize = 8;
/// Room for a line to send; most answers are shorter. Pieces of up to 1032 bytes
/// are those that an allocator has at hand.
pub(crate) const ANSWER_BYTES: usize = 1000;
/// The deepest nesting of arrays and objects.
pub const DEPTH_MAX: usize = 32;
/// 2 to the 63rd: from here on integers are rounded.
const EXACT_MAX: f64 = 9_223_372_036_854_775_808.0;

/// Why bytes are no frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The line is too long. The rest of the stream cannot be trusted.
    #[error("Line longer than {max} bytes")]
    TooLong {
        /// The bound.
        max: usize,
    },
    /// The text is not UTF-8.
    #[error("Not UTF-8 from byte {at} on")]
    Utf8 {
        /// Bytes that were fine.
        at: usize,
    },
    /// The text starts with a byte order mark.
    #[error("Byte order mark at the start: send plain UTF-8")]
    ByteOrderMark,
    /// The text is no JSON, nests too deep, or repeats a key.
    #[error("Not acceptable as JSON: {reason}")]
    Json {
        /// What and where.
        reason: String,
    },
}

/// Cuts a stream of bytes into lines.
#[derive(Debug)]
pub struct FrameDecoder {
    max: usize,
    partial: Vec<u8>,
    lines: VecDeque<Vec<u8>>,
    broken: bool,
}

impl Default for FrameDecoder {
    fn default() -> Self {
        Self::new(FRAME_BYTES_MAX)
    }
}

impl FrameDecoder {
    /// A decoder that refuses lines of more than `max` bytes.
    pub fn new(max: usize) -> Self {
        Self {
            max,
            partial: Vec::new(),
            lines: VecDeque::new(),
            broken: false,
        }
    }

    /// Takes the next bytes of the stream. After an error the lines that were
    /// complete before it are still there, and every later push fails: where a
    /// too long line ends is not worth guessing.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), FrameError> {
        while !self.broken {
            let end = memchr::memchr(b'\n', bytes);
            let piece = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
            if self.partial.len().saturating_add(piece.len()) > self.max {
                self.broken = true;
                self.partial = Vec::new();
                break;
            }
            self.partial.extend_from_slice(piece);
            let Some(end) = end else { return Ok(()) };
            let line = std::mem::take(&mut self.partial);
            // Empty lines are a common way to flush; they mean nothing.
            if !line.iter().all(u8::is_ascii_whitespace) {
                self.lines.push_back(line);
            }
            bytes = bytes.get(end.saturating_add(1)..).unwrap_or_default();
        }
        Err(FrameError::TooLong { max: self.max })
    }

    /// The oldest complete line, without its line feed.
    pub fn next_line(&mut self) -> Option<Vec<u8>> {
        self.lines.pop_front()
    }

    /// True when the stream stopped in the middle of a line.
    pub fn has_partial(&self) -> bool {
        !self.partial.is_empty()
    }
}

/// Reads one line as JSON, strictly: UTF-8 without byte order mark, no key
/// twice in one object, nesting of at most [`DEPTH_MAX`].
pub fn parse(line: &[u8]) -> Result<Value, FrameError> {
    let text = std::str::from_utf8(line).map_err(|error| FrameError::Utf8 {
        at: error.valid_up_to(),
    })?;
    if text.starts_with('\u{feff}') {
        return Err(FrameError::ByteOrderMark);
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Strict::below(0)
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| FrameError::Json {
            reason: error.to_string(),
        })
}

/// Writes a message as one line, with its line feed. JSON text holds no raw
/// line feed, so the frame is always one line.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut bytes = Vec::with_capacity(ANSWER_BYTES);
    serde_json::to_writer(&mut bytes, message).map_err(|error| FrameError::Json {
        reason: error.to_string(),
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads any JSON value, refusing repeated keys and deep nesting.
#[derive(Clone, Copy)]
pub(crate) struct Strict {
    depth_left: usize,
}

impl Strict {
    /// For a value so many objects and arrays below the line's own.
    pub(crate) fn below(depth: usize) -> Self {
        Self {
            depth_left: DEPTH_MAX.saturating_sub(depth),
        }
    }

    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left }),
            None => Err(E::custom(format_args!("nested deeper than {DEPTH_MAX}"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        // An integer that fits no machine word also comes here, rounded: another
        // reader would take it for another number.
        if value.abs() >= EXACT_MAX {
            return Err(E::custom("number out of range"));
        }
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::with_capacity(MEMBERS);
        while let Some(key) = entries.next_key::<Key>()? {
            match object.entry(key.0) {
                Entry::Occupied(taken) => {
                    let quoted = Value::from(taken.key().as_str());
                    return Err(A::Error::custom(format_args!("key {quoted} appears twice")));
                }
                Entry::Vacant(free) => {
                    free.insert(entries.next_value_seed(inner)?);
                }
            }
        }
        Ok(Value::Object(object))
    }
}

#[derive(Deserialize)]
struct Key(String);

#[cfg(test)]
mod tests;
