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
        let (stream, answer) = (stream?, answer.clone());
        thread::spawn(move || serve(stream, &answer));
    }
    Ok(())
}

fn serve(mut stream: UnixStream, answer: &[u8]) {
    let mut request = vec![0; REQUEST_BYTES_MAX];
    let mut held = 0;
    while let Some(room) = request.get_mut(held..).filter(|room| !room.is_empty()) {
        match stream.read(room) {
            Ok(0) | Err(_) => return,
            Ok(bytes) => held += bytes,
        }
        if request.get(held - 1) == Some(&b'\n') {
            held = 0;
            if stream.write_all(answer).is_err() {
                return;
            }
        }
    }
}
