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
const STATUS: &str = r#"{"jsonrpc":"2.0","id":1,"method":"status"}"#;

struct Client {
    stream: UnixStream,
    answers: BufReader<UnixStream>,
}

impl Client {
    fn open(daemon: &Daemon) -> Client {
        let stream = UnixStream::connect(daemon.socket()).unwrap();
        let patience = Some(Duration::from_secs(30));
        stream.set_read_timeout(patience).unwrap();
        let answers = BufReader::new(stream.try_clone().unwrap());
        Client { stream, answers }
    }

    fn send(&mut self, line: &[u8]) -> Value {
        self.stream.write_all(&[line, b"\n"].concat()).unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap()
    }

    #[track_caller]
    fn refused(&mut self, line: &[u8], code: i32) {
        let answer = self.send(line);
        let sent = String::from_utf8_lossy(line);
        let sent: String = sent.chars().take(200).collect();
        assert_eq!(answer["error"]["code"], code, "{sent}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(!message.is_empty(), "{sent}");
    }

    #[track_caller]
    fn goes_on(&mut self) {
        let answer = self.send(STATUS.as_bytes());
        assert_eq!(answer["id"], json!(1), "{answer}");
        assert_eq!(answer["error"], Value::Null, "{answer}");
    }
}

/// A call with this value among its arguments.
fn with(value: &[u8]) -> Vec<u8> {
    let begin = br#"{"jsonrpc":"2.0","id":1,"method":"authorize","params":{"tool":"x","#;
    [begin, &br#""arguments":{"a":"#[..], value, b"}}}"].concat()
}

fn nested(levels: usize) -> Vec<u8> {
    with(format!("{}{}", "[".repeat(levels), "]".repeat(levels)).as_bytes())
}

#[test]
fn a_line_that_two_readers_could_read_differently_is_refused_and_the_connection_goes_on() {
    let daemon = Daemon::start(&Options::default());
    let mut client = Client::open(&daemon);
    for line in [
        b"status".to_vec(),
        br#"{"jsonrpc":"2.0""#.to_vec(),
        // A key twice, and once more in other letters.
        with(br#"{"b":1,"b":2}"#),
        with(br#"{"b":1,"\u0062":2}"#),
        nested(33),
        nested(20_000),
        with(b"\"\xff\""),
        [b"\xef\xbb\xbf", STATUS.as_bytes()].concat(),
        with(br#""\ud800""#),
        with(b"1e999"),
        format!("{STATUS} {STATUS}").into_bytes(),
        format!("{STATUS} // now").into_bytes(),
    ] {
        client.refused(&line, PARSE);
    }
    client.goes_on();
}

#[test]
fn a_line_that_is_no_request_has_the_error_that_the_document_says() {
    let daemon = Daemon::start(&Options::default());
    let mut client = Client::open(&daemon);
    for (line, code) in [
        (r#"[{"jsonrpc":"2.0","id":1,"method":"status"}]"#, REQUEST),
        (r#"{"jsonrpc":"2.0","method":"status"}"#, REQUEST),
        (r#"{"id":1,"method":"status"}"#, REQUEST),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"status"}"#, REQUEST),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"status","x":1}"#,
            REQUEST,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"status","params":[]}"#,
            REQUEST,
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":"Status"}"#, -32601),
    ] {
        client.refused(line.as_bytes(), code);
    }
    for (method, params, code) in [
        ("tools.filter", json!({"tools": [], "x": 1}), PARAMS),
        ("approval.wait", json!({"approval": "7"}), PARAMS),
        ("hello", json!({"version": 0}), -32004),
        ("lease.release", json!({"lease": 99}), -32005),
        ("approval.wait", json!({"approval": 99}), -32005),
        ("approval.list", json!({}), -32007),
    ] {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        client.refused(request.to_string().as_bytes(), code);
    }
    client.goes_on();
}
