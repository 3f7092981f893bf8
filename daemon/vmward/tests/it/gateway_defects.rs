//! Defects of other gateways, shown at the proxy: what reaches the server is
//! what was judged, and what the server says is not proof.

use serde_json::{Value, json};
use vmward_wire::v1::method;

use crate::fake::FakeDaemon;
use crate::wrap::{reached, start};

/// Lines that could not be read were forwarded without a look.
#[test]
fn d01_what_cannot_be_read_reaches_no_server_and_the_session_goes_on() {
    let daemon = FakeDaemon::with_quota(10);
    let mut client = start(&daemon);
    for (line, code) in [
        ("not json", -32700),
        (
            r#"[{"jsonrpc":"2.0","id":1,"method":"tools/call"}]"#,
            -32600,
        ),
        (
            r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"vm_stop"}}"#,
            -32600,
        ),
    ] {
        client.send(line);
        let answer = client.receive();
        assert_eq!(answer["id"], Value::Null, "{answer}");
        assert_eq!(answer["error"]["code"], code, "{answer}");
    }
    let list = client.ask(&json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" }));
    assert_eq!(list["result"]["tools"][0]["name"], "vm_stop");
    client.leave();
    assert_eq!(reached(&daemon), [] as [Value; 0]);
    assert_eq!(daemon.asked(method::AUTHORIZE), [] as [Value; 0]);
}

/// A second key, or the same in another case, made the gateway judge one tool
/// and the server execute another.
#[test]
fn d02_a_call_that_two_readers_read_differently_reaches_no_server() {
    let daemon = FakeDaemon::with_quota(10);
    let mut client = start(&daemon);
    for params in [
        r#"{"name":"vm_list","name":"vm_stop"}"#,
        r#"{"name":"vm_list","Name":"vm_stop"}"#,
        r#"{"name":"vm_list","arguments":{},"Arguments":{"identifier":"web-1"}}"#,
        r#"{"name":"vm_stop","arguments":{"identifier":"test-1","Identifier":"web-1"}}"#,
    ] {
        client.send(&format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#
        ));
        let answer = client.receive();
        assert!(answer["error"]["code"].is_i64(), "{params}: {answer}");
    }
    client.leave();
    assert_eq!(reached(&daemon), [] as [Value; 0]);
    assert_eq!(daemon.asked(method::AUTHORIZE), [] as [Value; 0]);
}

/// A tool's own word for success or failure decided over the refund. Here it
/// only goes on record; the kernel's evidence decides.
#[test]
fn d07_what_the_server_says_of_a_call_is_no_proof_of_it() {
    let daemon = FakeDaemon::with_quota(10);
    let mut client = start(&daemon);
    let answers = [
        ("web-1", "the server answered that the tool succeeded"),
        ("is-error", "the server answered that the tool failed"),
        ("says-false", "the server answered that the tool succeeded"),
        ("json-error", "the server answered with an error"),
    ];
    for (id, (vm, _)) in (1_u64..).zip(answers) {
        client.call(id, "vm_stop", &json!({ "identifier": vm }));
    }
    client.leave();
    let reported = daemon.asked(method::COMPLETE);
    assert_eq!(reported.len(), answers.len());
    for (report, (vm, said)) in reported.iter().zip(answers) {
        assert_eq!(report["outcome"], "unknown", "{vm}");
        assert_eq!(report["detail"], said, "{vm}");
    }
}
