//! How arguments are read.
//!
//! Servers differ: some ignore the case of a key, some take every argument
//! inside one object named `params`. An agent may write a key in several ways
//! at once and hope that the server reads another one than vmward. So every way
//! is looked at.

use serde_json::{Map, Value};

use crate::policy::names::are_alike;

/// Argument names under which known servers take the VM.
pub(super) const VM_KEYS: &[&str] = &[
    "identifier",
    "vm",
    "vm_name",
    "name",
    "domain",
    "domain_name",
    "uuid",
    "vmid",
];

/// Longest name of a VM, in characters: as long as one may be that the caller
/// names outside of the arguments.
const VM_CHARS_MAX: usize = 256;

/// Everything that stands under `key`, at the top or inside `params`.
pub(super) fn values<'a>(
    arguments: &'a Map<String, Value>,
    key: &str,
) -> impl Iterator<Item = &'a Value> {
    named(arguments)
        .filter(move |(name, _)| are_alike(name, key))
        .map(|(_, value)| value)
}

/// Everything at the top and inside `params`.
fn named(arguments: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    let inner = arguments.get("params").and_then(Value::as_object);
    arguments.iter().chain(inner.into_iter().flatten())
}

/// Is there anything but a plain no? What is neither true nor false may be read
/// as true by a lenient server.
pub(super) fn is_set(arguments: &Map<String, Value>, key: &str) -> bool {
    values(arguments, key).any(|value| !matches!(value, Value::Null | Value::Bool(false)))
}

/// The one VM that stands under any of these keys; none where there are two.
pub(super) fn vm(arguments: &Map<String, Value>, keys: &[&'static str]) -> Option<String> {
    // Every call comes by here, and has fewer arguments than there are keys.
    only(named(arguments).filter_map(|(name, value)| {
        let key = keys.iter().find(|key| are_alike(name, key))?;
        let is_name = value.is_string() || *key == "vmid";
        (!value.is_null()).then(|| as_vm(value).filter(|_| is_name))
    }))
}

/// A VM's name, or its number: some hypervisors number their VMs. What could be
/// no VM's name is none.
pub(super) fn as_vm(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => {
            let is_name = !text.trim().is_empty() && text.chars().count() <= VM_CHARS_MAX;
            is_name.then(|| text.clone())
        }
        Value::Number(number) => number.as_u64().map(|number| number.to_string()),
        _ => None,
    }
}

/// The one name, however often it is there; none where there are two, or where
/// one of them is no name: a server may make something of it.
pub(super) fn only(mut names: impl Iterator<Item = Option<String>>) -> Option<String> {
    let first = names.next()??;
    let same = names.all(|other| other.as_ref() == Some(&first));
    same.then_some(first)
}
