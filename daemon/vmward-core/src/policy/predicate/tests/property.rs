//! Any condition on any JSON.

use proptest::prelude::*;
use serde_json::Map;

use super::{super::*, ask, holds, predicate};

/// Any JSON value, a few levels deep.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        "[a-c.*+?()|\\[\\]{}^$0-3]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec(("[x-z]", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// Whatever a call holds, there is an answer and no panic; and what is asked
    /// the other way round is answered the other way round.
    #[test]
    fn a_condition_has_an_answer_for_any_json(
        op in proptest::sample::select(Op::ALL.to_vec()),
        value in any_json(),
        found in any_json(),
    ) {
        let Ok(predicate) = predicate("args.x", op.name(), Some(&value)) else {
            return Ok(());
        };
        let arguments = Map::from_iter([("x".to_owned(), found.clone())]);
        let answer = ask(&predicate, &arguments);
        let opposite = match op {
            Op::Eq => Some("neq"),
            Op::In => Some("not_in"),
            Op::Lt => Some("gte"),
            Op::Gt => Some("lte"),
            _ => None,
        };
        if let Some(opposite) = opposite {
            let other = holds(opposite, &value, Some(found));
            prop_assert_eq!(answer.ok(), other.ok().map(|holds| !holds));
        }
    }
}
