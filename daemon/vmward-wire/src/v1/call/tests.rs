//! What is read at once reads the same in two steps.

use proptest::{prelude::*, sample::select};

use super::*;
use crate::rpc::Request;

/// Both ways of reading a line, as text that can be compared.
fn in_two_steps(line: &str) -> Option<String> {
    let mut request = Request::parse(line.as_bytes()).ok()?;
    (request.method == method::AUTHORIZE).then_some(())?;
    let params: AuthorizeParams = request.params().ok()?;
    Some(format!("{:?} {params:?}", request.id))
}

fn at_once(line: &str) -> Option<String> {
    let (id, params) = read_call(line.as_bytes())?;
    Some(format!("{id:?} {params:?}"))
}

/// Reads no line that the two steps refuse, and none otherwise than they do.
#[track_caller]
fn check(line: &str) {
    let read = at_once(line);
    assert!(read.is_none() || read == in_two_steps(line), "{line}");
}

#[test]
fn a_usual_call_is_read_at_once() {
    for line in [
        r#"{"jsonrpc":"2.0","id":1,"method":"authorize","params":{"tool":"vm_stop"}}"#,
        r#" {"params":{"effect":"stop","vm":"a\nb","holder":"parent"},"id":"x","method":"authorize","jsonrpc":"2.0"} "#,
        r#"{"jsonrpc":"2.0","id":-1,"method":"authorize","params":{"tool":null,"arguments":{"a":[{"b":1.5}]},"server":"s","reason":"r","agent":"a"}}"#,
    ] {
        assert!(at_once(line).is_some(), "{line}");
        assert_eq!(at_once(line), in_two_steps(line));
    }
}

#[test]
fn nothing_is_said_about_an_unusual_line() {
    let deep = |depth| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"authorize","params":{{"arguments":{{"a":{open}{close}}}}}}}"#
        )
    };
    assert!(at_once(&deep(29)).is_some());
    check(&deep(29));
    for line in [
        deep(30),
        r#"["2.0",1,"authorize",{"tool":"t"}]"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"authorize","params":["t"]}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"authorize"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","method":"authorize","params":{}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":null,"method":"authorize","params":{}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1.0,"method":"authorize","params":{}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":18446744073709551615,"method":"authorize","params":{}}"#
            .to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"id":1,"method":"authorize","params":{}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"authorize","params":{"tool":"a","tool":"a"}}"#
            .to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"authorize","params":{"arguments":{"a":1,"a":1}}}"#
            .to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"authorize","params":{"arguments":[]}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"authorize","params":{"arguments":null}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"authorize","params":{"arguments":{"a":1e19}}}"#
            .to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"authorize","params":{"other":1}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"authorize","params":{},"other":1}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"status","params":{}}"#.to_owned(),
        r#"{"jsonrpc":"1.0","id":1,"method":"authorize","params":{}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"authorize","params":{}} x"#.to_owned(),
        "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"authorize\",\"params\":{}}".to_owned(),
        String::new(),
    ] {
        assert_eq!(at_once(&line), None, "{line}");
    }
}

/// A value as it may stand anywhere, right or wrong.
fn value() -> impl Strategy<Value = String> {
    let scalar = select(vec![
        "null",
        "true",
        "0",
        "-1",
        "1",
        "1.0",
        "1e3",
        "-0",
        "9223372036854775807",
        "9223372036854775808",
        "1e19",
        "\"2.0\"",
        "\"authorize\"",
        "\"a\\u0075thorize\"",
        "\"stop\"",
        "\"caller\"",
        "\"parent\"",
        "\"x\"",
        "\"\\ud800\"",
        "\"\\n\"",
        "\"\"",
        "{\"stop\":null}",
        "{\"parent\":null,\"parent\":null}",
        "[\"stop\"]",
        "",
    ])
    .prop_map(str::to_owned);
    scalar.prop_recursive(3, 16, 4, |inner| {
        let keys = select(vec!["a", "b", "params", "a"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((keys, inner), 0..4).prop_map(object),
        ]
    })
}

fn object(members: Vec<(&'static str, String)>) -> String {
    let members: Vec<String> = members
        .into_iter()
        .map(|(key, value)| format!("\"{key}\": {value}"))
        .collect();
    format!("{{{}}}", members.join(", "))
}

/// A member whose value is most often the right one.
fn member(
    key: &'static str,
    right: &[&'static str],
) -> impl Strategy<Value = (&'static str, String)> + use<> {
    let right = select(right.to_vec()).prop_map(str::to_owned);
    prop_oneof![9 => right, 1 => value()].prop_map(move |value| (key, value))
}

fn params() -> impl Strategy<Value = String> {
    let text = ["\"x\"", "null", "\"\\u0041\""];
    let members = vec![
        member("tool", &text).boxed(),
        member("server", &text).boxed(),
        member("vm", &text).boxed(),
        member("reason", &text).boxed(),
        member("agent", &text).boxed(),
        member("effect", &["\"stop\"", "\"force_stop\"", "null"]).boxed(),
        member("holder", &["\"caller\"", "\"parent\""]).boxed(),
        value().prop_map(|value| ("arguments", value)).boxed(),
        value()
            .prop_map(|value| ("arguments", format!("{{\"a\":{value}}}")))
            .boxed(),
        value().prop_map(|value| ("other", value)).boxed(),
    ];
    let few = prop::collection::vec(prop::strategy::Union::new(members), 0..5);
    prop_oneof![9 => few.prop_map(object), 1 => value()]
}

fn line() -> impl Strategy<Value = String> {
    let members = (
        member("jsonrpc", &["\"2.0\""]),
        member("id", &["1", "\"x\""]),
        member("method", &["\"authorize\""]),
        params().prop_map(|params| ("params", params)),
        prop::option::weighted(0.1, member("id", &["1"])),
        prop::option::weighted(0.1, member("more", &["1"])),
    );
    let members = members.prop_map(|(one, two, three, four, five, six)| {
        let all = [Some(one), Some(two), Some(three), Some(four), five, six];
        all.into_iter().flatten().collect::<Vec<_>>()
    });
    (members.prop_shuffle(), 0..20_usize).prop_map(|(mut members, dropped)| {
        // One in a while lacks something.
        if dropped < members.len() {
            members.remove(dropped);
        }
        object(members)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn whatever_is_read_at_once_reads_the_same_in_two_steps(line in line()) {
        check(&line);
    }
}
