//! A small blocking client for the policy socket.
//!
//! Blocking and without a runtime, because its users ask one question and
//! wait. Every wait has a deadline: a daemon that hangs is a daemon that said
//! no.

mod advice;
mod approvals;

use std::{
    io::{self, ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{
    frame::{self, FrameDecoder, FrameError},
    rpc::{ErrorObject, Id, Request, Response},
    v1::{
        AuthorizeParams, AuthorizeResult, CompleteParams, Done, HelloParams, HelloResult,
        LeaseReleaseParams, PROTOCOL_VERSION, StatusResult, method,
    },
};

pub use self::approvals::Patience;

/// The longest answer; a status with a thousand VMs is far longer than any
/// request may be.
pub const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing listens there.
    #[error(
        "No vmwardd at {path}: start it with `systemctl start vmwardd`, or name another socket \
         with --socket",
        path = path.display()
    )]
    NotRunning {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The socket is there, but not for this user.
    #[error(
        "No permission for {path}: {advice}",
        path = path.display()
    )]
    NoPermission {
        /// The socket.
        path: PathBuf,
        /// Who may, and how to become one of them.
        advice: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Any other failure to connect.
    #[error("Failed to connect to {path}", path = path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The daemon is too slow.
    #[error("No answer from vmwardd within {} s", timeout.as_secs_f64())]
    TimedOut {
        /// How long the client waited.
        timeout: Duration,
    },
    /// The connection broke.
    #[error("Lost the connection to vmwardd")]
    Lost {
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The daemon closed the connection before it answered.
    #[error("vmwardd closed the connection without an answer")]
    Closed,
    /// The question cannot be written down.
    #[error("Failed to encode the request")]
    Encode {
        /// Why.
        #[source]
        source: FrameError,
    },
    /// What came back is no line of the protocol.
    #[error("The answer of vmwardd is not valid: {reason}")]
    Garbled {
        /// What is wrong with it.
        reason: String,
    },
    /// The daemon answered with an error.
    #[error("vmwardd refused the request: {} (code {})", .0.message, .0.code)]
    Refused(ErrorObject),
}

impl ClientError {
    /// True when the daemon could not be asked at all, as opposed to having
    /// said something.
    pub fn is_unreachable(&self) -> bool {
        !matches!(
            self,
            Self::Refused(_) | Self::Garbled { .. } | Self::Encode { .. }
        )
    }
}

/// One connection. The daemon sees the process that made it as the caller.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    decoder: FrameDecoder,
    timeout: Duration,
    next_id: i64,
}

impl Client {
    /// Connects; `timeout` bounds this and every later call.
    pub fn connect(path: &Path, timeout: Duration) -> Result<Self, ClientError> {
        let stream = connect_within(path, timeout)?;
        Ok(Self {
            stream,
            decoder: FrameDecoder::new(ANSWER_BYTES_MAX),
            timeout,
            next_id: 1,
        })
    }

    /// Connects, agrees on a version, and settles whose account is charged.
    pub fn open(path: &Path, timeout: Duration, hello: &HelloParams) -> Result<Self, ClientError> {
        let mut client = Self::connect(path, timeout)?;
        client.hello(hello)?;
        Ok(client)
    }

    /// Agrees on a version.
    pub fn hello(&mut self, params: &HelloParams) -> Result<HelloResult, ClientError> {
        let result: HelloResult = self.call(method::HELLO, params)?;
        if result.version == PROTOCOL_VERSION {
            return Ok(result);
        }
        let reason = format!(
            "it speaks protocol version {}, this client {PROTOCOL_VERSION}",
            result.version
        );
        Err(ClientError::Garbled { reason })
    }

    /// Asks for permission.
    pub fn authorize(&mut self, params: &AuthorizeParams) -> Result<AuthorizeResult, ClientError> {
        self.call(method::AUTHORIZE, params)
    }

    /// Reports what became of an authorized call.
    pub fn complete(&mut self, params: &CompleteParams) -> Result<Done, ClientError> {
        self.call(method::COMPLETE, params)
    }

    /// Gives a lease back.
    pub fn release(&mut self, lease: u64) -> Result<Done, ClientError> {
        self.call(method::LEASE_RELEASE, &LeaseReleaseParams { lease })
    }

    /// Reports what became of an authorized call, and gives its lease back where there
    /// is one, whatever the daemon said to the report: a lease that is kept for nothing
    /// keeps everybody else from the VM.
    ///
    /// # Errors
    /// The first one. That the lease is used or has ended already is none.
    pub fn settle(
        &mut self,
        params: &CompleteParams,
        lease: Option<u64>,
    ) -> Result<(), ClientError> {
        let reported = self.complete(params).map(drop);
        let released = match lease.map(|lease| self.release(lease)) {
            None | Some(Ok(_) | Err(ClientError::Refused(_))) => Ok(()),
            Some(Err(error)) => Err(error),
        };
        reported.and(released)
    }

    /// Asks for the daemon's whole state.
    pub fn status(&mut self) -> Result<StatusResult, ClientError> {
        self.call(method::STATUS, &Map::new())
    }

    /// Calls a method and reads its result.
    pub fn call<P: Serialize, R: DeserializeOwned>(
        &mut self,
        method: &str,
        params: &P,
    ) -> Result<R, ClientError> {
        let result = self.call_value(method, params)?;
        serde_json::from_value(result).map_err(|error| ClientError::Garbled {
            reason: error.to_string(),
        })
    }

    /// Calls a method and returns its result as it came, fields that this
    /// version does not know included.
    pub fn call_value<P: Serialize>(
        &mut self,
        method: &str,
        params: &P,
    ) -> Result<Value, ClientError> {
        let deadline = Instant::now() + self.timeout;
        let id = Id::Number(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        let params = match serde_json::to_value(params) {
            Ok(Value::Object(params)) => params,
            Ok(_) => return Err(encode_error("parameters must be an object".to_owned())),
            Err(error) => return Err(encode_error(error.to_string())),
        };
        let request = Request {
            id: id.clone(),
            method: method.to_owned(),
            params,
        };
        let bytes = frame::encode(&request).map_err(|source| ClientError::Encode { source })?;
        if bytes.len() > frame::FRAME_BYTES_MAX {
            let source = FrameError::TooLong {
                max: frame::FRAME_BYTES_MAX,
            };
            return Err(ClientError::Encode { source });
        }
        // A daemon that refuses the connection (too busy) answers and closes
        // before it reads; its answer counts more than the failed write.
        let sent = self.send(&bytes, deadline);
        let line = match (self.receive(deadline), sent) {
            (Ok(line), _) => line,
            (Err(_), Err(error)) | (Err(error), Ok(())) => return Err(error),
        };
        let response = Response::parse(&line).map_err(|reason| ClientError::Garbled { reason })?;
        match (response.outcome, response.id) {
            (Err(error), answered) if answered.is_none() || answered.as_ref() == Some(&id) => {
                Err(ClientError::Refused(error))
            }
            (Ok(result), Some(answered)) if answered == id => Ok(result),
            (_, answered) => {
                let reason = format!("it belongs to request {answered:?}, not to {id:?}");
                Err(ClientError::Garbled { reason })
            }
        }
    }

    fn send(&mut self, mut bytes: &[u8], deadline: Instant) -> Result<(), ClientError> {
        while !bytes.is_empty() {
            let left = self.time_left(deadline)?;
            self.stream
                .set_write_timeout(Some(left))
                .map_err(|source| self.lost(source))?;
            match self.stream.write(bytes) {
                Ok(0) => return Err(ClientError::Closed),
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(self.lost(source)),
            }
        }
        Ok(())
    }

    fn receive(&mut self, deadline: Instant) -> Result<Vec<u8>, ClientError> {
        let mut buffer = [0; 16 * 1024];
        loop {
            if let Some(line) = self.decoder.next_line() {
                return Ok(line);
            }
            let left = self.time_left(deadline)?;
            self.stream
                .set_read_timeout(Some(left))
                .map_err(|source| self.lost(source))?;
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(ClientError::Closed),
                Ok(count) => self
                    .decoder
                    .push(buffer.get(..count).unwrap_or_default())
                    .map_err(|error| ClientError::Garbled {
                        reason: error.to_string(),
                    })?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(self.lost(source)),
            }
        }
    }

    fn time_left(&self, deadline: Instant) -> Result<Duration, ClientError> {
        match deadline.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => Ok(left),
            _ => Err(ClientError::TimedOut {
                timeout: self.timeout,
            }),
        }
    }

    fn lost(&self, source: io::Error) -> ClientError {
        match source.kind() {
            // What a socket timeout looks like depends on the kernel.
            ErrorKind::WouldBlock | ErrorKind::TimedOut => ClientError::TimedOut {
                timeout: self.timeout,
            },
            _ => ClientError::Lost { source },
        }
    }
}

/// `connect` on a Unix socket waits while the backlog is full and takes no
/// timeout, so it runs on a thread of its own that may be left behind.
fn connect_within(path: &Path, timeout: Duration) -> Result<UnixStream, ClientError> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let target = path.to_owned();
    let connector = move || sender.send(UnixStream::connect(target)).ok();
    thread::Builder::new()
        .name("connect".to_owned())
        .spawn(connector)
        .map_err(|source| ClientError::Connect {
            path: path.to_owned(),
            source,
        })?;
    let connected = receiver
        .recv_timeout(timeout)
        .map_err(|_error| ClientError::TimedOut { timeout })?;
    connected.map_err(|source| connect_error(path, source))
}

fn connect_error(path: &Path, source: io::Error) -> ClientError {
    let path = path.to_owned();
    match source.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            ClientError::NotRunning { path, source }
        }
        ErrorKind::PermissionDenied => {
            let advice = advice::for_socket(&path);
            ClientError::NoPermission {
                path,
                advice,
                source,
            }
        }
        _ => ClientError::Connect { path, source },
    }
}

fn encode_error(reason: String) -> ClientError {
    ClientError::Encode {
        source: FrameError::Json { reason },
    }
}

#[cfg(test)]
mod tests;
