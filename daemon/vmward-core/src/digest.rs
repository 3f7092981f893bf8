//! SHA-256 in hexadecimal, and the canonical form of JSON that is digested.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// Room for arguments in canonical form; most are shorter.
const CANONICAL_BYTES: usize = 128;

/// SHA-256 of `bytes` as 64 lower-case hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&sha256(bytes))
}

/// SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// A call's arguments, with what is made of them once and told in several places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    map: Map<String, Value>,
    canonical: String,
    digest: String,
}

impl Arguments {
    /// These.
    pub fn new(map: Map<String, Value>) -> Self {
        let canonical = canonical(&map);
        Self {
            digest: sha256_hex(canonical.as_bytes()),
            canonical,
            map,
        }
    }

    /// As the caller gave them.
    pub fn map(&self) -> &Map<String, Value> {
        &self.map
    }

    /// In canonical form (RFC 8785: keys sorted, no white space, numbers as ECMAScript
    /// writes them), so that it does not matter how a client happened to write them.
    /// Whole numbers of up to 64 bits are exact, where the RFC has them rounded to
    /// doubles: what was approved for one must not do for another.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// SHA-256 of the canonical form.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Canonical form and digest.
    pub(crate) fn into_texts(self) -> (String, String) {
        (self.canonical, self.digest)
    }
}

fn canonical(arguments: &Map<String, Value>) -> String {
    let mut text = Vec::with_capacity(CANONICAL_BYTES);
    write_object(arguments, &mut text);
    String::from_utf8(text).unwrap_or_default()
}

/// Two lower-case hexadecimal digits a byte.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let pairs = bytes.iter().map(|byte| [byte >> 4, byte & 15]);
    let digits = pairs.map(|pair| pair.map(|digit| DIGITS[usize::from(digit)]));
    let digits: Vec<[u8; 2]> = digits.collect();
    String::from_utf8(digits.into_flattened()).unwrap_or_default()
}

fn write_object(object: &Map<String, Value>, out: &mut Vec<u8>) {
    let mut members: Vec<(&String, &Value)> = object.iter().collect();
    // RFC 8785 orders by UTF-16 code unit, which differs from byte order for
    // characters outside the basic plane.
    members.sort_unstable_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
    out.push(b'{');
    for (index, (key, value)) in members.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        serde_json::to_writer(&mut *out, key).unwrap_or_default();
        out.push(b':');
        write_value(value, out);
    }
    out.push(b'}');
}

fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(object) => write_object(object, out),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_value(item, out);
            }
            out.push(b']');
        }
        Value::Number(number) if let Some(number) = number.as_f64().filter(|_| number.is_f64()) => {
            out.extend_from_slice(ryu_js::Buffer::new().format(number).as_bytes());
        }
        // The scalars of a value that was read cannot fail to be written.
        scalar => serde_json::to_writer(out, scalar).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn digest(value: &Value) -> String {
        Arguments::new(value.as_object().expect("an object").clone()).digest
    }

    #[test]
    fn known_digest_of_no_arguments() {
        // printf '{}' | sha256sum
        let expected = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(digest(&json!({})), expected);
    }

    #[test]
    fn numbers_are_written_as_the_rfc_has_them() {
        let text = r#"{"a": [333333333.33333329, 1E30, 4.50, 2e-3, 1e-27, 1.0, -0.0, -0, 1e21],
            "b": [9007199254740993, 18446744073709551615, -9223372036854775808]}"#;
        let value: Value = serde_json::from_str(text).unwrap();
        let expected = r#"{"a":[333333333.3333333,1e+30,4.5,0.002,1e-27,1,0,0,1e+21],"b":[9007199254740993,18446744073709551615,-9223372036854775808]}"#;
        assert_eq!(canonical(value.as_object().unwrap()), expected);
    }

    #[test]
    fn order_of_keys_does_not_matter_and_values_do() {
        let one = json!({"identifier": "web-1", "force": true, "x": [{"b": 1, "a": null}]});
        let two = json!({"x": [{"a": null, "b": 1}], "force": true, "identifier": "web-1"});
        let other = json!({"identifier": "web-2", "force": true, "x": [{"b": 1, "a": null}]});
        assert_eq!(digest(&one), digest(&two));
        assert_ne!(digest(&one), digest(&other));
    }
}
