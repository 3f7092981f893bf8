//! What each operator means for every kind of value.

mod load;
mod pair;
mod property;

use std::collections::BTreeMap;

use serde_json::{Map, json};

use super::*;
use crate::policy::facts::{CallerFacts, VmFacts};

fn predicate(path: &str, op: &str, value: Option<&Value>) -> Result<Predicate, PredicateError> {
    let path = Path::parse(path).expect("a path");
    Predicate::new("/tools/t/require/0".to_owned(), path, op, value, None)
}

/// Asks of a call with these arguments.
fn ask(predicate: &Predicate, arguments: &Map<String, Value>) -> Result<bool, String> {
    let labels = BTreeMap::new();
    let facts = Facts {
        tool: "t",
        server: None,
        effect: None,
        arguments,
        vm: Some(VmFacts {
            uuid: None,
            name: "db-1",
            labels: &labels,
        }),
        caller: CallerFacts {
            grant: "uid:1000",
            uid: 1000,
            unit: None,
            exe: None,
            agent: None,
        },
    };
    predicate.holds(&facts, &Work::default())
}

/// `args.x OP value` where `x` is `found`, or missing where that is nothing.
fn holds(op: &str, value: &Value, found: Option<Value>) -> Result<bool, String> {
    let predicate = predicate("args.x", op, Some(value)).expect("a condition");
    let arguments = found.map(|found| ("x".to_owned(), found));
    ask(&predicate, &arguments.into_iter().collect())
}

#[track_caller]
fn check(op: &str, value: &Value, cases: &[(Value, bool)]) {
    for (found, expected) in cases {
        let answer = holds(op, value, Some(found.clone()));
        assert_eq!(answer, Ok(*expected), "{found} {op} {value}");
    }
}

/// The operator means nothing for these, whichever way it is asked.
#[track_caller]
fn check_errors(op: &str, value: &Value, found: &[Value], message: &str) {
    for found in found {
        let answer = holds(op, value, Some(found.clone()));
        assert!(answer.is_err(), "{found} {op} {value}: {answer:?}");
    }
    let first = holds(op, value, found.first().cloned());
    assert_eq!(first, Err(message.to_owned()));
}

#[test]
fn equality_is_of_one_type_and_numbers_are_exact() {
    check(
        "eq",
        &json!("dev"),
        &[(json!("dev"), true), (json!("Dev"), false)],
    );
    check("eq", &json!(1), &[(json!(1.0), true), (json!(2), false)]);
    check(
        "neq",
        &json!(true),
        &[(json!(true), false), (json!(false), true)],
    );
    check("neq", &json!(true), &[(json!(null), true)]);
    check(
        "eq",
        &json!(null),
        &[(json!(null), true), (json!("x"), false)],
    );
}

#[test]
fn a_flag_cannot_be_dodged_by_a_value_that_servers_read_as_the_same() {
    check_errors(
        "neq",
        &json!(true),
        &[
            json!("true"),
            json!("yes"),
            json!(1),
            json!([true]),
            json!({}),
        ],
        "args.x is a string, but \"neq\" takes true or false",
    );
    check_errors(
        "eq",
        &json!("prod-db"),
        &[json!(7), json!(["prod-db"])],
        "args.x is a number, but \"eq\" takes a string",
    );
    check_errors(
        "not_in",
        &json!(["a", 1]),
        &[json!(true), json!([])],
        "args.x is true or false, but \"not_in\" takes a string or a number",
    );
}

#[test]
fn membership_looks_at_every_value() {
    let values = json!(["a", "b", 3, null]);
    check(
        "in",
        &values,
        &[
            (json!("b"), true),
            (json!(3.0), true),
            (json!(null), true),
            (json!("c"), false),
            (json!(4), false),
        ],
    );
    check(
        "not_in",
        &values,
        &[(json!("c"), true), (json!("a"), false)],
    );
}

#[test]
fn bounds_take_numbers_only() {
    let ten = json!(10);
    for (op, below, at, above) in [
        ("lt", true, false, false),
        ("lte", true, true, false),
        ("gt", false, false, true),
        ("gte", false, true, true),
    ] {
        check(
            op,
            &ten,
            &[
                (json!(9.999), below),
                (json!(-1), below),
                (json!(10.0), at),
                (json!(10), at),
                (json!(10.001), above),
                (json!(u64::MAX), above),
            ],
        );
        check_errors(
            op,
            &ten,
            &[
                json!("9"),
                json!(null),
                json!(true),
                json!([9]),
                json!({"n": 9}),
            ],
            &format!("args.x is a string, but {op:?} takes a number"),
        );
    }
    assert_eq!(
        holds(
            "gt",
            &json!(9_007_199_254_740_992_i64),
            Some(json!(9_007_199_254_740_993_i64))
        ),
        Ok(true)
    );
}

/// D14: an unanchored pattern lets `prod-dev-1` through as a dev machine.
#[test]
fn d14_a_pattern_is_for_the_whole_text() {
    let pattern = json!("dev-[0-9]+");
    check(
        "regex",
        &pattern,
        &[
            (json!("dev-12"), true),
            (json!("prod-dev-12"), false),
            (json!("dev-12-prod"), false),
            (json!("dev-12\n"), false),
            (json!("\ndev-12"), false),
        ],
    );
    // Neither choices nor flags lift the anchors.
    check(
        "regex",
        &json!("a|b"),
        &[
            (json!("a"), true),
            (json!("ax"), false),
            (json!("xb"), false),
        ],
    );
    check(
        "regex",
        &json!("(?m)^a$"),
        &[(json!("a"), true), (json!("x\na"), false)],
    );
    check(
        "regex",
        &json!("(?is)DEV.*"),
        &[(json!("dev\n1"), true), (json!("xdev"), false)],
    );
    check_errors(
        "regex",
        &pattern,
        &[json!(12), json!(null), json!(["dev-1"])],
        "args.x is a number, but \"regex\" takes a string",
    );
}

#[test]
fn contains_looks_into_strings_and_arrays() {
    check(
        "contains",
        &json!("prod"),
        &[
            (json!("my-prod-db"), true),
            (json!("my-dev-db"), false),
            (json!(["dev", "prod"]), true),
            (json!(["my-prod-db"]), false),
            (json!([]), false),
            (json!([7, "prod"]), true),
        ],
    );
    check(
        "contains",
        &json!(2),
        &[(json!([1, 2.0]), true), (json!([1]), false)],
    );
    check_errors(
        "contains",
        &json!("prod"),
        &[json!(7), json!(null), json!({"prod": 1}), json!([7])],
        "args.x is a number, but \"contains\" takes a string or an array",
    );
    check_errors(
        "contains",
        &json!(7),
        &[json!("7")],
        "args.x is a string, but \"contains\" takes an array",
    );
    assert_eq!(
        holds("contains", &json!("prod"), Some(json!(["dev", ["prod"]]))),
        Err(
            "args.x is an array with an array in it, but \"contains\" looks for a string"
                .to_owned()
        )
    );
}

#[test]
fn what_is_missing_is_equal_to_nothing_and_below_and_above_nothing() {
    for (op, value, expected) in [
        ("eq", json!(null), false),
        ("neq", json!("x"), true),
        ("in", json!([null]), false),
        ("not_in", json!(["x"]), true),
        ("lt", json!(1), false),
        ("lte", json!(1), false),
        ("gt", json!(1), false),
        ("gte", json!(1), false),
        ("regex", json!(".*"), false),
        ("contains", json!("x"), false),
        ("exists", json!(true), false),
        ("exists", json!(false), true),
    ] {
        assert_eq!(holds(op, &value, None), Ok(expected), "{op} {value}");
    }
}

#[test]
fn exists_needs_no_value_and_null_is_there() {
    let there = predicate("args.x", "exists", None).expect("a condition");
    let null = json!({"x": null});
    assert_eq!(ask(&there, null.as_object().expect("object")), Ok(true));
    assert_eq!(ask(&there, &Map::new()), Ok(false));
    check("exists", &json!(false), &[(json!(0), false)]);
}

#[test]
fn the_vm_and_the_caller_can_be_asked_about() {
    for (path, op, value, expected) in [
        ("vm.name", "regex", json!("db-.*"), true),
        ("vm.uuid", "exists", json!(true), false),
        ("caller.uid", "eq", json!(1000), true),
        ("caller.unit", "neq", json!("agent.service"), true),
        ("tool", "in", json!(["t"]), true),
        ("effect", "eq", json!("stop"), false),
    ] {
        let predicate = predicate(path, op, Some(&value)).expect("a condition");
        assert_eq!(ask(&predicate, &Map::new()), Ok(expected), "{path}");
    }
}
