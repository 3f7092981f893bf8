//! Lines from a pipe, each bounded in length and in time.

use std::io::{self, BufRead, BufReader};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
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
    /// The daemon stops.
    Stopped,
}

/// The reading end.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    pipe: BufReader<ChildStdout>,
    silence_max: Duration,
    stop: &'a UnixStream,
}

impl Lines<'_> {
    /// `stop` ends the wait when its other end is closed.
    pub(super) fn new(pipe: ChildStdout, silence_max: Duration, stop: &UnixStream) -> Lines<'_> {
        Lines {
            pipe: BufReader::new(pipe),
            silence_max,
            stop,
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
        if self.pipe.buffer().is_empty() {
            self.wait()?;
        }
        self.pipe.fill_buf().map_err(Broken::Pipe)
    }

    /// Returns when there is something to read, or nothing will ever be.
    fn wait(&self) -> Result<(), Broken> {
        let [pipe, stop] = [self.pipe.get_ref().as_fd(), self.stop.as_fd()];
        let mut both = [pipe, stop].map(|end| PollFd::new(end, PollFlags::POLLIN));
        match wait_for(&mut both, self.silence_max).map_err(Broken::Pipe)? {
            false => Err(Broken::Silent(self.silence_max)),
            true if is_ready(&both, 1) => Err(Broken::Stopped),
            true => Ok(()),
        }
    }
}

/// Waits for so long; true when the other end was closed meanwhile.
pub(super) fn pause(stop: &UnixStream, pause: Duration) -> bool {
    let mut stop = [PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
    // Where that cannot be known, the thread ends rather than spins.
    wait_for(&mut stop, pause).unwrap_or(true)
}

/// As [`pause`], over as well when there is something to read from `hint`.
pub(super) fn pause_or(stop: &UnixStream, hint: BorrowedFd<'_>, limit: Duration) -> bool {
    let mut both = [stop.as_fd(), hint].map(|end| PollFd::new(end, PollFlags::POLLIN));
    match wait_for(&mut both, limit) {
        Ok(_) => is_ready(&both, 0),
        Err(_) => true,
    }
}

/// True when one of them is ready, false when none was within the limit.
fn wait_for(ends: &mut [PollFd<'_>], limit: Duration) -> io::Result<bool> {
    let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    loop {
        match poll(ends, limit) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn is_ready(ends: &[PollFd<'_>], index: usize) -> bool {
    ends.get(index)
        .is_some_and(|end| end.any().unwrap_or_default())
}

fn parse(line: &[u8]) -> Result<Line, Broken> {
    serde_json::from_slice(line).map_err(|error| Broken::Rubbish(format!("no such line: {error}")))
}
