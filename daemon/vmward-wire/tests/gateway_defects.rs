//! Defects of other gateways that begin at the wire: what is not understood, or
//! understood in two ways, must not become a request.

use vmward_wire::{
    rpc::{ErrorCode, Request},
    v1::AuthorizeParams,
};

#[track_caller]
fn refused(line: &str) -> ErrorCode {
    let refusal = Request::parse(line.as_bytes()).expect_err("it must not be a request");
    let codes = [ErrorCode::Parse, ErrorCode::InvalidRequest];
    let found = codes.into_iter().find(|code| refusal.error.is(*code));
    found.unwrap_or_else(|| panic!("{:?}", refusal.error))
}

/// What cannot be read was forwarded without a look.
#[test]
fn d01_what_cannot_be_read_is_no_request() {
    for line in [
        "",
        "{",
        "not json",
        r#"{"jsonrpc":"2.0","id":1,"method":"authorize","params":{"tool":"vm_stop"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"authorize","params":{}} {}"#,
    ] {
        assert_eq!(refused(line), ErrorCode::Parse, "{line}");
    }
    for line in [
        r#"{"jsonrpc":"2.0","id":1,"method":"authorize","params":["vm_stop"]}"#,
        r#"[{"jsonrpc":"2.0","id":1,"method":"authorize","params":{}}]"#,
        r#"{"jsonrpc":"2.0","method":"authorize","params":{}}"#,
    ] {
        assert_eq!(refused(line), ErrorCode::InvalidRequest, "{line}");
    }
    assert!(Request::parse(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}").is_err());
}

/// One key twice, or in two spellings, was judged as one value and executed as
/// the other.
#[test]
fn d02_a_key_that_stands_twice_or_in_another_case_is_refused() {
    let call = |params: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"authorize","params":{params}}}"#)
    };
    for params in [
        r#"{"tool":"vm_list","tool":"vm_stop"}"#,
        r#"{"tool":"vm_list","to\u006fl":"vm_stop"}"#,
        r#"{"tool":"vm_stop","arguments":{"identifier":"a","identifier":"b"}}"#,
    ] {
        assert_eq!(refused(&call(params)), ErrorCode::Parse, "{params}");
    }
    let envelope = r#"{"jsonrpc":"2.0","id":1,"method":"status","Method":"authorize"}"#;
    assert_eq!(refused(envelope), ErrorCode::InvalidRequest);
    let cased = call(r#"{"tool":"vm_list","Tool":"vm_stop"}"#);
    let request = Request::parse(cased.as_bytes()).expect("one key each");
    let params = serde_json::from_value::<AuthorizeParams>(request.params.into());
    assert!(params.is_err(), "`Tool` is not `tool`");
}
