//! What a schema may say. JSON Schema passes over words that it does not know,
//! so that a misspelled `maxmum` would bound nothing: here it is a mistake.

use jsonschema::{Draft, paths::Location};
use serde_json::Value;

use super::Mistake;
use crate::policy::suggest;

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Their value is a schema.
const ONE: [&str; 10] = [
    "additionalProperties",
    "contains",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// Their value is an array of schemas.
const MANY: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
/// Their value is an object with a schema under each name.
const NAMED: [&str; 5] = [
    "$defs",
    "definitions",
    "dependentSchemas",
    "patternProperties",
    "properties",
];
/// Their value holds no schema.
const PLAIN: [&str; 33] = [
    "$anchor",
    "$comment",
    "$id",
    "$ref",
    "$schema",
    "const",
    "default",
    "dependentRequired",
    "deprecated",
    "description",
    "enum",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "pattern",
    "readOnly",
    "required",
    "title",
    "type",
    "uniqueItems",
    "writeOnly",
];
const TYPES: [&str; 7] = [
    "array", "boolean", "integer", "null", "number", "object", "string",
];

/// Looks for words that mean nothing and for references that lead elsewhere.
/// Values of a wrong kind are left to the compiler.
pub(super) fn check(schema: &Value) -> Vec<Mistake> {
    let mut found = Vec::new();
    check_at(schema, &Location::new(), &mut found);
    found
}

/// How many patterns there are in it to compile; what is a name and not a keyword
/// may count too.
pub(super) fn patterns(schema: &Value) -> usize {
    match schema {
        Value::Object(members) => {
            let of = |(key, value): (&String, &Value)| {
                let own = match (key.as_str(), value) {
                    ("pattern", Value::String(_)) => 1,
                    ("patternProperties", Value::Object(named)) => named.len(),
                    _ => 0,
                };
                own + patterns(value)
            };
            members.iter().map(of).sum()
        }
        Value::Array(items) => items.iter().map(patterns).sum(),
        _ => 0,
    }
}

fn check_at(schema: &Value, place: &Location, found: &mut Vec<Mistake>) {
    let Value::Object(members) = schema else {
        return;
    };
    for (key, value) in members {
        let here = place.join(key);
        let wrong = match key.as_str() {
            "$ref" => check_reference(value),
            "$schema" => check_dialect(value),
            "format" => check_format(value),
            "type" => check_type(value),
            holder if is_holder(holder) => {
                for (_, schema, place) in schemas(holder, value, &here) {
                    check_at(schema, &place, found);
                }
                None
            }
            plain if PLAIN.contains(&plain) => None,
            unknown => Some(unknown_keyword(unknown)),
        };
        found.extend(wrong.map(|message| Mistake::at(&here, message)));
    }
}

fn is_holder(key: &str) -> bool {
    ONE.contains(&key) || MANY.contains(&key) || NAMED.contains(&key)
}

/// The schemas that a keyword at `place` has for its value: the name under which
/// each stands there, if any, and its place.
pub(super) fn schemas<'a>(
    key: &str,
    value: &'a Value,
    place: &Location,
) -> Vec<(String, &'a Value, Location)> {
    if ONE.contains(&key) {
        return vec![(String::new(), value, place.clone())];
    }
    if MANY.contains(&key) {
        let items = value.as_array().into_iter().flatten().enumerate();
        let items = items.map(|(index, item)| (String::new(), item, place.join(index)));
        return items.collect();
    }
    if NAMED.contains(&key) {
        let members = value.as_object().into_iter().flatten();
        let members = members.map(|(name, item)| (name.clone(), item, place.join(name)));
        return members.collect();
    }
    Vec::new()
}

fn unknown_keyword(key: &str) -> String {
    let known = [&ONE[..], &MANY, &NAMED, &PLAIN].concat();
    let guess = match (key, suggest::nearest(key, &known)) {
        ("dependencies", _) => "; it is \"dependentRequired\" or \"dependentSchemas\" now",
        ("additionalItems", _) => "; it is \"items\" now, after \"prefixItems\"",
        (_, Some(word)) => &format!("; did you mean {word:?}?"),
        (_, None) => "",
    };
    format!("JSON Schema 2020-12 checks nothing for the keyword {key:?}{guess}")
}

fn check_reference(value: &Value) -> Option<String> {
    let target = value.as_str().filter(|target| !target.starts_with('#'))?;
    Some(format!(
        "the schema refers to {target:?}, and nothing is fetched; \
         copy what it needs into \"$defs\" and refer to it as \"#/$defs/...\""
    ))
}

fn check_dialect(value: &Value) -> Option<String> {
    let is_other = value.as_str()?.trim_end_matches('#') != DIALECT;
    is_other.then(|| {
        "schemas are read as JSON Schema 2020-12 only; \
         remove \"$schema\", and what differs is reported"
            .to_owned()
    })
}

fn check_format(value: &Value) -> Option<String> {
    let options = jsonschema::draft202012::options();
    let format = value.as_str()?;
    let is_known = options.is_known_format(Draft::Draft202012, format);
    (!is_known).then(|| format!("unknown format {format:?}; nothing would be checked"))
}

fn check_type(value: &Value) -> Option<String> {
    let words = match value {
        Value::Array(words) => words.as_slice(),
        word => std::slice::from_ref(word),
    };
    let mut words = words.iter().filter_map(Value::as_str);
    let word = words.find(|word| !TYPES.contains(word))?;
    let guess = match suggest::nearest(word, &TYPES) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("there are {}", TYPES.join(", ")),
    };
    Some(format!("unknown type {word:?}; {guess}"))
}
