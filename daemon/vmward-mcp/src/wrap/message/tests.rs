use super::*;

#[track_caller]
fn refused(line: &str, id: Option<i64>, code: ErrorCode, expected: &str) {
    match Message::parse(line.as_bytes()) {
        Message::Refuse(Response {
            id: answered,
            outcome: Err(error),
        }) => {
            assert_eq!(answered, id.map(Id::Number));
            assert!(error.is(code), "{error:?}");
            assert!(error.message.contains(expected), "{}", error.message);
        }
        other => panic!("not refused: {other:?}"),
    }
}

fn call(params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#)
}

#[test]
fn a_call_is_read_with_tool_and_arguments() {
    let line = call(r#"{"name":"vm_stop","arguments":{"identifier":"web-1"},"_meta":{"x":1}}"#);
    let Message::Call(call) = Message::parse(line.as_bytes()) else {
        panic!("no call")
    };
    assert_eq!(call.tool, "vm_stop");
    assert_eq!(call.arguments["identifier"], "web-1");
    assert_eq!(call.value.to_string(), line);
}

#[test]
fn what_is_forwarded_is_written_anew() {
    let line = "  {\"jsonrpc\" :\"2.0\",\"method\":\"\\u0070ing\",\"id\":1}\r";
    let Message::Forward(value) = Message::parse(line.as_bytes()) else {
        panic!("not forwarded")
    };
    assert_eq!(
        value.to_string(),
        r#"{"jsonrpc":"2.0","method":"ping","id":1}"#
    );
}

#[test]
fn an_escaped_method_name_is_still_a_call() {
    let line = r#"{"jsonrpc":"2.0","id":1,"method":"tools\/c\u0061ll","params":{"name":"t"}}"#;
    assert!(matches!(Message::parse(line.as_bytes()), Message::Call(_)));
}

#[test]
fn what_cannot_be_parsed_is_refused_without_id() {
    refused("{", None, ErrorCode::Parse, "EOF");
    refused("[{}]", None, ErrorCode::InvalidRequest, "Batches");
    refused("7", None, ErrorCode::InvalidRequest, "JSON object");
    refused(
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#,
        None,
        ErrorCode::Parse,
        "appears twice",
    );
}

#[test]
fn a_message_that_a_looser_reader_takes_for_a_call_is_refused() {
    use ErrorCode::{InvalidParams, InvalidRequest, UnknownMethod};
    let second = r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}"#;
    refused(second, Some(1), InvalidRequest, "Unknown member \"Method\"");
    let cased = r#"{"jsonrpc":"2.0","id":1,"method":"Tools/Call"}"#;
    refused(cased, Some(1), UnknownMethod, "tools/call");
    let name = call(r#"{"name":"vm_list","Name":"vm_stop"}"#);
    refused(&name, Some(1), InvalidParams, "small letters");
    let long_s = call(r#"{"name":"vm_stop","argument\u017f":{"identifier":"web-1"}}"#);
    refused(&long_s, Some(1), InvalidParams, "small letters");
    let force = call(r#"{"name":"vm_stop","arguments":{"force":false,"Force":true}}"#);
    refused(&force, Some(1), InvalidParams, "only in case");
}

#[test]
fn a_call_without_usable_id_or_parameters_is_refused() {
    use ErrorCode::{InvalidParams, InvalidRequest};
    let notification = r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"vm_stop"}}"#;
    refused(notification, None, InvalidRequest, "needs an `id`");
    let null = r#"{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"vm_stop"}}"#;
    refused(null, None, InvalidRequest, "needs an `id`");
    refused(&call("[]"), Some(1), InvalidParams, "`params`");
    refused(&call("{}"), Some(1), InvalidParams, "`name`");
    refused(
        &call(r#"{"name":"t","arguments":null}"#),
        Some(1),
        InvalidParams,
        "`arguments`",
    );
}

#[test]
fn answers_of_the_server_are_told_from_its_requests() {
    let said = |line: &str| answered(line.as_bytes()).map(|(id, said)| (id, said.to_owned()));
    let (id, text) = said(r#"{"jsonrpc":"2.0","id":"a","result":{"isError":true}}"#).unwrap();
    assert_eq!(id, Id::String("a".to_owned()));
    assert_eq!(text, "the server answered that the tool failed");
    assert_eq!(said(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#), None);
    assert_eq!(said("no json"), None);
}

#[test]
fn a_name_that_ends_early_for_some_readers_is_refused() {
    let nul = r"\u0000";
    refused(
        &format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call{nul}","params":{{}}}}"#),
        Some(1),
        ErrorCode::UnknownMethod,
        "control character",
    );
    for params in [
        format!(r#"{{"name":"vm_stop{nul}x"}}"#),
        format!(r#"{{"name":"vm_list","name{nul}":"vm_stop"}}"#),
        format!(r#"{{"name":"t","arguments":{{"force{nul}":true}}}}"#),
    ] {
        let expected = "control character";
        refused(&call(&params), Some(1), ErrorCode::InvalidParams, expected);
    }
}

#[test]
fn a_cancelled_request_is_known_by_its_id() {
    let of = |method: &str, id: Value| {
        cancelled(&json!({ "jsonrpc": "2.0", "method": method, "params": { "requestId": id } }))
    };
    let method = "notifications/cancelled";
    assert_eq!(of(method, json!(7)), Some(Id::Number(7)));
    assert_eq!(of(method, json!("a")), Some(Id::String("a".to_owned())));
    assert_eq!(of(method, json!(1.5)), None);
    assert_eq!(of("notifications/progress", json!(7)), None);
    assert_eq!(cancelled(&json!({ "method": method })), None);
}
