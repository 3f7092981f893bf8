//! `vmward wrap -- SERVER`: puts the policy before any MCP server.
//!
//! ```text
//! client --stdin--> [parse, ask] --stdin--> server
//! client <--stdout-- [ note answers ] <--stdout-- server
//! ```
//!
//! A call that is not allowed is answered here; the server never sees it.

mod lines;
mod message;
mod reading;

use std::{
    collections::HashMap,
    ffi::OsString,
    io,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tokio::{
    io::{AsyncRead, AsyncWriteExt, Stdout},
    process::{ChildStdin, Command},
    time::timeout,
};
use tracing::warn;
use vmward_wire::{
    frame::{self, FrameError},
    rpc::{ErrorCode, ErrorObject, Id, Response},
    v1::{AuthorizeResult, Decision, Outcome},
};

use self::{
    lines::Lines,
    message::{Asked, Message, ToolCall},
};
use crate::{
    answer::Answer,
    gate::{Ending, Gate, Release},
};

/// The longest message either way; MCP servers send files and pictures.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Calls that may wait for the server at a time.
const PENDING_MAX: usize = 1024;
/// How long the server may go on when the client has left.
const SERVER_GRACE: Duration = Duration::from_secs(10);
/// How long the rest of the server's output may take once it has ended.
const DRAIN_GRACE: Duration = Duration::from_secs(2);

/// Why the proxy gave up.
#[derive(Debug, thiserror::Error)]
pub enum WrapError {
    /// The server did not start.
    #[error("Failed to start the server {program:?}")]
    Spawn {
        /// What was to be run.
        program: OsString,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The server's end cannot be known.
    #[error("Failed to wait for the server")]
    Wait {
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A pipe broke.
    #[error("Failed to {operation}")]
    Pipe {
        /// Reading or writing, and which.
        operation: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A message is too long to be judged.
    #[error("The {side} sent a message that cannot be passed on")]
    Message {
        /// Client or server.
        side: &'static str,
        /// Why not.
        #[source]
        source: FrameError,
    },
}

/// Calls that the server has not answered yet.
type Pending = Arc<Mutex<HashMap<Id, AuthorizeResult>>>;

/// Runs `program` as the server of the client on standard input and output,
/// and returns the server's exit status.
///
/// `server_name` is the server's name for the policy's effect map; what the server
/// calls itself where absent.
pub async fn wrap(
    gate: Gate,
    server_name: Option<String>,
    program: OsString,
    arguments: Vec<OsString>,
) -> Result<ExitStatus, WrapError> {
    let mut server = Command::new(&program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| WrapError::Spawn { program, source })?;
    let (Some(to_server), Some(from_server)) = (server.stdin.take(), server.stdout.take()) else {
        let source = io::Error::other("no pipes to the server");
        return Err(WrapError::Pipe {
            operation: "reach the server",
            source,
        });
    };
    let proxy = Arc::new(Proxy {
        gate,
        client: tokio::sync::Mutex::new(tokio::io::stdout()),
        pending: Pending::default(),
        asked: Mutex::default(),
        server_name: server_name.map(OnceLock::from).unwrap_or_default(),
    });
    let up = Arc::clone(&proxy);
    let mut up = tokio::spawn(async move { up.client_to_server(to_server).await });
    let down = Arc::clone(&proxy);
    let mut down = tokio::spawn(async move { down.server_to_client(from_server).await });

    // Whoever ends first decides how the rest ends.
    let ended = tokio::select! {
        status = server.wait() => Ended::Server(status),
        passed = &mut up => Ended::Side(passed),
        passed = &mut down => Ended::Side(passed),
    };
    let status = match ended {
        Ended::Server(status) => status,
        Ended::Side(passed) => {
            if let Some(error) = passed.ok().and_then(Result::err) {
                proxy.abandon("the proxy gave up").await;
                return Err(error);
            }
            // Its input has ended; a good server ends too.
            match timeout(SERVER_GRACE, server.wait()).await {
                Ok(status) => status,
                Err(_elapsed) => {
                    warn!(
                        "The server did not end within {} s and is killed",
                        SERVER_GRACE.as_secs()
                    );
                    server
                        .kill()
                        .await
                        .map_err(|source| WrapError::Wait { source })?;
                    server.wait().await
                }
            }
        }
    };
    up.abort();
    if !down.is_finished() && timeout(DRAIN_GRACE, &mut down).await.is_err() {
        down.abort();
    }
    proxy.abandon("the server ended without an answer").await;
    status.map_err(|source| WrapError::Wait { source })
}

enum Ended {
    Server(io::Result<ExitStatus>),
    Side(Result<Result<(), WrapError>, tokio::task::JoinError>),
}

struct Proxy {
    gate: Gate,
    client: tokio::sync::Mutex<Stdout>,
    pending: Pending,
    /// Requests whose answers the proxy reads.
    asked: Mutex<HashMap<Id, Asked>>,
    server_name: OnceLock<String>,
}

impl Proxy {
    async fn client_to_server(&self, mut server: ChildStdin) -> Result<(), WrapError> {
        let mut lines = Lines::new(tokio::io::stdin(), "client");
        let mut agent = None;
        loop {
            let line = match lines.next().await {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(()),
                Err(error) => {
                    if let WrapError::Message { source, .. } = &error {
                        let text = source.to_string();
                        let error = ErrorObject::new(ErrorCode::FrameTooLarge, text);
                        self.answer(&Response::error(None, error)).await?;
                    }
                    return Err(error);
                }
            };
            let value = match Message::parse(&line) {
                Message::Refuse(response) => {
                    self.answer(&response).await?;
                    continue;
                }
                Message::Forward(value) => {
                    agent = message::client_name(&value).or(agent);
                    self.note(&value);
                    value
                }
                Message::Call(call) => match self.judge(call, agent.clone()).await? {
                    Some(value) => value,
                    None => continue,
                },
            };
            let bytes = encode(&value, "client")?;
            let cancelled = message::cancelled(&value).and_then(|id| self.cancel(&id));
            let sent = server.write_all(&bytes).await;
            // A server does not have to answer such a call; where it does all the
            // same, the answer goes to the client as any other.
            if let Some(verdict) = cancelled {
                self.settle(&verdict, "the client cancelled the call").await;
            }
            // A server that has ended says more by its exit status.
            if let Err(error) = sent {
                warn!(%error, "The server takes no more messages");
                return Ok(());
            }
        }
    }

    /// The message to pass on, or nothing where the call was answered here.
    async fn judge(
        &self,
        call: ToolCall,
        agent: Option<String>,
    ) -> Result<Option<serde_json::Value>, WrapError> {
        let ToolCall {
            id,
            tool,
            arguments,
            value,
        } = call;
        let room = {
            let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            if pending.contains_key(&id) {
                Err((
                    ErrorCode::InvalidRequest,
                    "Another call with this id is still open",
                ))
            } else if pending.len() >= PENDING_MAX {
                Err((ErrorCode::TooBusy, "Too many calls wait for the server"))
            } else {
                Ok(())
            }
        };
        if let Err((code, text)) = room {
            self.answer(&Response::error(Some(id), ErrorObject::new(code, text)))
                .await?;
            return Ok(None);
        }
        let server = self.server_name.get().cloned();
        let answer = match self.gate.ask(&tool, arguments, agent, server).await {
            Ok(verdict) if verdict.decision == Decision::Allow => {
                self.pending
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(id, verdict);
                return Ok(Some(value));
            }
            Ok(verdict) => Answer::denied(&tool, &verdict),
            Err(error) => Answer::unasked(&tool, &error),
        };
        self.answer(&message::result(id, answer.into_result()))
            .await?;
        Ok(None)
    }

    async fn server_to_client(&self, from: impl AsyncRead + Unpin) -> Result<(), WrapError> {
        let mut lines = Lines::new(from, "server");
        while let Some(mut line) = lines.next().await? {
            let answered = message::answered(&line);
            if let Some((id, _)) = &answered {
                self.read_answer(id, &mut line).await;
            }
            line.push(b'\n');
            self.write(&line).await?;
            let Some((id, said)) = answered else { continue };
            if let Some(verdict) = self.take(&id) {
                self.settle(&verdict, said).await;
            }
        }
        Ok(())
    }

    /// The verdict on a call that does not wait for the server any more.
    fn take(&self, id: &Id) -> Option<AuthorizeResult> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.remove(id)
    }

    /// Reports every call that will not be answered any more.
    async fn abandon(&self, why: &str) {
        let open = {
            let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *pending)
        };
        for verdict in open.values() {
            self.settle(verdict, why).await;
        }
    }

    /// What the VM did cannot be seen from here, so nothing is claimed.
    async fn settle(&self, verdict: &AuthorizeResult, said: &str) {
        let (outcome, detail) = (Outcome::Unknown, said.to_owned());
        self.gate
            .settle(
                verdict,
                Ending {
                    outcome,
                    detail,
                    release: Release::Now,
                },
            )
            .await;
    }

    async fn answer(&self, response: &Response) -> Result<(), WrapError> {
        self.write(&encode(response, "proxy")?).await
    }

    async fn write(&self, bytes: &[u8]) -> Result<(), WrapError> {
        let mut client = self.client.lock().await;
        let written = match client.write_all(bytes).await {
            Ok(()) => client.flush().await,
            Err(error) => Err(error),
        };
        written.map_err(|source| WrapError::Pipe {
            operation: "write to the client",
            source,
        })
    }
}

fn encode<T: Serialize>(message: &T, side: &'static str) -> Result<Vec<u8>, WrapError> {
    frame::encode(message).map_err(|source| WrapError::Message { side, source })
}
