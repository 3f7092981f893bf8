//! Lines from a pipe, each bounded in length and in time.

use std::io::{self, BufRead, BufReader};
use std::os::fd::AsFd;
use std::process::ChildStdout;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::line::{LINE_BYTES_MAX, Line};

/// The program says something at least every ten seconds, or hangs.
pub(super) const SILENCE_MAX: Duration = Duration::from_mins(1);

/// Why no more lines are read.
#[derive(Debug)]
pub(super) enum Broken {
    /// The other end was closed.
    Closed,
    /// Nothing came for this long.
    Silent(Duration),
    /// Something came that is no line, or not the right one; says what.
    Rubbish(String),
    /// The pipe cannot be read.
    Pipe(io::Error),
}

/// The reading end.
#[derive(Debug)]
pub(super) struct Lines {
    pipe: BufReader<ChildStdout>,
    silence_max: Duration,
}

impl Lines {
    pub(super) fn new(pipe: ChildStdout, silence_max: Duration) -> Lines {
        Lines {
            pipe: BufReader::new(pipe),
            silence_max,
        }
    }

    /// The next line.
    pub(super) fn next(&mut self) -> Result<Line, Broken> {
        let mut line = Vec::new();
        loop {
            let bytes = self.more()?;
            if bytes.is_empty() {
                return Err(Broken::Closed);
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let (part, _) = bytes.split_at(end.unwrap_or(bytes.len()));
            if line.len() + part.len() > LINE_BYTES_MAX {
                let what = format!("a line of more than {LINE_BYTES_MAX} bytes");
                return Err(Broken::Rubbish(what));
            }
            line.extend_from_slice(part);
            let taken = part.len() + usize::from(end.is_some());
            self.pipe.consume(taken);
            if end.is_some() {
                return parse(&line);
            }
        }
    }

    /// What has come and was not consumed; waits for it.
    fn more(&mut self) -> Result<&[u8], Broken> {
        if self.pipe.buffer().is_empty() && !self.wait().map_err(Broken::Pipe)? {
            return Err(Broken::Silent(self.silence_max));
        }
        self.pipe.fill_buf().map_err(Broken::Pipe)
    }

    /// True when there is something to read, or nothing will ever be.
    fn wait(&self) -> io::Result<bool> {
        let limit = PollTimeout::try_from(self.silence_max).unwrap_or(PollTimeout::MAX);
        let mut pipe = [PollFd::new(self.pipe.get_ref().as_fd(), PollFlags::POLLIN)];
        loop {
            match poll(&mut pipe, limit) {
                Ok(ready) => return Ok(ready > 0),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn parse(line: &[u8]) -> Result<Line, Broken> {
    serde_json::from_slice(line).map_err(|error| Broken::Rubbish(format!("no such line: {error}")))
}
