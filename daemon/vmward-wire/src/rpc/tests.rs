use serde_json::json;

use super::*;
use crate::v1::AuthorizeParams;

#[track_caller]
fn refused(line: &str, id: Option<&Id>, code: ErrorCode, expected: &str) {
    let refusal = Request::parse(line.as_bytes()).expect_err("must be refused");
    assert_eq!(refusal.id.as_ref(), id);
    assert!(refusal.error.is(code), "{:?}", refusal.error);
    assert!(
        refusal.error.message.contains(expected),
        "{}",
        refusal.error.message
    );
}

#[test]
fn a_request_is_read_and_written_alike() {
    let line = r#"{"jsonrpc":"2.0","id":"a","method":"status","params":{"x":1}}"#;
    let request = Request::parse(line.as_bytes()).unwrap();
    assert_eq!(request.id, Id::String("a".to_owned()));
    assert_eq!(serde_json::to_string(&request).unwrap(), line);
}

#[test]
fn a_request_without_parameters_has_none() {
    let request = Request::parse(br#"{"jsonrpc":"2.0","id":1,"method":"status"}"#).unwrap();
    assert!(request.params.is_empty());
}

#[test]
fn what_is_no_request_is_refused_with_its_id_where_it_has_one() {
    use ErrorCode::{InvalidRequest, Parse};
    let one = Id::Number(1);
    let one = Some(&one);
    refused("{", None, Parse, "EOF");
    refused(r#"{"id":1,"id":2}"#, None, Parse, "appears twice");
    refused("[]", None, InvalidRequest, "Batches are not supported");
    refused("1", None, InvalidRequest, "JSON object");
    refused(
        r#"{"jsonrpc":"2.0","method":"m"}"#,
        None,
        InvalidRequest,
        "Notifications",
    );
    refused(
        r#"{"jsonrpc":"2.0","method":"m","id":null}"#,
        None,
        InvalidRequest,
        "`id` must be",
    );
    refused(
        r#"{"jsonrpc":"2.0","method":"m","id":1.5}"#,
        None,
        InvalidRequest,
        "`id` must be",
    );
    for no_whole_number in ["-0", "9223372036854775808"] {
        refused(
            &format!(r#"{{"jsonrpc":"2.0","method":"m","id":{no_whole_number}}}"#),
            None,
            InvalidRequest,
            "a whole number of 64 bits",
        );
    }
    refused(r#"{"id":1,"method":"m"}"#, one, InvalidRequest, "`jsonrpc`");
    refused(
        r#"{"jsonrpc":"2.0","id":1}"#,
        one,
        InvalidRequest,
        "`method`",
    );
    let positional = r#"{"jsonrpc":"2.0","id":1,"method":"m","params":[1]}"#;
    refused(
        positional,
        one,
        InvalidRequest,
        "`params` must be an object",
    );
    let unknown = r#"{"jsonrpc":"2.0","id":1,"method":"m","parms":{}}"#;
    refused(unknown, one, InvalidRequest, "Unknown member \"parms\"");
}

#[test]
fn unknown_parameters_are_named() {
    let line = r#"{"jsonrpc":"2.0","id":1,"method":"authorize","params":{"tol":"vm_stop"}}"#;
    let mut request = Request::parse(line.as_bytes()).unwrap();
    let error = request
        .params::<AuthorizeParams>()
        .expect_err("must be refused");
    assert!(error.is(ErrorCode::InvalidParams));
    assert!(
        error
            .message
            .starts_with("Parameters of `authorize`: unknown field `tol`")
    );
}

#[test]
fn an_answer_is_read_and_written_alike() {
    for line in [
        r#"{"jsonrpc":"2.0","id":1,"result":null}"#,
        r#"{"jsonrpc":"2.0","id":"a","result":{"ok":true}}"#,
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"m"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"m","data":{"a":1}}}"#,
    ] {
        let response = Response::parse(line.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&response).unwrap(), line);
    }
}

#[test]
fn an_answer_that_is_neither_result_nor_error_or_both_is_refused() {
    for line in [
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":1,"error":{"code":1,"message":"m"}}"#,
    ] {
        let error = Response::parse(line.as_bytes()).expect_err("must be refused");
        assert_eq!(error, "an answer has either `result` or `error`");
    }
}

#[test]
fn a_refusal_becomes_an_answer_with_a_null_id() {
    let refusal = Request::parse(b"[]").expect_err("must be refused");
    let answer = serde_json::to_value(refusal.into_response()).unwrap();
    assert_eq!(answer["id"], json!(null));
    assert_eq!(answer["error"]["code"], json!(-32600));
}
