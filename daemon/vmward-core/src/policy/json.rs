//! A strict JSON reader that remembers where everything stands.
//!
//! `serde_json` keeps neither duplicate keys nor places, and both decide whether a
//! policy means what its author reads in it. Stricter than RFC 8259 where the
//! RFC leaves room: no duplicate keys, no lone surrogates, bounded depth.

mod pointer;

use std::collections::BTreeSet;

use super::error::Finding;

/// Longest text that a message repeats, in characters.
const SHOWN_CHARS_MAX: usize = 64;
/// Deepest nesting. The language needs six; a schema of arguments nests as deep
/// as the arguments do.
const DEPTH_MAX: usize = 32;

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A JSON value. Numbers stay text: what they may be depends on their place.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(String),
    String(String),
    Array(Vec<Node>),
    Object(Vec<Member>),
}

/// A member of an object; the key's place is its own.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) key: String,
    pub(super) key_start: usize,
    pub(super) key_end: usize,
    pub(super) node: Node,
}

impl Value {
    /// What it is, with an article.
    pub(super) fn kind(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(text) => format!("the number {text}"),
            Self::String(text) if text.chars().count() > SHOWN_CHARS_MAX => {
                let start: String = text.chars().take(SHOWN_CHARS_MAX).collect();
                format!("a string that begins with {start:?}")
            }
            Self::String(text) => format!("the string {text:?}"),
            Self::Array(_) => "an array".to_owned(),
            Self::Object(_) => "an object".to_owned(),
        }
    }
}

/// Reads one value and nothing after it. A syntax error ends the reading: what
/// follows it can only be guessed. Duplicate keys do not, and go to `findings`.
pub(super) fn read(text: &str, findings: &mut Vec<Finding>) -> Result<Node, Finding> {
    if text.starts_with('\u{feff}') {
        let help = "save the file as UTF-8 without a byte order mark";
        return Err(finding(
            0,
            3,
            "the text begins with a byte order mark",
            Some(help),
        ));
    }
    let mut reader = Reader {
        text,
        at: 0,
        findings,
    };
    reader.skip_space();
    let node = reader.value(0)?;
    reader.skip_space();
    if reader.at < text.len() {
        let help = "a policy is exactly one JSON object";
        let message = "there is more text after the end of the policy";
        return Err(finding(reader.at, text.len(), message, Some(help)));
    }
    Ok(node)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    findings: &'a mut Vec<Finding>,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn peek_char(&self) -> Option<char> {
        self.text
            .get(self.at..)
            .and_then(|rest| rest.chars().next())
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// An error at the next character.
    fn unexpected(&self, wanted: &str) -> Finding {
        let (found, width) = match self.peek_char() {
            None => ("the end of the text".to_owned(), 0),
            Some(character) => (format!("{character:?}"), character.len_utf8()),
        };
        let help = match self.peek_char() {
            Some('/' | '#') => Some("JSON has no comments"),
            Some('\'') => Some("JSON strings stand in double quotes"),
            _ => None,
        };
        let message = format!("expected {wanted}, found {found}");
        finding(self.at, self.at + width, &message, help)
    }

    fn value(&mut self, depth: usize) -> Result<Node, Finding> {
        let start = self.at;
        if depth > DEPTH_MAX {
            let message = format!("nested deeper than {DEPTH_MAX} levels");
            return Err(finding(start, start + 1, &message, None));
        }
        let value = match self.peek() {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b'"') => Value::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => self.word()?,
        };
        Ok(Node {
            value,
            start,
            end: self.at,
        })
    }

    fn object(&mut self, depth: usize) -> Result<Value, Finding> {
        let mut members: Vec<Member> = Vec::new();
        let mut keys = BTreeSet::new();
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(members));
        }
        loop {
            let key_start = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("a key in double quotes"));
            }
            let key = self.string()?;
            let key_end = self.at;
            self.skip_space();
            if self.peek() != Some(b':') {
                return Err(self.unexpected("':' after the key"));
            }
            self.at += 1;
            self.skip_space();
            let node = self.value(depth + 1)?;
            if keys.insert(key.clone()) {
                members.push(Member {
                    key,
                    key_start,
                    key_end,
                    node,
                });
            } else {
                let message = format!("the key {key:?} is there twice");
                let help = "keep one of the two; programs disagree about which one counts";
                self.findings
                    .push(finding(key_start, key_end, &message, Some(help)));
            }
            if self.ends_with(b'}', "',' or '}' after the value")? {
                return Ok(Value::Object(members));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, Finding> {
        let mut items = Vec::new();
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.ends_with(b']', "',' or ']' after the value")? {
                return Ok(Value::Array(items));
            }
        }
    }

    /// After a value: true at the end, false when another one follows.
    fn ends_with(&mut self, end: u8, wanted: &str) -> Result<bool, Finding> {
        self.skip_space();
        match self.peek() {
            Some(b',') => {
                let comma = self.at;
                self.at += 1;
                self.skip_space();
                if self.peek() == Some(end) {
                    let end = char::from(end);
                    let message = format!("a trailing comma: only {end:?} follows it");
                    let help = "remove the comma; JSON has them between values only";
                    return Err(finding(comma, comma + 1, &message, Some(help)));
                }
                Ok(false)
            }
            Some(byte) if byte == end => {
                self.at += 1;
                Ok(true)
            }
            _ => Err(self.unexpected(wanted)),
        }
    }

    fn word(&mut self) -> Result<Value, Finding> {
        let words = [
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
        ];
        for (word, value) in words {
            if self.text[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.unexpected("a value"))
    }

    fn number(&mut self) -> Result<Value, Finding> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
            if matches!(self.peek(), Some(b'0'..=b'9')) {
                return Err(finding(
                    start,
                    self.at + 1,
                    "a number must not begin with 0",
                    None,
                ));
            }
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Value::Number(self.text[start..self.at].to_owned()))
    }

    fn digits(&mut self) -> Result<(), Finding> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.unexpected("a digit"));
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        Ok(())
    }

    fn string(&mut self) -> Result<String, Finding> {
        let start = self.at;
        let mut text = String::new();
        self.at += 1;
        loop {
            match self.peek_char() {
                None | Some('\n') => {
                    return Err(finding(
                        start,
                        self.at,
                        "the string has no closing quote",
                        None,
                    ));
                }
                Some('"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some('\\') => text.push(self.escape()?),
                Some(character) if character < ' ' => {
                    let message = format!("the control character {character:?} stands in a string");
                    let help = format!("write it as \\u{:04x}", u32::from(character));
                    return Err(finding(self.at, self.at + 1, &message, Some(&help)));
                }
                Some(character) => {
                    text.push(character);
                    self.at += character.len_utf8();
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, Finding> {
        let start = self.at;
        self.at += 1;
        let Some(character) = self.peek_char() else {
            return Err(finding(
                start,
                self.at,
                "the string ends in the middle of an escape",
                None,
            ));
        };
        self.at += character.len_utf8();
        let plain = match character {
            '"' | '\\' | '/' => character,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.unicode(start),
            other => {
                let message = format!("\\{other} is no escape of JSON");
                let help = "a backslash itself is written \\\\";
                return Err(finding(start, self.at, &message, Some(help)));
            }
        };
        Ok(plain)
    }

    /// The rest of `\uXXXX`, with the second half of a surrogate pair.
    fn unicode(&mut self, start: usize) -> Result<char, Finding> {
        let mut code = self.hex4(start)?;
        if (0xd800..0xdc00).contains(&code) && self.text[self.at..].starts_with("\\u") {
            self.at += 2;
            let low = self.hex4(start)?;
            // Any other value makes an invalid code point, reported below.
            let low = low.checked_sub(0xdc00).filter(|low| *low < 0x400);
            code = low.map_or(0xd800, |low| 0x1_0000 + (code - 0xd800) * 0x400 + low);
        }
        char::from_u32(code).ok_or_else(|| {
            finding(
                start,
                self.at,
                "half of a surrogate pair stands alone",
                None,
            )
        })
    }

    fn hex4(&mut self, start: usize) -> Result<u32, Finding> {
        let digits = self.text.get(self.at..self.at + 4).unwrap_or("");
        if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let message = "\\u needs four hexadecimal digits";
            return Err(finding(start, self.at, message, None));
        }
        self.at += 4;
        u32::from_str_radix(digits, 16)
            .map_err(|error| finding(start, self.at, &error.to_string(), None))
    }
}

fn finding(start: usize, end: usize, message: &str, help: Option<&str>) -> Finding {
    Finding {
        start,
        end,
        message: message.to_owned(),
        help: help.map(ToOwned::to_owned),
    }
}
