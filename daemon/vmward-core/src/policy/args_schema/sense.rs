//! What no arguments could satisfy, and keywords beside a type that they say
//! nothing about: right JSON Schema, and never what was meant.

use jsonschema::paths::Location;
use serde_json::{Map, Value};

use super::{Mistake, keywords};

/// What each keyword asks of; others ask of every value.
const ABOUT: [(&str, &[&str]); 4] = [
    ("string", &["format", "maxLength", "minLength", "pattern"]),
    (
        "number",
        &[
            "exclusiveMaximum",
            "exclusiveMinimum",
            "maximum",
            "minimum",
            "multipleOf",
        ],
    ),
    (
        "array",
        &[
            "contains",
            "items",
            "maxContains",
            "maxItems",
            "minContains",
            "minItems",
            "prefixItems",
            "unevaluatedItems",
            "uniqueItems",
        ],
    ),
    (
        "object",
        &[
            "additionalProperties",
            "dependentRequired",
            "dependentSchemas",
            "maxProperties",
            "minProperties",
            "patternProperties",
            "properties",
            "propertyNames",
            "required",
            "unevaluatedProperties",
        ],
    ),
];
/// The first must not be more than the second; with `true`, nor the same.
const BOUNDS: [(&str, &str, bool); 8] = [
    ("minimum", "maximum", false),
    ("exclusiveMinimum", "maximum", true),
    ("minimum", "exclusiveMaximum", true),
    ("exclusiveMinimum", "exclusiveMaximum", true),
    ("minLength", "maxLength", false),
    ("minItems", "maxItems", false),
    ("minContains", "maxContains", false),
    ("minProperties", "maxProperties", false),
];

/// `schema` has no wrong keyword.
pub(super) fn check(schema: &Value) -> Vec<Mistake> {
    let mut found = Vec::new();
    let place = Location::new();
    if let Some(types) = schema.get("type").map(types)
        && !types.contains(&"object")
    {
        let message = "no call would pass: its arguments are an object";
        found.push(Mistake::at(&place.join("type"), message.to_owned()));
    }
    check_at(schema, &place, &mut found);
    found
}

fn check_at(schema: &Value, place: &Location, found: &mut Vec<Mistake>) {
    let Value::Object(members) = schema else {
        return;
    };
    of_other_types(members, place, found);
    bounds(members, place, found);
    required(members, place, found);
    for (key, value) in members {
        for (_, schema, place) in keywords::schemas(key, value, &place.join(key)) {
            check_at(schema, &place, found);
        }
    }
}

fn of_other_types(members: &Map<String, Value>, place: &Location, found: &mut Vec<Mistake>) {
    let Some(own) = members.get("type").map(types) else {
        return;
    };
    let is_own =
        |about: &str| own.contains(&about) || about == "number" && own.contains(&"integer");
    for (about, keywords) in ABOUT.iter().filter(|(about, _)| !is_own(about)) {
        for keyword in keywords.iter().filter(|key| members.contains_key(**key)) {
            let message = format!(
                "{keyword:?} checks nothing here: it is about values of the type {about:?}, and \
                 the type is {}",
                own.join(" or ")
            );
            found.push(Mistake::at(&place.join(*keyword), message));
        }
    }
}

fn bounds(members: &Map<String, Value>, place: &Location, found: &mut Vec<Mistake>) {
    let number = |key: &str| members.get(key).and_then(Value::as_f64);
    for (least, most, is_open) in BOUNDS {
        let (Some(low), Some(high)) = (number(least), number(most)) else {
            continue;
        };
        if low > high || is_open && low >= high {
            let message = format!("no value has both: {least:?} {low} and {most:?} {high}");
            found.push(Mistake::at(&place.join(least), message));
        }
    }
}

/// Names that are asked for and not allowed.
fn required(members: &Map<String, Value>, place: &Location, found: &mut Vec<Mistake>) {
    let is_closed = members.get("additionalProperties") == Some(&Value::Bool(false))
        && !members.contains_key("patternProperties");
    let names = members.get("required").and_then(Value::as_array);
    if !is_closed {
        return;
    }
    let is_known = |name: &str| {
        let known = members.get("properties");
        known.is_some_and(|known| known.get(name).is_some())
    };
    let names = names.into_iter().flatten().filter_map(Value::as_str);
    for name in names.filter(|name| !is_known(name)) {
        let message = format!(
            "{name:?} is asked for, and \"additionalProperties\" does not allow it; add it to \
             \"properties\""
        );
        found.push(Mistake::at(&place.join("required"), message));
    }
}

fn types(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(words) => words.iter().filter_map(Value::as_str).collect(),
        word => word.as_str().into_iter().collect(),
    }
}
