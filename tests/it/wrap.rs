//! `vmward wrap` before a server that has the seed's `vm_stop`, with the real
//! daemon and the seed's policy: what the policy denies never reaches it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::host::Host;

/// A stdio MCP server that writes down every line that reaches it.
const SERVER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../daemon/vmward/tests/data/vm_stop_server.py"
);

/// The server behind the proxy, as a client sees it.
struct Wrapped {
    child: Child,
    next: u64,
}

impl Wrapped {
    fn start(host: &Host, record: &Path) -> Self {
        let child = host
            .command(&["wrap", "--", "python3", SERVER])
            .arg(record)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("vmward is built");
        Self { child, next: 0 }
    }

    /// One request, and its answer.
    fn call(&mut self, output: &mut impl BufRead, method: &str, params: &Value) -> Value {
        self.next += 1;
        let id = self.next;
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let input = self.child.stdin.as_mut().expect("piped");
        writeln!(input, "{request}").expect("the proxy reads");
        let mut line = String::new();
        output.read_line(&mut line).expect("the proxy answers");
        let answer: Value = serde_json::from_str(&line).expect("an answer is JSON");
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }
}

#[test]
fn the_eleventh_call_in_a_minute_never_reaches_the_server() {
    // No hypervisor is asked: this server's VMs are its own.
    let host = Host::start_without_libvirt();
    let record = host.path().join("reached");
    let mut wrapped = Wrapped::start(&host, &record);
    let mut output = BufReader::new(wrapped.child.stdout.take().expect("piped"));
    let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"}});
    wrapped.call(&mut output, "initialize", &hello);
    let stop = json!({"name": "vm_stop", "arguments": {"identifier": "web-1"}});
    for n in 1..=10 {
        let answer = wrapped.call(&mut output, "tools/call", &stop);
        assert_ne!(answer["result"]["isError"], true, "call {n}: {answer}");
    }
    let denied = wrapped.call(&mut output, "tools/call", &stop);
    assert_eq!(denied["result"]["isError"], true, "{denied}");
    let told = &denied["result"]["structuredContent"];
    assert_eq!(told["reason_code"], "rate-limited", "{denied}");
    assert!(told["retry_after_ms"].as_u64() > Some(0), "{denied}");
    drop(wrapped.child.stdin.take());
    let status = wrapped.child.wait().expect("it is our child");
    assert!(status.success(), "{status}");
    let reached = fs::read_to_string(&record).expect("the server wrote it");
    let calls = reached
        .lines()
        .filter(|line| line.contains("tools/call"))
        .count();
    assert_eq!(calls, 10, "{reached}");
    assert_eq!(host.audit().select(|r| r["decision"] == "deny").len(), 1);
}
