//! Checking arguments is bounded, whatever schema and arguments are.

use std::sync::atomic::{AtomicU64, Ordering};

use jsonschema::Keyword;

use super::*;

/// A keyword that counts how often it is asked.
struct Counts(Arc<AtomicU64>);

impl<'i> Keyword<'i> for Counts {
    fn validate(&self, instance: &'i Value) -> Result<(), ValidationError<'i>> {
        self.is_valid(instance);
        Ok(())
    }

    fn is_valid(&self, _instance: &'i Value) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed);
        true
    }
}

/// The schema with that keyword in each of its parts.
fn counted(schema: &Value) -> Value {
    let Value::Object(members) = schema else {
        return schema.clone();
    };
    let mut counting = schema.clone();
    counting["x-count"] = Value::Bool(true);
    for key in members.keys() {
        let below = keywords::schemas(key, &schema[key], &Location::new());
        for (_, part, place) in below {
            let part = counted(part);
            match counting[key].pointer_mut(place.as_str()) {
                Some(old) => *old = part,
                None => panic!("{key} has no {}", place.as_str()),
            }
        }
    }
    counting
}

#[test]
fn the_validator_asks_no_more_often_than_was_counted() {
    let inner = json!({"anyOf": [
        {"properties": {"a": {"$ref": "#"}}, "required": ["b"]},
        {"properties": {"a": {"$ref": "#"}}},
    ]});
    for schema in [
        json!({"allOf": [inner], "unevaluatedProperties": false}),
        json!({"oneOf": [inner, inner], "unevaluatedProperties": {"$ref": "#"}}),
        json!({
            "if": inner, "then": {"properties": {"c": true}}, "else": {"not": inner},
            "unevaluatedProperties": {"allOf": [inner, {"minProperties": 1}]},
        }),
        json!({
            "if": {"if": inner, "then": inner},
            "then": {"if": inner, "then": {"if": inner, "else": inner}, "else": inner},
            "unevaluatedProperties": false,
        }),
        json!({"dependentSchemas": {"a": inner, "c": inner}, "patternProperties": {"a|c": inner}}),
        json!({"additionalProperties": {"anyOf": [
            {"prefixItems": [inner, inner], "items": inner, "contains": inner},
            {"unevaluatedItems": inner, "contains": {"not": inner}, "maxContains": 2},
            inner,
        ]}}),
    ] {
        let schema = counted(&schema);
        let asked = Arc::new(AtomicU64::new(0));
        let own = Arc::clone(&asked);
        let compiled = jsonschema::draft202012::options()
            .with_keyword("x-count", move |_, _, _| {
                Ok(Box::new(Counts(Arc::clone(&own))))
            })
            .build(&schema)
            .expect("a schema");
        for levels in 0..6 {
            let of = |inner: Value| json!({"a": inner, "c": [inner, {"a": inner}], "d": 1});
            let arguments = (0..levels).fold(json!({"b": "x"}), |inner, _| of(inner));
            let most = steps(&schema, &arguments, u64::MAX).expect("few");
            let is_valid = compiled.is_valid(&arguments);
            let asked = asked.swap(0, Ordering::Relaxed);
            assert!(
                (1..=most).contains(&asked),
                "{asked} of {most}, {is_valid}: {schema}"
            );
        }
    }
}

/// A language of filters in which `not` fits two branches.
fn filters() -> Value {
    json!({
        "$defs": {"f": {"anyOf": [
            {
                "type": "object",
                "properties": {"not": {"$ref": "#/$defs/f"}},
                "required": ["not"],
                "additionalProperties": false,
            },
            {
                "type": "object",
                "properties": {"not": {"$ref": "#/$defs/f"}, "field": {"type": "string"}},
                "required": ["field"],
            },
        ]}},
        "properties": {"filter": {"$ref": "#/$defs/f"}},
    })
}

/// `{"filter": {"not": {"not": ... innermost}}}`.
fn nested(levels: usize, innermost: Value) -> Value {
    let filter = (0..levels).fold(innermost, |inner, _| json!({"not": inner}));
    json!({"filter": filter})
}

fn steps(schema: &Value, arguments: &Value, most: u64) -> Option<u64> {
    work::steps(&Graph::of(schema).expect("a schema"), arguments, most)
}

#[test]
fn what_doubles_with_each_level_is_refused_before_it_is_begun() {
    let schema = filters();
    assert_eq!(check(&schema, &nested(5, json!({"field": "x"}))), Ok(()));
    assert!(check(&schema, &nested(5, json!({"z": 1}))).is_err());
    for levels in [20, 28, 100] {
        let arguments = nested(levels, json!({"z": 1}));
        assert_eq!(unfit(&schema, &arguments), Err(Unfit::TooMuch));
    }
    let of = |levels| steps(&schema, &nested(levels, json!({})), u64::MAX).expect("steps");
    assert!(of(20) > 1 << 20 && of(40) > 1 << 40, "it is counted");
}

#[test]
fn where_mistakes_are_too_many_to_name_they_are_not_looked_for() {
    let error = check(&filters(), &nested(11, json!({"z": 1}))).expect_err("no filter");
    assert_eq!(
        error,
        "they do not satisfy the schema, and are too many to say where"
    );
}

#[test]
fn one_branch_that_leads_on_costs_the_same_on_each_level() {
    let schema = json!({
        "$defs": {"f": {"anyOf": [
            {"type": "string"},
            {"properties": {"and": {"items": {"$ref": "#/$defs/f"}}}, "required": ["and"]},
            {"properties": {"not": {"$ref": "#/$defs/f"}}, "required": ["not"]},
        ]}},
        "properties": {"filter": {"$ref": "#/$defs/f"}},
        "additionalProperties": false,
    });
    let of = |levels| {
        let arguments = nested(levels, json!({"and": ["a", "b"]}));
        assert_eq!(check(&schema, &arguments), Ok(()));
        steps(&schema, &arguments, STEPS_MAX).expect("few")
    };
    assert_eq!(of(60) - of(40), of(40) - of(20));
    assert!(of(60) < 2_000, "{}", of(60));
}

#[test]
fn parts_that_double_without_any_depth_are_told_where_it_is_too_much() {
    for keyword in ["anyOf", "allOf", "oneOf"] {
        let mut defs = Map::new();
        defs.insert("d0".to_owned(), json!({"type": "integer"}));
        for level in 1..=25 {
            let below = json!({"$ref": format!("#/$defs/d{}", level - 1)});
            defs.insert(format!("d{level}"), json!({keyword: [below, below]}));
        }
        let schema = json!({"$defs": defs, "properties": {"x": {"$ref": "#/$defs/d25"}}});
        assert_eq!(
            mistakes(&schema),
            [
                "at /$defs/d12: checking one value against this asks parts of the schema more than \
              10000 times; refer to each part fewer times"
            ]
        );
    }
}

#[test]
fn a_list_of_many_choices_is_no_reason_to_refuse() {
    let choice = |n: usize| json!({"const": format!("vm-{n}"), "title": "A VM"});
    let choices: Vec<Value> = (0..2_000).map(choice).collect();
    let names: Vec<String> = (0..20_000).map(|n| format!("vm-{n}")).collect();
    let schema = json!({"properties": {"a": {"oneOf": choices}, "b": {"enum": names}}});
    assert_eq!(check(&schema, &json!({"a": "vm-7", "b": "vm-7"})), Ok(()));
    assert!(check(&schema, &json!({"a": "db"})).is_err());
}

#[test]
fn a_call_of_the_longest_size_passes_an_ordinary_schema() {
    let schema = json!({
        "properties": {"hosts": {"type": "array", "uniqueItems": true, "items": {
            "anyOf": [{"type": "string"}, {"properties": {"name": {"pattern": "^[a-z]"}}}],
        }}},
        "additionalProperties": false,
    });
    let hosts: Vec<String> = (0..9_000).map(|n| format!("h{n}")).collect();
    assert!(serde_json::to_string(&hosts).expect("text").len() > 64 * 1024);
    assert_eq!(check(&schema, &json!({"hosts": hosts})), Ok(()));
}

#[test]
fn a_text_costs_as_much_as_its_patterns_are_large() {
    let large = "^[ab]*a[ab]{300}$";
    let long = "ab".repeat(16 << 10);
    for schema in [
        json!({"properties": {"a": {"pattern": large}}}),
        json!({"additionalProperties": {"allOf": [{"pattern": large}]}}),
    ] {
        assert_eq!(check(&schema, &json!({"a": "a".repeat(400)})), Ok(()));
        assert_eq!(unfit(&schema, &json!({"a": long})), Err(Unfit::TooMuch));
    }
    for schema in [
        json!({"patternProperties": {large: true}}),
        json!({"patternProperties": {large: true}, "unevaluatedProperties": false}),
        json!({"propertyNames": {"$ref": "#/$defs/n"}, "$defs": {"n": {"pattern": large}}}),
    ] {
        assert_eq!(check(&schema, &json!({"a".repeat(400): 1})), Ok(()));
        assert_eq!(
            unfit(&schema, &json!({long.clone(): 1})),
            Err(Unfit::TooMuch)
        );
    }
    let ordinary = json!({"items": {"pattern": "^[a-z0-9-]{1,63}$"}});
    let names = json!({"a": vec!["web-1.example.org"; 1_000]});
    assert!(check(&json!({"properties": {"a": ordinary}}), &names).is_err());
    let names = json!({"a": vec!["web-1"; 3_000]});
    assert_eq!(
        check(&json!({"properties": {"a": ordinary}}), &names),
        Ok(())
    );
}

#[test]
fn what_nothing_asks_about_costs_nothing() {
    let arguments = json!({"deep": nested(100, json!([1, 2, 3]))});
    assert_eq!(
        steps(&json!({"required": ["deep"]}), &arguments, 10),
        Some(3)
    );
}

#[test]
fn unevaluated_members_ask_everything_once_more_on_each_level() {
    let schema = json!({
        "allOf": [{"properties": {"not": {"$ref": "#"}, "filter": {"$ref": "#"}}}],
        "unevaluatedProperties": false,
    });
    assert_eq!(check(&schema, &nested(3, json!({}))), Ok(()));
    assert!(check(&schema, &nested(3, json!({"z": 1}))).is_err());
    let deep = nested(100, json!({}));
    assert_eq!(unfit(&schema, &deep), Err(Unfit::TooMuch));
}

#[test]
fn long_chains_of_parts_are_compiled_or_refused() {
    for (within, size) in [("properties", 4_000), ("allOf", 4_000), ("allOf", 20_000)] {
        let mut defs = Map::new();
        for level in 0..size {
            let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
            let part = match within {
                "properties" => json!({"properties": {"a": next}}),
                _ => json!({"allOf": [next]}),
            };
            defs.insert(format!("d{level}"), part);
        }
        defs.insert(format!("d{size}"), json!(true));
        let schema = json!({"$defs": defs, "$ref": "#/$defs/d0"});
        let _either = ArgsSchema::compile(&schema);
    }
}
