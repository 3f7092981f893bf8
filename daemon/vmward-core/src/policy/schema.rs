//! The JSON Schema of the policy language, for editors and other programs.
//!
//! These types only describe the text; [`super::parse`] reads it, and is
//! stricter where a schema cannot be: see the tests.
#![expect(dead_code, reason = "only the derived schema is used")]

mod rule;
mod vms;

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::Value;

use rule::Rule;
use vms::{EffectRules, HostRule, MapEntry, Protected};

/// The schema: JSON Schema 2020-12.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(no_null));
    settings
        .into_generator()
        .into_root_schema_for::<Document>()
        .to_value()
}

/// An optional key may be missing, and may not be `null`.
fn no_null(schema: &mut Schema) {
    let is_null =
        |value: &Value| value == "null" || value.get("type").is_some_and(|kind| kind == "null");
    for key in ["type", "anyOf"] {
        let Some(Value::Array(options)) = schema.get_mut(key) else {
            continue;
        };
        options.retain(|option| !is_null(option));
        if options.len() != 1 {
            continue;
        }
        match options.pop() {
            Some(Value::Object(only)) => {
                schema.remove(key);
                let object = schema.ensure_object();
                for (key, value) in only {
                    object.entry(key).or_insert(value);
                }
            }
            Some(only) => {
                schema.insert(key.to_owned(), only);
            }
            None => {}
        }
    }
}

/// What agents and the host's own services may do to VMs.
#[derive(JsonSchema)]
#[schemars(title = "vmward policy", deny_unknown_fields)]
struct Document {
    /// Where this schema is, for editors.
    #[schemars(rename = "$schema")]
    schema: Option<String>,
    version: Version,
    /// What happens to a tool that no rule names.
    default: Default,
    description: Option<String>,
    /// Tools that no agent sees or may call.
    hide: Option<Hide>,
    /// For every call of a tool.
    all_tools: Option<Rule>,
    /// For the calls of one tool, by its name.
    #[schemars(extend("propertyNames" = {"not": {"enum": ["", "*"]}}))]
    tools: Option<BTreeMap<String, Rule>>,
    /// For whatever has an effect, whichever tool it is.
    effects: Option<EffectRules>,
    /// VMs that need more than a tool's own rule.
    protected: Option<Vec<Protected>>,
    /// Which tool has which effect on which VM. The first entry that matches a
    /// call counts; the built-in entries come after these.
    effect_map: Option<Vec<MapEntry>>,
    /// Who may do what without the gateway. A rule of a built-in name changes
    /// the keys that it gives; any other needs `effects` and one of `unit`,
    /// `uid` and `exe`.
    host_rules: Option<BTreeMap<String, HostRule>>,
}

#[derive(JsonSchema)]
enum Version {
    #[schemars(rename = "1")]
    One,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum Default {
    Allow,
    Deny,
}

/// `"*"`, or a list of tools, in which `"*"` stands for all.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Hide {
    All(Star),
    Tools(#[schemars(inner(length(min = 1)))] Vec<String>),
}

#[derive(JsonSchema)]
enum Star {
    #[schemars(rename = "*")]
    Star,
}
