//! What is said of two conditions on one place holds for every value there.

use proptest::prelude::*;
use serde_json::Map;

use super::{super::*, ask, predicate};

/// Few values, so that two conditions are often about the same.
fn value() -> impl Strategy<Value = Value> {
    let texts = ["", "a", "b", "ab", "a.*", "[ab]"];
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..4_i64).prop_map(Value::from),
        proptest::sample::select(vec![0.5, 1.0, 1.5, 2.5]).prop_map(Value::from),
        proptest::sample::select(texts.to_vec()).prop_map(Value::from),
    ]
}

fn condition() -> impl Strategy<Value = Predicate> {
    let list = proptest::collection::vec(value(), 1..4).prop_map(Value::from);
    let operand = prop_oneof![3 => value(), 1 => list];
    let op = proptest::sample::select(Op::ALL.to_vec());
    (op, operand).prop_filter_map("the operator takes the value", |(op, operand)| {
        predicate("args.x", op.name(), Some(&operand)).ok()
    })
}

/// All that is told apart by these conditions, and nothing at all.
fn found() -> Vec<Option<Value>> {
    let mut all = vec![None, Some(Value::Null)];
    all.extend([true, false].map(|truth| Some(truth.into())));
    all.extend((-2..10).map(|half| Some((f64::from(half) / 2.0).into())));
    all.extend((-1..5).map(|whole: i64| Some(whole.into())));
    let texts = ["", "a", "b", "ab", "a.*", "[ab]", "abc", "c"];
    all.extend(texts.map(|text| Some(text.into())));
    let items = [serde_json::json!([]), serde_json::json!(["a"])];
    all.extend(items.map(Some));
    all.extend([serde_json::json!([1, null, true]), serde_json::json!({})].map(Some));
    all
}

fn says(condition: &Predicate, found: Option<&Value>) -> Result<bool, String> {
    let arguments = found.map(|found| ("x".to_owned(), found.clone()));
    ask(condition, &arguments.into_iter().collect::<Map<_, _>>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn what_excludes_each_other_is_never_passed_together(
        one in condition(), other in condition(),
    ) {
        prop_assert_eq!(one.excludes(&other), other.excludes(&one));
        for value in found() {
            let value = value.as_ref();
            let passes = says(&one, value) == Ok(true) && says(&other, value) == Ok(true);
            prop_assert!(!(passes && one.excludes(&other)), "{one:?} {other:?} {value:?}");
            let passes = says(&one, value) == Ok(true) && says(&other, value) == Ok(false);
            prop_assert!(!(passes && one.is_denied_by(&other)), "{one:?} {other:?} {value:?}");
        }
    }

    #[test]
    fn what_others_refute_together_is_never_passed(
        one in condition(), required in proptest::collection::vec(condition(), 0..3),
        denied in proptest::collection::vec(condition(), 0..3),
    ) {
        let (needs, bars): (Vec<_>, Vec<_>) = (required.iter().collect(), denied.iter().collect());
        for value in found() {
            let value = value.as_ref();
            let passes = says(&one, value) == Ok(true)
                && required.iter().all(|other| says(other, value) == Ok(true))
                && denied.iter().all(|other| says(other, value) == Ok(false));
            prop_assert!(!(passes && one.is_refuted_by(&needs, &bars)), "{one:?} {value:?}");
        }
    }
}
