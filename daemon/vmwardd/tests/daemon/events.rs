//! Audit records as they are written, for those who subscribed.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use vmward_core::grant::TokenHash;

use crate::harness::{Daemon, Options};

const TOKEN: &str = "vmwt_0123456789abcdef";

struct Client(BufReader<UnixStream>);

impl Client {
    fn open(socket: &Path) -> Client {
        let stream = UnixStream::connect(socket).unwrap();
        let patience = Some(Duration::from_secs(30));
        stream.set_read_timeout(patience).unwrap();
        Client(BufReader::new(stream))
    }

    fn send(&mut self, method: &str, params: &Value) {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        // With one write: a subscriber is let go at its first byte.
        let line = format!("{request}\n");
        self.0.get_mut().write_all(line.as_bytes()).unwrap();
    }

    /// `None` at the end of the connection.
    fn receive(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            // It was closed before all that was sent to it was read.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
            read => read.unwrap(),
        };
        (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap())
    }

    #[track_caller]
    fn subscribe(socket: &Path, params: &Value) -> Client {
        let mut client = Client::open(socket);
        client.send("events.subscribe", params);
        let answer = client.receive().unwrap();
        assert_eq!(answer["result"]["ok"], true, "{answer}");
        client
    }

    fn record(&mut self) -> Value {
        let event = self.receive().unwrap();
        assert_eq!(event["method"], "event", "{event}");
        event["params"]["record"].clone()
    }
}

#[test]
fn the_admin_socket_carries_every_record_and_the_kinds_that_are_asked_for() {
    let daemon = Daemon::start(&Options::default());
    let mut all = Client::subscribe(&daemon.admin_socket(), &json!({}));
    let mut reports = Client::subscribe(&daemon.admin_socket(), &json!({"kinds": ["outcome"]}));
    let id = daemon.stop_test().decision_id;
    daemon.call_raw(
        "complete",
        &json!({"decision_id": id, "outcome": "stopped"}),
    );
    let (decision, outcome) = (all.record(), all.record());
    assert_eq!(decision["kind"], "decision", "{decision}");
    assert_eq!(decision["decision_id"], id);
    assert_eq!(outcome["kind"], "outcome", "{outcome}");
    assert_eq!(reports.record(), outcome);
    let logged = daemon.audit();
    assert_eq!(
        logged[logged.len() - 2..],
        [decision, outcome],
        "as the log has them"
    );
}

#[test]
fn the_policy_socket_carries_only_what_is_the_callers_own() {
    let me = nix::unistd::geteuid().as_raw();
    let ci = TokenHash::of(TOKEN);
    let daemon = Daemon::start(&Options {
        more: format!(
            "[[grants]]\nname = \"ci\"\ntoken-sha256 = \"{ci}\"\n\
             [[grants]]\nname = \"me\"\nuid = {me}\n"
        ),
        ..Options::default()
    });
    let mut mine = Client::subscribe(&daemon.socket(), &json!({}));
    let stop = json!({"tool": "vm_stop", "arguments": {"identifier": "test"}});
    let mut other = Client::open(&daemon.socket());
    other.send("hello", &json!({"version": 1, "token": TOKEN}));
    assert_eq!(other.receive().unwrap()["result"]["grant"], "ci");
    other.send("authorize", &stop);
    assert_eq!(other.receive().unwrap()["result"]["decision"], "allow");
    let id = daemon.stop_test().decision_id;
    let record = mine.record();
    assert_eq!(
        record["decision_id"], id,
        "not that of another grant: {record}"
    );
    assert_eq!(record["caller"]["grant"], "me");
}

#[test]
fn a_subscriber_that_asks_something_is_told_and_let_go() {
    let daemon = Daemon::start(&Options::default());
    let mut client = Client::subscribe(&daemon.socket(), &json!({}));
    client.send("status", &json!({}));
    let error = client.receive().unwrap();
    assert_eq!(error["error"]["code"], -32600, "{error}");
    assert_eq!(client.receive(), None);
}

#[test]
fn an_unknown_kind_and_a_ninth_subscriber_are_refused_and_a_stop_ends_the_rest() {
    let mut daemon = Daemon::start(&Options::default());
    let mut refused = Client::open(&daemon.socket());
    refused.send("events.subscribe", &json!({"kinds": ["decisions"]}));
    let error = refused.receive().unwrap();
    assert_eq!(error["error"]["code"], -32602, "{error}");
    let mut listening: Vec<Client> = (0..8)
        .map(|_| Client::subscribe(&daemon.socket(), &json!({})))
        .collect();
    refused.send("events.subscribe", &json!({}));
    let error = refused.receive().unwrap();
    assert_eq!(error["error"]["code"], -32002, "{error}");
    assert_eq!(daemon.terminate(), Some(0), "{}", daemon.log());
    assert_eq!(listening[0].receive(), None);
}

#[test]
fn nobody_at_the_policy_socket_keeps_people_from_the_admin_socket() {
    let daemon = Daemon::start(&Options::default());
    let request = br#"{"jsonrpc":"2.0","id":1,"method":"hello","params":{"version":1}}"#;
    let mut line = request.to_vec();
    line.push(b'\n');
    let greet = || {
        let mut stream = UnixStream::connect(daemon.socket()).unwrap();
        // One who is turned away may hear of it before all was sent.
        let _turned_away = stream.write_all(&line);
        let mut answer = String::new();
        let mut reader = BufReader::new(stream);
        let _turned_away = reader.read_line(&mut answer);
        (answer.contains("result"), reader)
    };
    let held: Vec<_> = std::iter::repeat_with(greet).take(80).collect();
    let served = held.iter().filter(|(served, _)| *served).count();
    assert!(served < 80, "the policy socket is full");
    let answer = Daemon::call_at(&daemon.admin_socket(), "status", &json!({}));
    assert!(answer["result"].is_object(), "{answer}");
}
