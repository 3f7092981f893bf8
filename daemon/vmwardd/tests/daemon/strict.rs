//! Every line that two readers could read differently, or that is no request,
//! has its documented error, and the connection goes on.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Daemon, Options};

const PARSE: i32 = -32700;
const REQUEST: i32 = -32600;
const PARAMS: i32 = -32602;

fn nested(levels: usize) -> Vec<u8> {
    let (open, close) = ("[".repeat(levels), "]".repeat(levels));
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"authorize","params":{{"tool":"x","arguments":{{"a":{open}{close}}}}}}}"#
    )
    .into_bytes()
}

fn with_argument(value: &str) -> Vec<u8> {
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"authorize","params":{{"tool":"x","arguments":{{"a":{value}}}}}}}"#
    )
    .into_bytes()
}

#[test]
fn each_line_that_is_no_request_has_its_error_and_the_connection_goes_on() {
    let daemon = Daemon::start(&Options::default());
    let mut stream = UnixStream::connect(daemon.socket()).unwrap();
    let patience = Some(Duration::from_secs(30));
    stream.set_read_timeout(patience).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let status = r#"{"jsonrpc":"2.0","id":1,"method":"status"}"#;
    let cases: Vec<(&str, Vec<u8>, i32)> = vec![
        ("no JSON", b"status".to_vec(), PARSE),
        ("half an object", b"{\"jsonrpc\":\"2.0\"".to_vec(), PARSE),
        ("a key twice", with_argument(r#"{"b":1,"b":2}"#), PARSE),
        (
            "a key twice, once escaped",
            with_argument(r#"{"b":1,"\u0062":2}"#),
            PARSE,
        ),
        ("33 levels", nested(33), PARSE),
        ("a flood of levels", nested(20_000), PARSE),
        (
            "bad UTF-8",
            with_argument("\"?\"")
                .into_iter()
                .map(|byte| if byte == b'?' { 0xff } else { byte })
                .collect(),
            PARSE,
        ),
        (
            "a byte order mark",
            [b"\xef\xbb\xbf", status.as_bytes()].concat(),
            PARSE,
        ),
        ("half a surrogate pair", with_argument(r#""\ud800""#), PARSE),
        ("a number beyond all bounds", with_argument("1e999"), PARSE),
        (
            "something after the object",
            format!("{status} {status}").into_bytes(),
            PARSE,
        ),
        ("a comment", format!("{status} // now").into_bytes(), PARSE),
        ("a batch", format!("[{status}]").into_bytes(), REQUEST),
        (
            "a notification",
            br#"{"jsonrpc":"2.0","method":"status"}"#.to_vec(),
            REQUEST,
        ),
        (
            "no version",
            br#"{"id":1,"method":"status"}"#.to_vec(),
            REQUEST,
        ),
        (
            "a fraction as id",
            br#"{"jsonrpc":"2.0","id":1.5,"method":"status"}"#.to_vec(),
            REQUEST,
        ),
        (
            "a member too many",
            br#"{"jsonrpc":"2.0","id":1,"method":"status","x":1}"#.to_vec(),
            REQUEST,
        ),
        (
            "parameters by position",
            br#"{"jsonrpc":"2.0","id":1,"method":"status","params":[]}"#.to_vec(),
            REQUEST,
        ),
        (
            "an unknown method",
            br#"{"jsonrpc":"2.0","id":1,"method":"Status"}"#.to_vec(),
            -32601,
        ),
        (
            "an unknown parameter",
            br#"{"jsonrpc":"2.0","id":1,"method":"tools.filter","params":{"tools":[],"x":1}}"#
                .to_vec(),
            PARAMS,
        ),
        (
            "a parameter of another type",
            br#"{"jsonrpc":"2.0","id":1,"method":"approval.wait","params":{"approval":"7"}}"#
                .to_vec(),
            PARAMS,
        ),
        (
            "a version too old",
            br#"{"jsonrpc":"2.0","id":1,"method":"hello","params":{"version":0}}"#.to_vec(),
            -32004,
        ),
        (
            "an unknown lease",
            br#"{"jsonrpc":"2.0","id":1,"method":"lease.release","params":{"lease":99}}"#.to_vec(),
            -32005,
        ),
        (
            "an unknown request",
            br#"{"jsonrpc":"2.0","id":1,"method":"approval.wait","params":{"approval":99}}"#
                .to_vec(),
            -32005,
        ),
        (
            "a method for people",
            br#"{"jsonrpc":"2.0","id":1,"method":"approval.list"}"#.to_vec(),
            -32007,
        ),
    ];
    for (what, mut line, code) in cases {
        line.push(b'\n');
        stream.write_all(&line).unwrap();
        let mut answer = String::new();
        answers.read_line(&mut answer).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["error"]["code"], code, "{what}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(!message.is_empty(), "{what}");
    }
    writeln!(stream, "{status}").unwrap();
    let mut answer = String::new();
    answers.read_line(&mut answer).unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["id"], json!(1), "{answer}");
    assert_eq!(answer["error"], Value::Null, "{answer}");
}
