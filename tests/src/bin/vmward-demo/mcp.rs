//! An MCP client over the standard input and output of a server, as small as
//! the protocol allows: one JSON-RPC message a line.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// The protocol revision that the client offers.
const REVISION: &str = "2025-06-18";
/// How long the server may take before it answers a call that does nothing.
const HANDSHAKE_LIMIT: Duration = Duration::from_mins(1);
/// How long it may take to end when its input has ended.
const END_LIMIT: Duration = Duration::from_secs(20);
/// More answers than calls that are ever under way.
const ANSWERS_MAX: usize = 64;

/// An answer and when it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: Value,
    pub(crate) at: Instant,
}

impl Answer {
    /// What the model gets to read.
    pub(crate) fn text(&self) -> &str {
        let text = &self.body["result"]["content"][0]["text"];
        text.as_str()
            .or_else(|| self.body["error"]["message"].as_str())
            .unwrap_or("no text")
    }

    /// What programs get to read.
    pub(crate) fn structured(&self) -> &Value {
        &self.body["result"]["structuredContent"]
    }
}

/// A client with its server.
#[derive(Debug)]
pub(crate) struct Client {
    server: Child,
    input: Option<ChildStdin>,
    answers: Receiver<(u64, Answer)>,
    early: BTreeMap<u64, Answer>,
    next: u64,
}

impl Client {
    /// Starts the server and shakes hands; gives the server's own description
    /// too.
    pub(crate) fn start(agent: &str, program: &str, args: &[&str]) -> Result<(Self, Value)> {
        let mut server = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("Failed to run {program}"))?;
        let input = server.stdin.take();
        let output = server
            .stdout
            .take()
            .context("the server's output is piped")?;
        let (send, answers) = sync_channel(ANSWERS_MAX);
        thread::spawn(move || {
            for (id, answer) in lines(output) {
                if send.send((id, answer)).is_err() {
                    return;
                }
            }
        });
        let mut client = Self {
            server,
            input,
            answers,
            early: BTreeMap::new(),
            next: 1,
        };
        let id = client.request(
            "initialize",
            &json!({
                "protocolVersion": REVISION,
                "capabilities": {},
                "clientInfo": { "name": agent, "version": "1" },
            }),
        )?;
        let hello = client.answer(id, HANDSHAKE_LIMIT)?.body["result"].take();
        client.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))?;
        Ok((client, hello))
    }

    /// The names of the server's tools.
    pub(crate) fn tools(&mut self) -> Result<Vec<String>> {
        let id = self.request("tools/list", &json!({}))?;
        let answer = self.answer(id, HANDSHAKE_LIMIT)?;
        let tools = answer.body["result"]["tools"]
            .as_array()
            .context("no list of tools came")?;
        Ok(tools
            .iter()
            .filter_map(|tool| tool["name"].as_str().map(str::to_owned))
            .collect())
    }

    /// Calls a tool and does not wait; the number is for [`Client::answer`].
    pub(crate) fn call(&mut self, tool: &str, arguments: &Value) -> Result<u64> {
        self.request(
            "tools/call",
            &json!({ "name": tool, "arguments": arguments }),
        )
    }

    /// Waits for the answer to a request.
    pub(crate) fn answer(&mut self, id: u64, limit: Duration) -> Result<Answer> {
        let end = Instant::now() + limit;
        loop {
            if let Some(answer) = self.early.remove(&id) {
                return Ok(answer);
            }
            let left = end.saturating_duration_since(Instant::now());
            let (of, answer) = self
                .answers
                .recv_timeout(left)
                .with_context(|| format!("the MCP server gave no answer to request {id}"))?;
            self.early.insert(of, answer);
        }
    }

    /// Ends the server by ending its input, as MCP has it.
    pub(crate) fn end(mut self) -> Result<()> {
        drop(self.input.take());
        let status = crate::host::wait(END_LIMIT, || self.server.try_wait().transpose());
        match status.transpose()? {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("the MCP server ended badly ({status})"),
            None => {
                self.server.kill()?;
                self.server.wait()?;
                bail!("the MCP server did not end with its input")
            }
        }
    }

    fn request(&mut self, method: &str, params: &Value) -> Result<u64> {
        let id = self.next;
        self.next += 1;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))?;
        Ok(id)
    }

    fn send(&mut self, message: &Value) -> Result<()> {
        let input = self.input.as_mut().context("the server's input is piped")?;
        input
            .write_all(format!("{message}\n").as_bytes())
            .context("the MCP server has gone")
    }
}

/// Every answer that the server prints; its notifications are passed over.
fn lines(output: ChildStdout) -> impl Iterator<Item = (u64, Answer)> {
    BufReader::new(output)
        .lines()
        .map_while(std::result::Result::ok)
        .filter_map(|line| {
            let body: Value = serde_json::from_str(&line).ok()?;
            Some((
                body["id"].as_u64()?,
                Answer {
                    body,
                    at: Instant::now(),
                },
            ))
        })
}
