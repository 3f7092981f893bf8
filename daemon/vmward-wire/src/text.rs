//! JSON as text, written member by member.
//!
//! `serde_json` looks at each character of each string. Most strings of an answer
//! or a record need no escape, and somebody waits for them: here they are copied.
//! Whoever writes with this is tested against what `serde_json` writes.

use serde::Serialize;

/// Text that grows. What is not a string goes through `serde_json`.
#[derive(Debug)]
pub struct Text(Vec<u8>);

impl Text {
    /// Empty, with room for so many bytes.
    pub fn with_room(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Writes `text` as it is.
    pub fn copy(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    /// Writes a value. `before`: all up to it.
    pub fn member(&mut self, before: &str, value: &impl Serialize) -> serde_json::Result<()> {
        self.copy(before);
        serde_json::to_writer(&mut self.0, value)
    }

    /// The same where there is a value.
    pub fn optional(
        &mut self,
        before: &str,
        value: Option<&impl Serialize>,
    ) -> serde_json::Result<()> {
        value.map_or(Ok(()), |value| self.member(before, value))
    }

    /// Writes a string. `before`: all up to it, its opening quote included.
    pub fn string(&mut self, before: &str, text: &str) -> serde_json::Result<()> {
        self.copy(before);
        if needs_escape(text) {
            // This writes both quotes.
            self.0.pop();
            return serde_json::to_writer(&mut self.0, text);
        }
        self.copy(text);
        self.copy("\"");
        Ok(())
    }

    /// The same where there is a string.
    pub fn optional_string(
        &mut self,
        before: &str,
        text: Option<&String>,
    ) -> serde_json::Result<()> {
        text.map_or(Ok(()), |text| self.string(before, text))
    }
}

/// Is there a character that stands in no JSON string as it is?
fn needs_escape(text: &str) -> bool {
    // The processor looks at so many bytes together; a space needs no escape.
    let (chunks, rest) = text.as_bytes().as_chunks::<16>();
    let mut last = [b' '; 16];
    last[..rest.len()].copy_from_slice(rest);
    chunks.iter().chain([&last]).any(any_needs_escape)
}

fn any_needs_escape(chunk: &[u8; 16]) -> bool {
    // Without a way out of the loop.
    let found = chunk.iter().fold(0, |found, byte| {
        found | u8::from(*byte < 0x20) | u8::from(*byte == b'"') | u8::from(*byte == b'\\')
    });
    found != 0
}
