//! The fake policy socket, and how to run `vmward` against it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};
use vmward_wire::{
    rpc::{ErrorObject, Request, Response},
    v1::method,
};

/// The one VM of these tests.
pub(crate) const UUID: &str = "4dea22b3-1d52-d8f3-2516-782e98ab3fa0";

/// Neither of the daemon's own names: it answers what is asked at either.
const SOCKET: &str = "fake.sock";

type Answer = Result<Value, ErrorObject>;
type Asked = Arc<Mutex<Vec<Request>>>;

/// A policy socket that answers as a function says and remembers what it was
/// asked.
pub(crate) struct FakeDaemon {
    pub(crate) folder: tempfile::TempDir,
    asked: Asked,
}

impl FakeDaemon {
    pub(crate) fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        let asked = Asked::default();
        let answer = Arc::new(answer);
        let log = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                thread::spawn(move || serve(stream.unwrap(), &log, answer.as_ref()));
            }
        });
        Self { folder, asked }
    }

    /// Allows the first `max` calls with a lease and denies the rest.
    pub(crate) fn with_quota(max: u64) -> Self {
        let used = Mutex::new(0);
        Self::start(move |request| match request.method.as_str() {
            method::AUTHORIZE => {
                let mut used = used.lock().unwrap();
                *used += 1;
                Ok(if *used <= max {
                    allowed(*used)
                } else {
                    rate_limited(*used)
                })
            }
            _ => Ok(json!({ "ok": true })),
        })
    }

    /// What was asked by this method, in order.
    pub(crate) fn asked(&self, method: &str) -> Vec<Value> {
        let asked = self.asked.lock().unwrap();
        let asked = asked.iter().filter(|request| request.method == method);
        asked
            .map(|request| Value::Object(request.params.clone()))
            .collect()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join(SOCKET)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vmward"));
        command.arg("--socket").arg(self.socket()).args(arguments);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }
}

fn serve(mut stream: UnixStream, asked: &Asked, answer: &dyn Fn(&Request) -> Answer) {
    let reader = BufReader::new(stream.try_clone().unwrap());
    for line in reader.split(b'\n') {
        let request = Request::parse(&line.unwrap()).expect("clients send valid requests");
        asked.lock().unwrap().push(request.clone());
        let outcome = if request.method == method::HELLO {
            Ok(json!({ "version": 1, "daemon": "fake", "grant": "uid:0" }))
        } else {
            answer(&request)
        };
        let response = Response {
            id: Some(request.id),
            outcome,
        };
        writeln!(stream, "{}", serde_json::to_string(&response).unwrap()).unwrap();
    }
}

/// An allow with a lease for the one VM.
pub(crate) fn allowed(id: u64) -> Value {
    json!({
        "decision": "allow", "decision_id": id, "reason_code": "allowed",
        "message": "vm_stop is allowed", "rule": "/tools/vm_stop/limits/0", "limits": [],
        "lease": {
            "id": id, "vm": { "uuid": UUID, "name": "web-1" }, "effect": "stop",
            "expires_in_ms": 120_000, "holder_pid": 42,
        },
        "args_digest": "", "policy_hash": "",
    })
}

/// A denial for the rate limit.
pub(crate) fn rate_limited(id: u64) -> Value {
    json!({
        "decision": "deny", "decision_id": id, "reason_code": "rate-limited",
        "message": "vm_stop is limited to 10 a minute", "rule": "/tools/vm_stop/limits/0",
        "limits": [{
            "counter": "vm_stop_rate", "key": "grant:uid:0", "window_s": 60, "max": 10,
            "remaining": 0, "next_free_in_ms": 41_000,
        }],
        "retry_after_ms": 41_000, "args_digest": "", "policy_hash": "",
    })
}

/// A denial for another reason.
pub(crate) fn denied(reason_code: &str, message: &str) -> Value {
    json!({
        "decision": "deny", "decision_id": 1, "reason_code": reason_code, "message": message,
        "rule": "/default", "limits": [], "args_digest": "", "policy_hash": "",
    })
}

/// An MCP client of a `vmward` that serves on its standard input and output.
pub(crate) struct McpClient {
    pub(crate) child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl McpClient {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut client = Self {
            child,
            input,
            output,
        };
        let answer = client.ask(&json!({
            "jsonrpc": "2.0", "id": 0, "method": "initialize",
            "params": {
                "protocolVersion": "2025-06-18", "capabilities": {},
                "clientInfo": { "name": "test-agent", "version": "1" },
            },
        }));
        assert!(answer["result"]["serverInfo"].is_object(), "{answer}");
        client.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        client
    }

    pub(crate) fn send(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    pub(crate) fn receive(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    pub(crate) fn ask(&mut self, message: &Value) -> Value {
        self.send(&message.to_string());
        self.receive()
    }

    /// Calls a tool and returns the call's result.
    pub(crate) fn call(&mut self, id: u64, tool: &str, arguments: &Value) -> Value {
        let answer = self.ask(&json!({
            "jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": { "name": tool, "arguments": arguments },
        }));
        assert_eq!(answer["id"], id, "{answer}");
        answer["result"].clone()
    }

    /// Leaves, and returns the exit status and what was said on standard error.
    pub(crate) fn leave(mut self) -> (Option<i32>, String) {
        drop(self.input.take());
        let status = self.child.wait().unwrap();
        let mut said = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        (status.code(), said)
    }
}
