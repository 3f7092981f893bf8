//! Would vmward take what the import wrote? What it refuses is told with the line
//! of the YAML that it comes from.

use serde_json::Value;
use vmward_core::policy::Policy;

use super::Note;

/// Which line of the YAML a part of the policy comes from, by its JSON Pointer.
pub(super) type Places = Vec<(String, usize)>;

/// A key or an index behind a JSON Pointer.
pub(super) fn below(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// What the policy's reader refuses. `text` is the policy, as `{:#}` prints it.
pub(super) fn refused(policy: &Value, text: &str, places: &Places) -> Vec<Note> {
    let Err(errors) = Policy::parse(text, "policy.json") else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    pointers(policy, "", &mut 1, &mut lines);
    let place = |line: usize| {
        let (_, pointer) = lines.iter().find(|(at, _)| *at == line)?;
        let is_above = |above: &str| {
            let rest = pointer.strip_prefix(above);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let above = places.iter().filter(|(above, _)| is_above(above));
        above
            .max_by_key(|(above, _)| above.len())
            .map(|(_, line)| *line)
    };
    let notes = errors.errors().iter().map(|error| {
        let help = match &error.help {
            Some(help) => format!(" ({help})"),
            None => String::new(),
        };
        let message = format!("cannot be carried over: {}{help}", error.message);
        Note::new(place(error.line).unwrap_or(1), message)
    });
    notes.collect()
}

/// Which value begins on which line: each has a line of its own, and so has the
/// end of each that is not empty.
fn pointers(value: &Value, pointer: &str, line: &mut usize, found: &mut Vec<(usize, String)>) {
    found.push((*line, pointer.to_owned()));
    let mut child = |pointer: &str, value: &Value| {
        *line += 1;
        pointers(value, pointer, line, found);
    };
    let is_open = match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                child(&below(pointer, key), value);
            }
            !entries.is_empty()
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                child(&below(pointer, &index.to_string()), value);
            }
            !items.is_empty()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    *line += usize::from(is_open);
}
