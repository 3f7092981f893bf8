//! The names of things: VMs, processes, decisions.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// A libvirt domain's UUID: the identity of a VM. Names can be reused, this not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VmUuid([u8; 16]);

/// The text is not a UUID.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is not a UUID; one looks like 6695eb01-f6a4-8304-79aa-97f2502e193f")]
pub struct VmUuidError {
    text: String,
}

impl VmUuid {
    /// Stands for the host where no VM is meant, or all of them are.
    pub const HOST: Self = Self([0xff; 16]);

    /// The UUID with these bytes, in the order in which they are written.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The UUID that a caller means who names a VM by it, in every spelling that a
    /// hypervisor's tools may take for one: as libvirt reads it, in either case,
    /// with hyphens or without and with white space around it, and also in braces
    /// or after `urn:uuid:`.
    pub fn named(name: &str) -> Option<Self> {
        // No spelling is longer, and what is longer need not be looked at.
        if name.len() > 256 {
            return None;
        }
        let text = bare(name);
        let text = match text.split_at_checked(URN.len()) {
            Some((urn, text)) if urn.eq_ignore_ascii_case(URN) => text,
            _ => text,
        };
        let inner = text
            .strip_prefix('{')
            .and_then(|text| text.strip_suffix('}'));
        let digits = inner.unwrap_or(text).bytes().filter(|byte| *byte != b'-');
        let mut bytes = [0; 16];
        let mut nibbles = 0;
        for digit in digits {
            let value = u8::try_from(char::from(digit).to_digit(16)?).ok()?;
            let byte: &mut u8 = bytes.get_mut(nibbles / 2)?;
            *byte = *byte << 4 | value;
            nibbles += 1;
        }
        (nibbles == 32).then_some(Self(bytes))
    }

    /// The bytes, in the order in which they are written.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

const URN: &str = "urn:uuid:";

/// A name without the white space and control characters around it.
fn bare(name: &str) -> &str {
    name.trim_matches(|character: char| character.is_whitespace() || character.is_control())
}

/// Can a VM that nobody knows be judged by this name? Not with white space or
/// control characters at its ends: a hypervisor's tool may leave them out, and
/// then stops a VM that the policy has not judged. A UUID is read without them.
pub fn is_plain_name(name: &str) -> bool {
    bare(name) == name || VmUuid::named(name).is_some()
}

impl FromStr for VmUuid {
    type Err = VmUuidError;

    fn from_str(text: &str) -> Result<Self, VmUuidError> {
        // Cut long garbage: the error travels to the caller and into the log.
        let error = || VmUuidError {
            text: text.chars().take(64).collect(),
        };
        if text.len() != 36 {
            return Err(error());
        }
        let mut bytes = [0; 16];
        let mut nibbles = 0;
        for (position, character) in text.chars().enumerate() {
            match (position, character) {
                (8 | 13 | 18 | 23, '-') => {}
                (8 | 13 | 18 | 23, _) => return Err(error()),
                (_, digit) => {
                    let value = digit.to_digit(16).ok_or_else(error)?;
                    let value = u8::try_from(value).map_err(|_impossible| error())?;
                    let byte: &mut u8 = bytes.get_mut(nibbles / 2).ok_or_else(error)?;
                    *byte = *byte << 4 | value;
                    nibbles += 1;
                }
            }
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for VmUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl Serialize for VmUuid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VmUuid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// A process, so that a reused pid is not mistaken for it: the process cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Process {
    /// Thread group id in the initial pid namespace.
    pub pid: u32,
    /// Start time after boot in clock ticks: field 22 of `/proc/PID/stat`.
    pub start_ticks: u64,
}

impl Process {
    /// Stands for the host where no VM's process is meant: what holds of it holds
    /// as long as the host runs.
    pub const HOST: Self = Self {
        pid: 0,
        start_ticks: 0,
    };
}

/// Names a decision in the audit, and its lease, where it has one. Rises by one
/// and is never used twice on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DecisionId(pub u64);

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "6695eb01-f6a4-8304-79aa-97f2502e193f";

    #[test]
    fn uuid_reads_any_case_and_prints_lower_case() {
        let uuid: VmUuid = TEXT.to_uppercase().parse().expect("a UUID");
        assert_eq!(uuid.to_string(), TEXT);
        assert_eq!(uuid.as_bytes()[..3], [0x66, 0x95, 0xeb]);
        assert_eq!(
            serde_json::to_string(&uuid).expect("JSON"),
            format!("\"{TEXT}\"")
        );
    }

    #[test]
    fn a_vm_is_named_by_every_spelling_of_its_uuid() {
        let uuid = TEXT.parse().ok();
        let bare = TEXT.replace('-', "");
        for name in [
            TEXT,
            &bare,
            &bare.to_uppercase(),
            &format!(" \t{TEXT}\n"),
            &format!("{{{TEXT}}}"),
            &format!("{{{bare}}}\0"),
            &format!("URN:uuid:{TEXT}"),
            "66-95-eb01f6a4-8304-79aa-97f2502e193f",
        ] {
            assert_eq!(VmUuid::named(name), uuid, "{name:?}");
            assert!(is_plain_name(name), "{name:?}");
        }
        for name in [
            "",
            "web-1",
            &bare[1..],
            &format!("{bare}0"),
            &format!("{{{bare}"),
        ] {
            assert_eq!(VmUuid::named(name), None, "{name:?}");
            assert!(is_plain_name(name), "{name:?}");
        }
        for name in [" web-1", "web-1\n", "\u{a0}web-1", "web-1\0"] {
            assert!(!is_plain_name(name), "{name:?}");
        }
    }

    #[test]
    fn uuid_of_any_other_shape_is_refused() {
        let no_hyphens = TEXT.replace('-', "");
        let moved_hyphen = "6695eb0-1f6a4-8304-79aa-97f2502e193f";
        let bad_digit = TEXT.replace('f', "g");
        let plus = "+695eb01-f6a4-8304-79aa-97f2502e193f";
        let wide = "6695eb01-f6a4-8304-79aa-97f2502e19é";
        for text in [
            "",
            &no_hyphens,
            moved_hyphen,
            &bad_digit,
            plus,
            wide,
            &format!("{TEXT} "),
        ] {
            assert!(text.parse::<VmUuid>().is_err(), "{text}");
        }
    }
}
