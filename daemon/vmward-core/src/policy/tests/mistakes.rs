//! Each mistake by its words, its place and its help.

use super::*;

/// What is written, where the caret begins, what is said, and what helps.
struct Mistake(&'static str, &'static str, &'static str, &'static str);

/// Does the published schema see the mistake too?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Schema {
    Sees,
    CannotSee,
}

/// Each is the only mistake of its policy. `frame` has `_` where it goes.
#[track_caller]
fn check_all(frame: &str, schema: Schema, mistakes: &[Mistake]) {
    for Mistake(written, place, message, help) in mistakes {
        let text = frame.replace('_', written).replace('~', "_");
        let text = format!("{{\"version\":\"1\",\"default\":\"deny\",{text}}}");
        let errors = match Policy::parse(&text, "p") {
            Ok(_) => panic!("accepted: {text}"),
            Err(errors) => errors,
        };
        let found: Vec<_> = errors.errors().iter().collect();
        assert_eq!(found.len(), 1, "{text}\n{errors}");
        assert_eq!(found[0].message, *message, "{text}");
        assert_eq!(found[0].help.as_deref().unwrap_or(""), *help, "{text}");
        assert!(
            text[found[0].offset..].starts_with(place),
            "{text}\n{errors}"
        );
        let seen = !schema::mistakes(&text).is_empty();
        assert_eq!(seen, schema == Schema::Sees, "{text}");
    }
}

const SHORTER: &str = "leave it out";
const ONE: &str = "remove one of the two";

#[test]
fn of_the_top_of_a_policy() {
    check_all(
        "_",
        Schema::Sees,
        &[
            Mistake(
                r#""tols":{}"#,
                r#""tols""#,
                "unknown key \"tols\" in the policy",
                "did you mean \"tools\"?",
            ),
            Mistake(
                r#""rules":{}"#,
                r#""rules""#,
                "unknown key \"rules\" in the policy",
                "\"vmward policy import\" reads the other gateway's format",
            ),
            Mistake(
                r#""description":1"#,
                "1}",
                "\"description\" must be a string, found the number 1",
                "",
            ),
            Mistake(
                r#""tools":[]"#,
                "[]",
                "\"tools\" must be an object, found an array",
                "",
            ),
            Mistake(
                r#""tools":{"*":{}}"#,
                r#""*""#,
                "\"*\" is not the name of a tool",
                "what no rule names is governed by \"default\", and every tool by \"all_tools\"",
            ),
            Mistake(
                r#""tools":{"t":[]}"#,
                "[]",
                "the rule for \"t\" must be an object, found an array",
                "",
            ),
            Mistake(
                r#""all_tools":{"limit":[]}"#,
                r#""limit""#,
                "unknown key \"limit\" in \"all_tools\"",
                "did you mean \"limits\"?",
            ),
            Mistake(
                r#""hide":"t""#,
                r#""t""#,
                "\"hide\" must be an array, found the string \"t\"",
                "write [ ... ] around the tool",
            ),
            Mistake(
                r#""hide":[1]"#,
                "1]",
                "\"hide\" must be a string, found the number 1",
                "",
            ),
            Mistake(
                r#""effects":{"stopp":{}}"#,
                r#""stopp""#,
                "unknown effect \"stopp\"",
                "did you mean \"stop\"?",
            ),
            Mistake(
                r#""effects":{"start":{"action":"deny"}}"#,
                r#""start""#,
                "unknown effect \"start\"",
                "the effects are \"stop\", \"force_stop\", \"reboot\", \"reset\", \"pause\", \"save\", \"migrate\", \"delete\"",
            ),
        ],
    );
    check_all(
        "_",
        Schema::CannotSee,
        &[
            Mistake(
                r#""hide":["t","t"]"#,
                r#""t"]"#,
                "\"t\" is hidden twice",
                ONE,
            ),
            Mistake(
                r#""hide":["t"],"tools":{"t":{}}"#,
                r#""t":{}"#,
                "the rule for \"t\" is never reached: \"hide\" denies the tool",
                "remove it here or from \"hide\"; a rule in \"effects\" governs callers that name no tool",
            ),
            Mistake(
                r#""hide":"*","tools":{"t":{}}"#,
                r#""t""#,
                "the rule for \"t\" is never reached: \"hide\" denies the tool",
                "remove it here or from \"hide\"; a rule in \"effects\" governs callers that name no tool",
            ),
        ],
    );
}
