//! A file of cases, as it is written. What is wrong with one is said in the words
//! of the file and with its place.

use std::{fmt, path::PathBuf};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};
use vmward_core::engine::ReasonCode;

use crate::policy::case::Call;

/// Most calls of one step: more than a limit needs, and done in seconds.
const REPEAT_MAX: u32 = 10_000;

/// A file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `cases`")]
pub(super) struct File {
    /// The policy, relative to this file, where the command line names none.
    pub(super) policy: Option<PathBuf>,
    pub(super) cases: Vec<Case>,
}

/// One case: its steps share counters and approvals, and nothing with others.
#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a case: an object with `name` and `steps`"
)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) steps: Vec<Step>,
}

/// One step: a call with what is expected of it, or a person's decision about
/// the request for approval that was opened last.
#[derive(Debug, Deserialize)]
#[serde(
    remote = "Self",
    rename_all = "snake_case",
    deny_unknown_fields,
    expecting = "a step: an object with `call` or `approve`"
)]
pub(super) struct Step {
    pub(super) call: Option<Call>,
    /// `"yes"` or `"no"`.
    pub(super) approve: Option<YesOrNo>,
    /// When, RFC 3339; where absent, as the step before.
    pub(super) when: Option<String>,
    /// So many seconds after the step before.
    pub(super) after_s: Option<u32>,
    /// How often the call is made, each with the same expectation; once where
    /// absent.
    #[serde(default, deserialize_with = "repeat")]
    pub(super) repeat: Option<u32>,
    pub(super) expect: Option<Expect>,
}

impl Step {
    pub(super) fn repeat(&self) -> u32 {
        self.repeat.unwrap_or(1)
    }
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let step = Self::deserialize(from)?;
        if step.approve.is_some() {
            // A person's word has no outcome that could be compared: whoever
            // wrote this believes that something is tested.
            let given = [
                ("expect", step.expect.is_some()),
                ("repeat", step.repeat.is_some()),
            ];
            if let Some((key, _)) = given.iter().find(|(_, is_given)| *is_given) {
                let message = format!(
                    "`{key}` beside `approve`: it is about a call, and stands beside `call`"
                );
                return Err(D::Error::custom(message));
            }
        }
        Ok(step)
    }
}

fn repeat<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    let repeat = u32::deserialize(from)?;
    if repeat > REPEAT_MAX {
        let message = format!("`repeat` is at most {REPEAT_MAX}, found {repeat}");
        return Err(D::Error::custom(message));
    }
    Ok(Some(repeat))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", expecting = "\"yes\" or \"no\"")]
pub(super) enum YesOrNo {
    Yes,
    No,
}

/// What is expected: a word, or the parts that matter.
#[derive(Clone, Debug)]
pub(super) enum Expect {
    Word(Word),
    Parts(Parts),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Word {
    Allow,
    Deny,
    Pending,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parts {
    pub(super) decision: Word,
    pub(super) reason_code: Option<ReasonCode>,
    pub(super) rule: Option<String>,
    /// The reason that a rule in shadow mode would have given.
    pub(super) shadow: Option<ReasonCode>,
}

impl<'de> Deserialize<'de> for Expect {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Expected;

        impl<'de> Visitor<'de> for Expected {
            type Value = Expect;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "\"allow\", \"deny\" or \"pending\", or an object with `decision` and what \
                     else matters",
                )
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<Expect, E> {
                let word = match word {
                    "allow" => Word::Allow,
                    "deny" => Word::Deny,
                    "pending" => Word::Pending,
                    other => {
                        return Err(E::custom(format_args!(
                            "`expect` is \"allow\", \"deny\" or \"pending\", found {other:?}"
                        )));
                    }
                };
                Ok(Expect::Word(word))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Expect, A::Error> {
                let parts = Parts::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Expect::Parts(parts))
            }
        }

        from.deserialize_any(Expected)
    }
}

impl File {
    /// Reads the text of one; the error says where and what is wrong.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| plainly(&error.to_string()))
    }
}

/// The words of JSON for those of the programming language.
fn plainly(error: &str) -> String {
    let mut text = error.to_owned();
    for (theirs, ours) in [
        ("unknown field", "unknown key"),
        ("missing field", "missing key"),
        ("duplicate field", "the same key twice:"),
        ("unknown variant", "unknown word"),
        ("invalid type: ", "found "),
        ("invalid value: ", "found "),
        ("invalid length ", "found a list of length "),
        ("map, expected", "an object, expected"),
        ("a sequence", "a list"),
    ] {
        text = text.replace(theirs, ours);
    }
    text
}

#[cfg(test)]
mod tests;
