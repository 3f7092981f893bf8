//! What goes back to a client: lines, made and sent.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use serde::Serialize;
use vmward_wire::frame::{self, FrameError};
use vmward_wire::rpc::{ErrorCode, ErrorObject, Id, Response};
use vmward_wire::v1;

use super::WRITE_DEADLINE;

/// Tells a client too many that it is one.
pub fn turn_away(mut stream: &UnixStream) {
    let error = ErrorObject::new(
        ErrorCode::TooBusy,
        "too many clients are connected; try again in a second",
    );
    let answer = Answer::from(&Response::error(None, error));
    // Its buffer is empty, so this does not wait for the client; and whether it
    // listens is its own business.
    let _unheard = stream
        .set_nonblocking(true)
        .and_then(|()| stream.write_all(&answer.line));
}

/// A line to send, and the error in it, for the log.
pub(super) struct Answer {
    pub(super) line: Vec<u8>,
    pub(super) error: Option<ErrorObject>,
}

impl From<&Response> for Answer {
    fn from(response: &Response) -> Answer {
        Answer {
            // Strings and numbers are all there is in it, so this cannot fail;
            // an empty line would be no answer, and the client would wait for one.
            line: frame::encode(response).unwrap_or_else(|_error| b"{}\n".to_vec()),
            error: response.outcome.as_ref().err().cloned(),
        }
    }
}

pub(super) fn reply<T: Serialize>(id: Id, outcome: Result<T, ErrorObject>) -> Answer {
    reply_line(id, outcome, Response::ok_line)
}

/// The answer to `authorize`.
pub(super) fn decided(id: Id, outcome: Result<v1::AuthorizeResult, ErrorObject>) -> Answer {
    reply_line(id, outcome, v1::write_answer)
}

fn reply_line<T>(
    id: Id,
    outcome: Result<T, ErrorObject>,
    line: impl FnOnce(&Id, &T) -> Result<Vec<u8>, FrameError>,
) -> Answer {
    let error = match outcome {
        Ok(result) => match line(&id, &result) {
            Ok(line) => return Answer { line, error: None },
            Err(error) => ErrorObject::new(ErrorCode::Internal, error.to_string()),
        },
        Err(error) => error,
    };
    Answer::from(&Response::error(Some(id), error))
}

/// Says which methods there are.
pub(super) fn unknown_method(name: &str) -> ErrorObject {
    let message = format!(
        "unknown method {name:?}; known are hello, authorize, complete, lease.release, \
         tools.filter, explain, approval.wait, events.subscribe, status, and on the admin socket \
         approval.list, approval.show, approval.approve, approval.deny, disarm and arm"
    );
    ErrorObject::new(ErrorCode::UnknownMethod, message)
}

/// Writes one line. The socket gives each write its time; a client that takes
/// a little of a long answer each time gets no more of it in all.
pub(super) fn send(mut stream: &UnixStream, mut rest: &[u8]) -> io::Result<()> {
    let mut begun: Option<Instant> = None;
    loop {
        match stream.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if rest.is_empty() {
            return Ok(());
        }
        if begun.get_or_insert_with(Instant::now).elapsed() > WRITE_DEADLINE {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}
