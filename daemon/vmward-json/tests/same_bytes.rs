//! Whatever the value is, its text is what `serde_json` writes.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Serialize;
use serde_json::Value;

#[track_caller]
fn check<T: Serialize + ?Sized>(value: &T) {
    let mut text = b"before".to_vec();
    vmward_json::write(&mut text, value).expect("it has a text");
    let expected = serde_json::to_vec(value).expect("it has a text");
    let expected = [b"before", expected.as_slice()].concat();
    assert_eq!(
        String::from_utf8_lossy(&text),
        String::from_utf8_lossy(&expected)
    );
}

#[derive(Serialize)]
struct Unit;

#[derive(Serialize)]
struct New(u8);

#[derive(Serialize)]
struct Pair(u8, i64);

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Any {
    Unit,
    New(u8),
    Tuple(u8, u8),
    Struct { a: u8 },
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Tagged {
    One(Flat),
}

#[derive(Serialize)]
struct Flat {
    #[serde(skip_serializing_if = "Option::is_none")]
    absent: Option<u8>,
    #[serde(flatten)]
    inner: BTreeMap<String, i64>,
    last: Option<bool>,
}

#[test]
fn every_shape_that_serde_knows() {
    check(&(Unit, New(7), Pair(1, -1), 'c', "text", ()));
    check(&[
        Any::Unit,
        Any::New(1),
        Any::Tuple(1, 2),
        Any::Struct { a: 1 },
    ]);
    check(&Tagged::One(Flat {
        absent: None,
        inner: BTreeMap::from([("a".to_owned(), i64::MIN)]),
        last: Some(true),
    }));
    check(&BTreeMap::from([(1, "numbers"), (2, "as keys")]));
    check(&BTreeMap::from([(true, 1)]));
    check(&(
        u64::MAX,
        i64::MIN,
        u128::MAX,
        i128::MIN,
        0.1_f32,
        1e300,
        f64::NAN,
    ));
    check(&BTreeMap::<String, u8>::new());
    check::<[u8]>(&[]);
}

#[test]
fn what_has_no_text_is_an_error_here_as_well() {
    let value = BTreeMap::from([(vec![1], "a list is no key")]);
    assert!(serde_json::to_vec(&value).is_err());
    assert!(vmward_json::write(&mut Vec::new(), &value).is_err());
}

#[test]
fn every_byte_at_every_place() {
    for byte in 0..=0x7f_u8 {
        for before in 0..20 {
            for after in [0, 1, 7, 8, 9] {
                let text = "\u{e9}".repeat(before) + char::from(byte).encode_utf8(&mut [0; 4]);
                check(&(text + &"z".repeat(after)));
            }
        }
    }
}

fn value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
        "[ -~]*".prop_map(Value::from),
    ];
    scalar.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(".*", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_value(value in value()) {
        check(&value);
    }
}
