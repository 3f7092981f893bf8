//! What is refused when a policy is loaded, and how a condition reads.

use serde_json::json;

use super::{super::*, holds, predicate};

#[test]
fn patterns_are_bounded() {
    for (pattern, message) in [
        ("(", "the pattern is not understood: unclosed group"),
        ("a)|(?:b", "the pattern is not understood: unopened group"),
        (
            "(?=a)b",
            "the pattern is not understood: look-around, including look-ahead and look-behind, is not supported",
        ),
        (
            r"(\w{100}){100}",
            "the pattern is not understood: it takes too much memory",
        ),
        (
            &"a".repeat(PATTERN_BYTES_MAX + 1),
            "a pattern has at most 1024 bytes",
        ),
    ] {
        let error = predicate("args.x", "regex", Some(&json!(pattern))).expect_err(pattern);
        assert_eq!(error.part, Part::Value);
        assert_eq!(error.message, message);
        assert!(error.help.is_some());
    }
    let long = json!("a".repeat(TEXT_BYTES_MAX + 1));
    assert_eq!(
        holds("regex", &json!("a*"), Some(long)),
        Err("args.x is too long: more than 65536 bytes".to_owned())
    );
    // Exponential for an engine that backtracks.
    let evil = json!(format!("{}!", "a".repeat(TEXT_BYTES_MAX - 1)));
    assert_eq!(
        holds("regex", &json!("(a|a)*|(a*)*"), Some(evil)),
        Ok(false)
    );
}

#[test]
fn patterns_on_one_call_share_a_bounded_amount_of_work() {
    let large = json!("[ab]*a[ab]{300}z.*");
    let text = |bytes: usize| Some(json!("a".repeat(bytes)));
    assert_eq!(holds("regex", &large, text(4 << 10)), Ok(false));
    assert_eq!(
        holds("regex", &large, text(TEXT_BYTES_MAX)),
        Err(
            "args.x is too long for the pattern: with those tried before it, it could take more \
             than 3000000 steps"
                .to_owned()
        )
    );
    // An ordinary one is tried on the longest text there is.
    let ordinary = json!("(?s:.*)(?:dev|web)-[0-9]{1,4}(?s:.*)");
    assert_eq!(holds("regex", &ordinary, text(TEXT_BYTES_MAX)), Ok(false));
    // Together they are not.
    let arguments = json!({"x": "a".repeat(4_000)});
    let facts = Facts::of("t", arguments.as_object().expect("an object"));
    let predicate = predicate("args.x", "regex", Some(&large)).expect("a condition");
    let work = Work::default();
    assert_eq!(predicate.holds(&facts, &work), Ok(false));
    assert!(predicate.holds(&facts, &work).is_err());
    assert_eq!(predicate.holds(&facts, &Work::default()), Ok(false));
}

#[test]
fn a_value_that_the_operator_cannot_take_is_refused() {
    for (op, value, message) in [
        (
            "eq",
            Some(json!([1])),
            "\"eq\" takes a string, a number, true, false or null; found an array",
        ),
        (
            "neq",
            None,
            "\"neq\" takes a string, a number, true, false or null; none is given",
        ),
        (
            "lt",
            Some(json!("10")),
            "\"lt\" takes a number; found a string",
        ),
        (
            "in",
            Some(json!("a")),
            "\"in\" takes an array of strings, numbers, true, false or null, with at least one in it; found a string",
        ),
        (
            "in",
            Some(json!([])),
            "\"in\" takes an array of strings, numbers, true, false or null, with at least one in it; found an empty array",
        ),
        (
            "not_in",
            Some(json!(["a", {}])),
            "\"not_in\" takes an array of strings, numbers, true, false or null, with at least one in it; found an object in it",
        ),
        (
            "regex",
            Some(json!(1)),
            "\"regex\" takes a string; found a number",
        ),
        (
            "contains",
            Some(json!("")),
            "\"contains\" takes a string with something in it, a number, true, false or null; found an empty string",
        ),
        (
            "exists",
            Some(json!("yes")),
            "\"exists\" takes true or false, or no value at all; found a string",
        ),
    ] {
        let error = predicate("args.x", op, value.as_ref()).expect_err(op);
        assert_eq!((error.part, error.message.as_str()), (Part::Value, message));
    }
}

#[test]
fn an_unknown_operator_is_refused_with_a_guess() {
    for (op, help) in [
        (">=", "did you mean \"gte\"?"),
        ("==", "did you mean \"eq\"?"),
        ("notin", "did you mean \"not_in\"?"),
        (
            "",
            "there are eq, neq, in, not_in, lt, lte, gt, gte, regex, contains, exists",
        ),
    ] {
        let error = predicate("args.x", op, Some(&json!(1))).expect_err(op);
        assert_eq!(error.part, Part::Op);
        assert_eq!(error.message, format!("unknown operator {op:?}"));
        assert_eq!(error.help.as_deref(), Some(help));
    }
}

#[test]
fn it_describes_itself_and_is_equal_to_its_twin() {
    let new = |op, value| predicate("args.x", op, Some(&value)).expect("a condition");
    assert_eq!(new("neq", json!(true)).describe(), "args.x neq true");
    assert_eq!(
        new("in", json!(["a", 1])).describe(),
        r#"args.x in ["a",1]"#
    );
    let bare = predicate("args.x", "exists", None).expect("a condition");
    assert_eq!(bare.describe(), "args.x exists");
    let pattern = new("regex", json!("a.*"));
    assert_eq!(pattern, new("regex", json!("a.*")));
    assert_eq!(pattern.clone(), pattern);
    assert_ne!(pattern, new("regex", json!("a+")));
}
