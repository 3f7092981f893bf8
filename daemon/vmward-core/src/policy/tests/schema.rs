//! The published schema: up to date, no stricter than the parser, and as strict
//! where a schema can be.

use std::{fs, path::Path, sync::LazyLock};

use jsonschema::Validator;
use serde_json::Value;

use super::*;

const PUBLISHED: &str = "policy.schema.json";

fn file(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn examples() -> Vec<(String, String)> {
    let folder = fs::read_dir(file("tests/data/examples")).expect("a folder");
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("a text");
        (path.display().to_string(), text)
    };
    folder.map(read).collect()
}

#[test]
fn the_published_schema_is_the_one_of_the_types() {
    let text = serde_json::to_string_pretty(&schema()).expect("JSON") + "\n";
    // To publish a change: set the variable, run this test, commit the file.
    if std::env::var_os("VMWARD_PUBLISH_SCHEMA").is_some() {
        fs::write(file(PUBLISHED), &text).expect("a file that can be written");
    }
    let published = fs::read_to_string(file(PUBLISHED)).expect("a file");
    assert!(
        published == text,
        "{PUBLISHED} is out of date: run this test with VMWARD_PUBLISH_SCHEMA=1"
    );
}

/// What the published schema has against a text that is JSON.
pub(super) fn mistakes(text: &str) -> Vec<String> {
    static VALIDATOR: LazyLock<Validator> =
        LazyLock::new(|| jsonschema::validator_for(&schema()).expect("a schema"));
    let document: Value = serde_json::from_str(text).expect("JSON");
    let errors = VALIDATOR.iter_errors(&document);
    errors.map(|error| error.to_string()).collect()
}

#[test]
fn the_parser_and_the_schema_accept_every_example() {
    let examples = examples();
    assert!(examples.len() >= 9, "{}", examples.len());
    for (name, text) in examples {
        println!("{name}");
        accepted(&text);
    }
}

#[test]
fn an_unknown_key_anywhere_is_refused_by_both() {
    let mut objects = 0;
    for (name, text) in examples() {
        let document: Value = serde_json::from_str(&text).expect("JSON");
        for pointer in fixed_objects(&document, String::new()) {
            let mut document = document.clone();
            let object = document
                .pointer_mut(&pointer)
                .and_then(Value::as_object_mut);
            object
                .expect("an object")
                .insert("x-unknown".to_owned(), true.into());
            let text = document.to_string();
            assert!(!mistakes(&text).is_empty(), "{name} {pointer}");
            assert!(
                messages(&text)[0].contains("unknown key \"x-unknown\""),
                "{name} {pointer}"
            );
            objects += 1;
        }
    }
    assert!(objects > 50, "{objects}");
}

/// The objects whose keys the language gives, as JSON Pointers.
fn fixed_objects(value: &Value, pointer: String) -> Vec<String> {
    let named = ["/tools", "/effects", "/host_rules"].contains(&pointer.as_str());
    let free = ["args_schema", "metadata"]
        .iter()
        .any(|key| pointer.ends_with(key));
    let mut found = Vec::new();
    match value {
        Value::Object(_) if free => {}
        Value::Object(members) => {
            for (key, member) in members {
                found.extend(fixed_objects(member, format!("{pointer}/{key}")));
            }
            if !named {
                found.push(pointer);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                found.extend(fixed_objects(item, format!("{pointer}/{index}")));
            }
        }
        _ => {}
    }
    found
}
