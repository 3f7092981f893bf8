//! One client: frames in, the engine's answers out, in order.
//!
//! A client is patient with the daemon and the daemon is not with it: a frame
//! once begun must be whole within seconds, a silent client is let go, and an
//! answer that nobody reads ends the connection.

mod questions;
mod subscribe;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};
use vmward_core::grant::Claim;
use vmward_wire::frame::{self, FrameDecoder};
use vmward_wire::rpc::{ErrorCode, ErrorObject, Request, Response};
use vmward_wire::v1::{self, method};

use self::subscribe::Subscriber;
use crate::counters::{SharedCounters, count};
use crate::engine_task::{AuthorizeCall, CallerFacts, EngineHandle, Message};
use crate::feed::Feed;
use crate::identity::account::{Account, AccountBook};
use crate::identity::{IdentityError, Peer};
use crate::socket::Door;

/// A frame, once begun, must be whole within this time.
const FRAME_DEADLINE: Duration = Duration::from_secs(5);
/// A client that asks nothing for this long is let go.
const IDLE_DEADLINE: Duration = Duration::from_mins(1);
/// A client must take an answer within this time.
const WRITE_DEADLINE: Duration = Duration::from_secs(5);
/// The engine must answer within this time; a disk may be slow.
const ENGINE_DEADLINE: Duration = Duration::from_secs(15);
/// Bytes read at once.
const CHUNK_BYTES: usize = 4096;

/// Tells a client too many that it is one.
pub async fn turn_away(mut stream: UnixStream) {
    let error = ErrorObject::new(
        ErrorCode::TooBusy,
        "too many clients are connected; try again in a second",
    );
    // The socket's buffer is empty, so this does not wait for the client.
    let response = Response::error(None, error);
    drop(timeout(Duration::from_millis(100), send(&mut stream, &response)).await);
}

/// What every client is served with.
#[derive(Clone, Debug)]
pub struct Service {
    /// Who decides.
    pub engine: EngineHandle,
    /// What is counted.
    pub counters: SharedCounters,
    /// Every grant of this host.
    pub book: Arc<AccountBook>,
    /// Audit records as they are written.
    pub feed: Arc<Feed>,
}

/// Serves one client until it leaves, errs, or `stop` turns true.
pub async fn serve(
    mut stream: UnixStream,
    door: Door,
    service: Service,
    stop: watch::Receiver<bool>,
) {
    let Service {
        engine,
        counters,
        book,
        feed,
    } = service;
    let peer = match Peer::of(&stream) {
        Ok(peer) => peer,
        Err(error) => {
            count(&counters.clients_refused);
            let error = ErrorObject::new(ErrorCode::Unavailable, error.to_string());
            drop(send(&mut stream, &Response::error(None, error)).await);
            return;
        }
    };
    let mut client = Client {
        peer,
        account: Account::new(book),
        door,
        engine,
        counters,
        feed,
        stop: stop.clone(),
        subscriber: Mutex::default(),
    };
    let reason = client.run(&mut stream, stop).await;
    tracing::debug!(pid = client.peer.process.pid, reason, "client gone");
}

struct Client {
    peer: Peer,
    account: Account,
    door: Door,
    engine: EngineHandle,
    counters: SharedCounters,
    feed: Arc<Feed>,
    stop: watch::Receiver<bool>,
    /// Set by `events.subscribe`, until its answer is sent.
    subscriber: Mutex<Option<Subscriber>>,
}

impl Client {
    /// Returns why the connection ends, for the log.
    async fn run(
        &mut self,
        stream: &mut UnixStream,
        mut stop: watch::Receiver<bool>,
    ) -> &'static str {
        let mut decoder = FrameDecoder::default();
        let mut chunk = [0; CHUNK_BYTES];
        let mut begun: Option<Instant> = None;
        loop {
            while let Some(line) = decoder.next_line() {
                begun = None;
                let response = self.answer(&line).await;
                if send(stream, &response).await.is_err() {
                    return "answer not taken";
                }
                if let Some(subscriber) = self.subscriber() {
                    if decoder.has_partial() || decoder.next_line().is_some() {
                        return subscribe::spoke(stream, &self.counters).await;
                    }
                    return subscriber.serve(stream, &self.counters, stop).await;
                }
            }
            // From its first byte: a byte now and then buys a frame no time.
            begun = decoder
                .has_partial()
                .then(|| begun.unwrap_or_else(Instant::now));
            let deadline = match begun {
                Some(begun) => begun + FRAME_DEADLINE,
                None => Instant::now() + IDLE_DEADLINE,
            };
            let read = tokio::select! {
                read = timeout_at(deadline, stream.read(&mut chunk)) => read,
                _ = stop.wait_for(|stop| *stop) => return "daemon stops",
            };
            let bytes = match read {
                Ok(Ok(0)) => return "closed",
                Ok(Ok(n)) => chunk.get(..n).unwrap_or_default(),
                Ok(Err(_)) => return "read failed",
                Err(_) => {
                    count(&self.counters.clients_timed_out);
                    return "deadline passed";
                }
            };
            if let Err(error) = decoder.push(bytes) {
                count(&self.counters.bad_frames);
                // Lines that were whole before it are not lost.
                while let Some(line) = decoder.next_line() {
                    let response = self.answer(&line).await;
                    if send(stream, &response).await.is_err() {
                        return "answer not taken";
                    }
                }
                let error = ErrorObject::new(ErrorCode::FrameTooLarge, error.to_string());
                drop(send(stream, &Response::error(None, error)).await);
                return "frame too large";
            }
        }
    }

    async fn answer(&self, line: &[u8]) -> Response {
        let request = match Request::parse(line) {
            Ok(request) => request,
            Err(refusal) => {
                count(&self.counters.bad_frames);
                return refusal.into_response();
            }
        };
        let response = self.dispatch(&request).await;
        if let Err(error) = &response.outcome {
            count(&self.counters.failed_calls);
            // A client can flood, so this is no warning; the counter tells.
            tracing::debug!(
                pid = self.peer.process.pid,
                method = request.method,
                error = error.message,
                "a call failed"
            );
        }
        response
    }

    async fn dispatch(&self, request: &Request) -> Response {
        let id = request.id.clone();
        match request.method.as_str() {
            method::HELLO => reply(id, self.hello(request)),
            method::AUTHORIZE => reply(id, self.authorize(request).await),
            method::COMPLETE => reply(id, self.complete(request).await),
            method::LEASE_RELEASE => reply(id, self.release(request).await),
            method::STATUS => reply(id, self.status().await),
            method::TOOLS_FILTER => reply(id, self.filter(request).await),
            method::EXPLAIN => reply(id, self.explain(request).await),
            method::APPROVAL_WAIT => reply(id, self.wait_approval(request).await),
            method::APPROVAL_LIST => reply(id, self.list_approvals(request).await),
            method::APPROVAL_SHOW => reply(id, self.show_approval(request).await),
            method::APPROVAL_APPROVE => reply(id, self.decide(request, true).await),
            method::APPROVAL_DENY => reply(id, self.decide(request, false).await),
            method::EVENTS_SUBSCRIBE => reply(id, self.subscribe(request)),
            other => {
                let message = format!(
                    "unknown method {other:?}; known are hello, authorize, complete, \
                     lease.release, tools.filter, explain, approval.wait, events.subscribe, \
                     status, and on the admin socket approval.list, approval.show, \
                     approval.approve and approval.deny"
                );
                Response::error(
                    Some(id),
                    ErrorObject::new(ErrorCode::UnknownMethod, message),
                )
            }
        }
    }

    fn hello(&self, request: &Request) -> Result<v1::HelloResult, ErrorObject> {
        let params: v1::HelloParams = request.params()?;
        if params.version < v1::PROTOCOL_VERSION {
            let message = format!(
                "protocol version {} is too old; this daemon speaks {}",
                params.version,
                v1::PROTOCOL_VERSION
            );
            return Err(ErrorObject::new(ErrorCode::Version, message));
        }
        let claim = Claim {
            grant: params.grant.as_deref(),
            token: params.token.as_deref(),
        };
        let grant = self.account.claim(&self.peer, &claim).inspect_err(|_why| {
            count(&self.counters.grants_refused);
        })?;
        Ok(v1::HelloResult {
            version: v1::PROTOCOL_VERSION,
            daemon: env!("CARGO_PKG_VERSION").to_owned(),
            grant: grant.to_owned(),
        })
    }

    async fn authorize(&self, request: &Request) -> Result<v1::AuthorizeResult, ErrorObject> {
        let params: v1::AuthorizeParams = request.params()?;
        let holder = self
            .peer
            .holder(params.holder)
            .map_err(|error| refuse_identity(&error))?;
        let caller = self.caller();
        self.ask(|reply| {
            Message::Authorize(Box::new(AuthorizeCall {
                params,
                caller,
                holder,
                reply,
            }))
        })
        .await?
    }

    async fn complete(&self, request: &Request) -> Result<v1::Done, ErrorObject> {
        let params: v1::CompleteParams = request.params()?;
        let caller = self.caller();
        self.ask(|reply| Message::Complete {
            params,
            caller,
            reply,
        })
        .await?
    }

    async fn release(&self, request: &Request) -> Result<v1::Done, ErrorObject> {
        let params: v1::LeaseReleaseParams = request.params()?;
        let caller = self.caller();
        self.ask(|reply| Message::Release {
            params,
            caller,
            reply,
        })
        .await?
    }

    async fn status(&self) -> Result<v1::StatusResult, ErrorObject> {
        self.ask(Message::Status).await
    }

    fn caller(&self) -> CallerFacts {
        CallerFacts {
            grant: self.account.grant(&self.peer).to_owned(),
            process: self.peer.process,
            uid: self.peer.uid,
            comm: self.peer.comm.clone(),
            exe: self.peer.exe.clone(),
            unit: self.peer.unit.clone(),
            loginuid: self.peer.loginuid,
        }
    }

    /// Puts a message before the engine and waits for its answer.
    async fn ask<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<T>) -> Message,
    ) -> Result<T, ErrorObject> {
        let (reply, answer) = oneshot::channel();
        if !self.engine.offer(message(reply)) {
            count(&self.counters.queue_full);
            return Err(ErrorObject::new(
                ErrorCode::TooBusy,
                "too many requests are waiting; try again in a second",
            ));
        }
        match timeout(ENGINE_DEADLINE, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(ErrorObject::new(
                ErrorCode::Unavailable,
                "the daemon is stopping; ask again when it is back",
            )),
            Err(_) => Err(ErrorObject::new(
                ErrorCode::Unavailable,
                "the daemon did not decide in time; its disk may hang",
            )),
        }
    }
}

fn refuse_identity(error: &IdentityError) -> ErrorObject {
    let code = match error {
        IdentityError::HolderTooWide { .. } => ErrorCode::InvalidParams,
        IdentityError::Credentials(_)
        | IdentityError::Gone { .. }
        | IdentityError::SubordinateId { .. }
        | IdentityError::SubordinateIds(_) => ErrorCode::Unavailable,
    };
    ErrorObject::new(code, error.to_string())
}

fn reply<T: Serialize>(id: vmward_wire::rpc::Id, outcome: Result<T, ErrorObject>) -> Response {
    match outcome {
        Ok(result) => Response::ok(id, &result),
        Err(error) => Response::error(Some(id), error),
    }
}

async fn send(stream: &mut UnixStream, response: &Response) -> std::io::Result<()> {
    let bytes = frame::encode(response).map_err(std::io::Error::other)?;
    send_bytes(stream, &bytes).await
}

async fn send_bytes(stream: &mut UnixStream, bytes: &[u8]) -> std::io::Result<()> {
    match timeout(WRITE_DEADLINE, stream.write_all(bytes)).await {
        Ok(written) => written,
        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
    }
}
