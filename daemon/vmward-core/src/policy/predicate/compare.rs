//! Values that are compared: exactly, and only with their own kind.

use std::cmp::Ordering;

use serde_json::{Number, Value};

/// Beyond this a whole number may not fit `i128`; no JSON integer comes near.
const WHOLE_MAX: f64 = 1e38;

/// What a value is, with an article, for a message.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

pub(super) fn is_scalar(value: &Value) -> bool {
    !matches!(value, Value::Array(_) | Value::Object(_))
}

/// Are two scalars the same? Numbers by their value: 1 is 1.0.
pub(super) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => order(one, other) == Some(Ordering::Equal),
        _ => one == other,
    }
}

/// Compares two numbers by their exact value, whichever way each is stored: as
/// `f64` alone, 2^53 and 2^53 + 1 would be one number.
pub(super) fn order(one: &Number, other: &Number) -> Option<Ordering> {
    key(one)?.partial_cmp(&key(other)?)
}

/// The whole part, and what is left of it. Both parts are exact, and larger
/// numbers have larger keys.
fn key(number: &Number) -> Option<(i128, f64)> {
    if let Some(whole) = number.as_i128() {
        return Some((whole, 0.0));
    }
    let float = number.as_f64()?;
    if float.abs() >= WHOLE_MAX {
        // Not split: every such number is whole.
        let end = if float > 0.0 { i128::MAX } else { i128::MIN };
        return Some((end, float));
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "truncation is what is wanted, and the range is checked above"
    )]
    let whole = float as i128;
    Some((whole, float.fract()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn compare(one: &Value, other: &Value) -> Option<Ordering> {
        match (one, other) {
            (Value::Number(one), Value::Number(other)) => order(one, other),
            _ => None,
        }
    }

    #[test]
    fn numbers_are_in_their_exact_order_however_they_are_stored() {
        // Each is less than the next.
        let rising = [
            json!(f64::MIN),
            json!(-1e39),
            json!(-1e38),
            json!(i64::MIN),
            json!(-9_007_199_254_740_993_i64),
            json!(-9_007_199_254_740_992.0),
            json!(-1.5),
            json!(-1),
            json!(-0.5),
            json!(-1e-300),
            json!(0),
            json!(1e-300),
            json!(0.5),
            json!(1.0),
            json!(1.5),
            json!(9_007_199_254_740_992.0),
            json!(9_007_199_254_740_993_i64),
            json!(i64::MAX),
            json!(u64::MAX),
            json!(18_446_744_073_709_551_616.0),
            json!(1e39),
            json!(f64::MAX),
        ];
        for (index, one) in rising.iter().enumerate() {
            for (other_index, other) in rising.iter().enumerate() {
                let expected = Some(index.cmp(&other_index));
                assert_eq!(compare(one, other), expected, "{one} {other}");
            }
        }
    }

    #[test]
    fn the_same_number_is_the_same_in_any_spelling() {
        assert!(same(&json!(1), &json!(1.0)));
        assert!(same(&json!(0), &json!(-0.0)));
        assert!(same(&json!(-3), &json!(-3.0)));
        assert!(!same(
            &json!(9_007_199_254_740_993_i64),
            &json!(9_007_199_254_740_992.0)
        ));
        assert!(!same(&json!(1), &json!("1")));
    }

    proptest! {
        #[test]
        fn the_order_has_no_contradiction(
            one in prop_oneof![any::<i64>().prop_map(|n| json!(n)), (-1e20..1e20).prop_map(|n: f64| json!(n))],
            other in prop_oneof![any::<u64>().prop_map(|n| json!(n)), (-4.0..4.0).prop_map(|n: f64| json!(n))],
        ) {
            let forward = compare(&one, &other);
            prop_assert!(forward.is_some());
            prop_assert_eq!(forward, compare(&other, &one).map(Ordering::reverse));
            prop_assert_eq!(same(&one, &other), forward == Some(Ordering::Equal));
        }
    }
}
