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
use serde_json::{Value, json};

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
    while let Some(room) = request.get_mut(held..).filter(|room| !room.is_empty()) {
        match stream.read(room) {
            Ok(0) | Err(_) => return,
            Ok(bytes) => held += bytes,
        }
        if request.get(held - 1) == Some(&b'\n') {
            if json && !work(request.get(..held).unwrap_or_default(), answer.len()) {
                return;
            }
            held = 0;
            if stream.write_all(answer).is_err() {
                return;
            }
        }
    }
}

/// What no server that reads and writes JSON and records what it said can leave
/// out: the request, a record that holds it, an answer of that length.
fn work(request: &[u8], answer: usize) -> bool {
    let Ok(request) = serde_json::from_slice::<Value>(request) else {
        return false;
    };
    // A decision's answer is some dozen short strings and numbers.
    let words: Vec<_> = std::iter::repeat_n("a word of an answer", answer / 24).collect();
    let record = json!({"request": request, "said": words, "caller": ["a", "b", "c"]});
    let record = serde_json::to_vec(&record);
    let answer = serde_json::to_vec(&record.as_ref().ok().map(|_| &words));
    record.is_ok_and(|record| std::hint::black_box(record).len() > 1)
        && answer.is_ok_and(|answer| std::hint::black_box(answer).len() > 1)
}
