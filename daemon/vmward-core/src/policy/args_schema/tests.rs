//! Which arguments pass, what is said of others, and which schemas are refused.

use serde_json::json;

use super::*;

mod bound;
mod sense;

#[track_caller]
fn check(schema: &Value, arguments: &Value) -> Result<(), String> {
    match unfit(schema, arguments) {
        Ok(()) => Ok(()),
        Err(Unfit::Mistakes(text)) => Err(text),
        Err(Unfit::TooMuch) => panic!("too much work"),
    }
}

#[track_caller]
fn unfit(schema: &Value, arguments: &Value) -> Result<(), Unfit> {
    let schema = ArgsSchema::compile(schema).expect("a schema");
    schema.check(arguments.as_object().expect("an object"))
}

#[test]
fn arguments_that_satisfy_the_schema_pass_and_others_are_named() {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "name": {"type": "string", "pattern": "^[a-z-]+$", "maxLength": 16},
            "count": {"type": "integer", "minimum": 1, "maximum": 5},
            "mode": {"enum": ["soft", "hard"]},
        },
        "required": ["name"],
        "additionalProperties": false,
    });
    assert_eq!(check(&schema, &json!({"name": "db", "count": 3})), Ok(()));
    for (arguments, message) in [
        (json!({}), "/args: \"name\" is a required property"),
        (
            json!({"name": "DB"}),
            "/args/name: the value does not match \"^[a-z-]+$\"",
        ),
        (
            json!({"name": "db", "count": "3"}),
            "/args/count: the value is not of type \"integer\"",
        ),
        (
            json!({"name": "db", "forse": true}),
            "/args: Additional properties are not allowed ('forse' was unexpected)",
        ),
        (
            json!({"name": "db", "mode": "secret", "count": 9}),
            "/args/mode: the value is not one of \"soft\" or \"hard\"; \
             /args/count: the value is greater than the maximum of 5",
        ),
    ] {
        assert_eq!(check(&schema, &arguments), Err(message.to_owned()));
    }
}

#[test]
fn a_schema_of_false_refuses_and_one_of_true_passes_everything() {
    assert!(check(&json!(false), &json!({})).is_err());
    assert_eq!(check(&json!(true), &json!({"a": [1, {"b": null}]})), Ok(()));
}

#[test]
fn names_and_data_in_a_schema_are_not_taken_for_keywords() {
    let schema = json!({
        "properties": {"maxmum": {"const": {"typ": 1}}, "$ref": {"enum": [{"x": 1}]}},
        "default": {"anything": true},
    });
    assert_eq!(check(&schema, &json!({"maxmum": {"typ": 1}})), Ok(()));
    assert!(check(&schema, &json!({"maxmum": 5})).is_err());
}

#[test]
fn formats_are_checked_and_not_only_noted() {
    let schema = json!({"properties": {"id": {"format": "uuid"}}});
    let good = json!({"id": "6695eb01-f6a4-8304-79aa-97f2502e193f"});
    assert_eq!(check(&schema, &good), Ok(()));
    assert_eq!(
        check(&schema, &json!({"id": "db-1"})),
        Err("/args/id: the value is not a \"uuid\"".to_owned())
    );
}

#[test]
fn the_answer_is_short_whatever_the_agent_sends() {
    let schema =
        json!({"propertyNames": {"maxLength": 3}, "additionalProperties": {"type": "null"}});
    let long = "k\u{1b}[2J".repeat(100);
    let members = (0..100).map(|index| (format!("{index}{long}"), json!("secret")));
    let arguments = Value::Object(members.collect());
    let message = check(&schema, &arguments).expect_err("mistakes");
    let most = NAMED_MAX * (MISTAKE_CHARS_MAX + 3) + "and more".len();
    assert!(message.chars().count() <= most, "{message}");
    assert!(message.ends_with("; and more"), "{message}");
    assert!(!message.contains("secret"), "{message}");
    assert!(!message.contains('\u{1b}'), "{message:?}");
}

#[test]
fn a_pattern_that_would_take_forever_elsewhere_answers_at_once() {
    let schema = json!({"properties": {"a": {"pattern": "^(a|a)*$"}}});
    let evil = json!({"a": format!("{}!", "a".repeat(50_000))});
    assert!(check(&schema, &evil).is_err());
}

#[test]
fn a_schema_may_refer_to_its_own_parts_again_inside_a_value() {
    let tree = json!({
        "$defs": {"node": {
            "properties": {"child": {"$ref": "#/$defs/node"}},
            "additionalProperties": false,
        }},
        "$ref": "#/$defs/node",
    });
    assert_eq!(check(&tree, &json!({"child": {"child": {}}})), Ok(()));
    assert!(check(&tree, &json!({"child": {"other": 1}})).is_err());
    let named = json!({
        "$id": "https://example.com/tree",
        "$defs": {"a/b c": {"$anchor": "node", "maxProperties": 1}},
        "properties": {"x": {"$ref": "#/$defs/a~1b%20c"}, "y": {"$ref": "#node"}},
    });
    assert_eq!(check(&named, &json!({"x": {"a": 1}, "y": {}})), Ok(()));
    assert!(check(&named, &json!({"x": {"a": 1, "b": 2}})).is_err());
    assert!(check(&named, &json!({"y": {"a": 1, "b": 2}})).is_err());
}

#[test]
fn a_reference_back_to_itself_for_the_same_value_is_refused() {
    let back = |target: &str| {
        format!(
            "{target:?} leads back to itself for the same value, and would check nothing; \
             refer to it from below \"properties\" or \"items\", or to something else"
        )
    };
    let a = back("#/$defs/a");
    for (schema, expected) in [
        (
            json!({"$ref": "#"}),
            vec![format!("at /$ref: {}", back("#"))],
        ),
        (
            json!({"allOf": [{"$ref": "#"}]}),
            vec![format!("at /allOf/0/$ref: {}", back("#"))],
        ),
        (
            json!({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}),
            vec![format!("at /$defs/a/$ref: {a}")],
        ),
        (
            json!({
                "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}, {"not": {"$ref": "#/$defs/a"}}]}},
                "properties": {"x": {"$ref": "#/$defs/a"}},
            }),
            vec![
                format!("at /$defs/a/allOf/0/$ref: {a}"),
                format!("at /$defs/a/allOf/1/not/$ref: {a}"),
            ],
        ),
        (
            json!({
                "$defs": {"a": {"$ref": "#b"}, "b": {"$anchor": "b", "$ref": "#/$defs/a"}},
                "properties": {"x": {"$ref": "#/$defs/a"}},
            }),
            vec![
                format!("at /$defs/a/$ref: {}", back("#b")),
                format!("at /$defs/b/$ref: {a}"),
            ],
        ),
    ] {
        assert_eq!(mistakes(&schema), expected, "{schema}");
    }
}

#[test]
fn a_schema_with_a_mistake_is_refused_with_its_place() {
    let in_a = |schema: Value| json!({"properties": {"a": schema}});
    for (schema, message) in [
        (
            json!("object"),
            "\"object\" is not of types \"boolean\", \"object\"",
        ),
        (
            in_a(json!({"type": "strin"})),
            "at /properties/a/type: unknown type \"strin\"; did you mean \"string\"?",
        ),
        (
            in_a(json!({"type": ["string", "int"]})),
            "at /properties/a/type: unknown type \"int\"; \
             there are array, boolean, integer, null, number, object, string",
        ),
        (
            in_a(json!({"maximum": "5"})),
            "at /properties/a/maximum: \"5\" is not of type \"number\"",
        ),
        (
            in_a(json!({"maxmum": 5})),
            "at /properties/a/maxmum: JSON Schema 2020-12 checks nothing for the keyword \"maxmum\"; \
             did you mean \"maximum\"?",
        ),
        (
            json!({"anyOf": [true, {"not": {"const": {"free": 1}, "requird": ["a"]}}]}),
            "at /anyOf/1/not/requird: JSON Schema 2020-12 checks nothing for the keyword \"requird\"; \
             did you mean \"required\"?",
        ),
        (
            json!({"dependencies": {"a": ["b"]}}),
            "at /dependencies: JSON Schema 2020-12 checks nothing for the keyword \"dependencies\"; \
             it is \"dependentRequired\" or \"dependentSchemas\" now",
        ),
        (
            in_a(json!({"format": "ipv5"})),
            "at /properties/a/format: unknown format \"ipv5\"; nothing would be checked",
        ),
        (
            in_a(json!({"pattern": "(?=a)"})),
            "at /properties/a/pattern: the pattern \"(?=a)\" is not understood; \
             look-around and back-references are not supported",
        ),
        (
            in_a(json!({"pattern": "([a-z]{100}){1000}"})),
            "at /properties/a/pattern: a pattern takes too much memory, make its repetitions \
             shorter: \"([a-z]{100}){1000}\"",
        ),
        (
            json!({"properties": {"a/b": {"pattern": "("}}}),
            "at /properties/a~1b/pattern: the pattern \"(\" is not understood; \
             look-around and back-references are not supported",
        ),
        (
            json!({"$schema": "http://json-schema.org/draft-07/schema#"}),
            "at /$schema: schemas are read as JSON Schema 2020-12 only; \
             remove \"$schema\", and what differs is reported",
        ),
    ] {
        assert_eq!(mistakes(&schema), [message], "{schema}");
    }
}

#[test]
fn a_reference_that_could_mean_something_else_is_refused() {
    for (schema, message) in [
        (
            json!({"$ref": "#/$defs/none"}),
            "at /$ref: there is no schema at \"#/$defs/none\"; write it as \"#/$defs/...\"",
        ),
        (
            json!({"default": {"type": "string"}, "items": {"$ref": "#/default"}}),
            "at /items/$ref: there is no schema at \"#/default\"; write it as \"#/$defs/...\"",
        ),
        (
            json!({"$defs": {"a": {"$id": "a"}}}),
            "at /$defs/a/$id: \"$id\" stands at the top of a schema only; remove it here",
        ),
        (
            json!({"$defs": {"a": {"$anchor": "x"}, "b": {"$anchor": "x"}}}),
            "at /$defs/b/$anchor: \"x\" is the \"$anchor\" of another part already",
        ),
    ] {
        assert_eq!(mistakes(&schema), [message], "{schema}");
    }
}

/// Each with its place.
fn mistakes(schema: &Value) -> Vec<String> {
    let found = ArgsSchema::compile(schema).expect_err("a mistake");
    let tell = |mistake: Mistake| match mistake.place.as_str() {
        "" => mistake.message,
        place => format!("at {place}: {}", mistake.message),
    };
    found.into_iter().map(tell).collect()
}

#[test]
fn all_mistakes_of_a_schema_are_told_at_once() {
    let schema = json!({
        "properties": {
            "a": {"maxmum": 3, "type": "strng"},
            "b": {"required": 7},
            "c": {"pattern": "("},
        },
        "items": {"$ref": "other.json"},
    });
    let found = ArgsSchema::compile(&schema).expect_err("mistakes");
    let mut places: Vec<_> = found.iter().map(|mistake| mistake.place.as_str()).collect();
    places.sort_unstable();
    assert_eq!(
        places,
        [
            "/items/$ref",
            "/properties/a/maxmum",
            "/properties/a/type",
            "/properties/b/required",
        ],
        "a pattern is compiled when the rest is good: {found:?}"
    );
}

#[test]
fn a_reference_to_elsewhere_is_refused_and_never_followed() {
    for target in [
        "https://example.com/schema.json",
        "file:///etc/passwd",
        "other.json#/a",
        "https://json-schema.org/draft/2020-12/schema",
    ] {
        let schema = json!({"$id": "file:///etc/", "items": {"$ref": target}});
        let found = mistakes(&schema);
        let expected = format!(
            "at /items/$ref: the schema refers to {target:?}, and nothing is fetched; \
             copy what it needs into \"$defs\" and refer to it as \"#/$defs/...\""
        );
        assert_eq!(found, [expected]);
    }
    let dynamic = json!({"$dynamicRef": "https://example.com/schema.json"});
    assert!(ArgsSchema::compile(&dynamic).is_err());
}

#[test]
fn schemas_of_one_source_are_equal() {
    let compile = |schema: Value| ArgsSchema::compile(&schema).expect("a schema");
    let schema = compile(json!({"required": ["a"]}));
    assert_eq!(schema, compile(json!({"required": ["a"]})));
    assert_ne!(schema, compile(json!({"required": ["b"]})));
    assert_eq!(schema.source(), &json!({"required": ["a"]}));
}
