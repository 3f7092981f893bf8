//! The client that every server is measured with: one line out, one line in.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// Longest answer: a status with ten thousand counters.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// An answer that takes longer is none.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// One connection that always asks the same.
pub(super) struct Caller {
    stream: UnixStream,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Caller {
    pub(super) fn connect(socket: &Path, request: &[u8]) -> Result<Self> {
        let stream = UnixStream::connect(socket)
            .with_context(|| format!("Failed to connect to {}", socket.display()))?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        Ok(Self {
            stream,
            request: request.to_vec(),
            answer: vec![0; ANSWER_BYTES_MAX],
        })
    }

    /// Asks another question from now on.
    pub(super) fn set_request(&mut self, request: &[u8]) {
        self.request.clear();
        self.request.extend_from_slice(request);
    }

    /// Asks once and returns the answer with its line feed.
    pub(super) fn ask(&mut self) -> Result<&[u8]> {
        self.stream
            .write_all(&self.request)
            .context("the question was not taken")?;
        let mut held = 0;
        loop {
            let Some(room) = self.answer.get_mut(held..).filter(|room| !room.is_empty()) else {
                bail!("an answer is longer than {ANSWER_BYTES_MAX} bytes");
            };
            match self.stream.read(room).context("there was no answer")? {
                0 => bail!("the server closed the connection"),
                bytes => held += bytes,
            }
            if self.answer.get(held - 1) == Some(&b'\n') {
                return Ok(self.answer.get(..held).unwrap_or_default());
            }
        }
    }

    /// How long one question takes, in nanoseconds.
    pub(super) fn time(&mut self) -> Result<u64> {
        let start = Instant::now();
        self.ask()?;
        Ok(nanos(start.elapsed()))
    }
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
