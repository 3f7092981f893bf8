//! The least that a server on a Unix socket can do: a thread for each
//! connection, one blocking read, one blocking write.

use std::{
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    thread,
};

use anyhow::{Context, Result};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Longest request; the bench's own are a few hundred bytes.
const REQUEST_BYTES_MAX: usize = 64 * 1024;

#[derive(Args)]
pub(crate) struct EchoArgs {
    /// Where to listen
    #[arg(long)]
    socket: PathBuf,
    /// Bytes of each answer, its line feed included
    #[arg(long)]
    answer: usize,
    /// Read each request as JSON, and write a record and an answer as JSON, all of
    /// which goes nowhere
    #[arg(long)]
    json: bool,
}

/// Serves until it is killed.
pub(super) fn run(args: &EchoArgs) -> Result<()> {
    let listener = UnixListener::bind(&args.socket)
        .with_context(|| format!("Failed to listen on {}", args.socket.display()))?;
    let mut answer = vec![b'.'; args.answer.max(1)];
    if let Some(last) = answer.last_mut() {
        *last = b'\n';
    }
    for stream in listener.incoming() {
        let (stream, answer, json) = (stream?, answer.clone(), args.json);
        thread::spawn(move || serve(stream, &answer, json));
    }
    Ok(())
}

fn serve(mut stream: UnixStream, answer: &[u8], json: bool) {
    let mut request = vec![0; REQUEST_BYTES_MAX];
    let mut held = 0;
    // A decision's answer is some dozen short strings and numbers.
    let words = vec!["a word of an answer"; answer.len() / 24];
    while let Some(room) = request.get_mut(held..).filter(|room| !room.is_empty()) {
        match stream.read(room) {
            Ok(0) | Err(_) => return,
            Ok(bytes) => held += bytes,
        }
        if request.get(held - 1) == Some(&b'\n') {
            if json && work(request.get(..held).unwrap_or_default(), &words).is_err() {
                return;
            }
            held = 0;
            if stream.write_all(answer).is_err() {
                return;
            }
        }
    }
}

/// A request, read with as few copies as serde makes.
#[derive(Deserialize, Serialize)]
struct Call<'a> {
    jsonrpc: &'a str,
    id: u64,
    method: &'a str,
    params: Params<'a>,
}

#[derive(Deserialize, Serialize)]
struct Params<'a> {
    tool: &'a str,
    arguments: Map<String, Value>,
    agent: &'a str,
    reason: &'a str,
}

#[derive(Serialize)]
struct Record<'a> {
    call: Call<'a>,
    said: &'a [&'a str],
    caller: [&'a str; 3],
}

/// What no server that reads and writes JSON by serde and records what it said can
/// leave out: the request, a record that holds it, an answer of that length.
fn work(request: &[u8], words: &[&str]) -> serde_json::Result<()> {
    let record = Record {
        call: serde_json::from_slice(request)?,
        said: words,
        caller: ["a", "b", "c"],
    };
    std::hint::black_box(serde_json::to_vec(&record)?);
    std::hint::black_box(serde_json::to_vec(words)?);
    Ok(())
}
