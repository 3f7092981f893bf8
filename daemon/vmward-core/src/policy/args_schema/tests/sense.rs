//! What no arguments could satisfy is a mistake, and so is what checks nothing.

use super::*;

#[test]
fn a_schema_that_no_arguments_satisfy_is_refused_with_its_place() {
    let in_a = |schema: Value| json!({"properties": {"a": schema}});
    for (schema, message) in [
        (
            json!({"type": "string"}),
            "at /type: no call would pass: its arguments are an object",
        ),
        (
            json!({"required": ["x", "y"], "additionalProperties": false, "properties": {"y": {}}}),
            "at /required: \"x\" is asked for, and \"additionalProperties\" does not allow it; \
             add it to \"properties\"",
        ),
        (
            in_a(json!({"minimum": 5, "maximum": 1})),
            "at /properties/a/minimum: no value has both: \"minimum\" 5 and \"maximum\" 1",
        ),
        (
            in_a(json!({"minimum": 5, "exclusiveMaximum": 5})),
            "at /properties/a/minimum: no value has both: \"minimum\" 5 and \
             \"exclusiveMaximum\" 5",
        ),
        (
            in_a(json!({"minItems": 2, "maxItems": 1})),
            "at /properties/a/minItems: no value has both: \"minItems\" 2 and \"maxItems\" 1",
        ),
    ] {
        assert_eq!(mistakes(&schema), [message], "{schema}");
    }
}

#[test]
fn a_keyword_about_other_types_than_the_stated_one_is_refused() {
    let schema = json!({"properties": {
        "a": {"type": "integer", "maxLength": 5},
        "b": {"type": ["string", "null"], "required": ["c"]},
    }});
    assert_eq!(
        mistakes(&schema),
        [
            "at /properties/a/maxLength: \"maxLength\" checks nothing here: it is about values of \
             the type \"string\", and the type is integer",
            "at /properties/b/required: \"required\" checks nothing here: it is about values of \
             the type \"object\", and the type is string or null",
        ]
    );
}

#[test]
fn what_some_value_satisfies_is_taken() {
    for schema in [
        json!({"type": ["object", "null"], "minProperties": 1, "maxProperties": 1}),
        json!({"required": ["x"], "additionalProperties": false, "patternProperties": {"x": {}}}),
        json!({"required": ["x"], "properties": {}}),
        json!({"properties": {"a": {"type": "integer", "minimum": 1, "maximum": 1}}}),
        json!({"properties": {"a": {"type": ["number", "string"], "maximum": 1, "pattern": "a"}}}),
        json!({"properties": {"a": {"maxLength": 5, "maximum": 1}}}),
    ] {
        assert!(ArgsSchema::compile(&schema).is_ok(), "{schema}");
    }
}
