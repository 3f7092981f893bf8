//! SHA-256 in hexadecimal, and the canonical form of JSON that is digested.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// SHA-256 of `bytes` as 64 lower-case hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&sha256(bytes))
}

/// SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// SHA-256 of a call's arguments in canonical form (keys sorted, no white
/// space, as RFC 8785 does it), so that the order in which a client happened to
/// write them does not matter.
pub fn args_digest(arguments: &Map<String, Value>) -> String {
    sha256_hex(canonical(arguments).as_bytes())
}

/// A call's arguments in canonical form.
pub fn canonical(arguments: &Map<String, Value>) -> String {
    let mut text = String::new();
    write_object(arguments, &mut text);
    text
}

/// Two lower-case hexadecimal digits a byte.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)]);
        text.push(DIGITS[usize::from(byte & 15)]);
    }
    text
}

fn write_object(object: &Map<String, Value>, out: &mut String) {
    let mut keys: Vec<&String> = object.keys().collect();
    // RFC 8785 orders by UTF-16 code unit, which differs from byte order for
    // characters outside the basic plane.
    keys.sort_by_cached_key(|key| key.encode_utf16().collect::<Vec<u16>>());
    out.push('{');
    for (index, key) in keys.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(&Value::from(key.as_str()).to_string());
        out.push(':');
        write_value(&object[key], out);
    }
    out.push('}');
}

fn write_value(value: &Value, out: &mut String) {
    match value {
        Value::Object(object) => write_object(object, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(item, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn digest(value: &Value) -> String {
        args_digest(value.as_object().expect("an object"))
    }

    #[test]
    fn known_digest_of_no_arguments() {
        // printf '{}' | sha256sum
        let expected = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(digest(&json!({})), expected);
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
