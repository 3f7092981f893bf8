//! One client: frames in, the engine's answers out, in order.
//!
//! Each client has a thread that reads, decides where it can, and writes, with
//! plain blocking calls: a decision then costs no wake-up of another thread. The
//! handlers are `async` because some wait for the engine; the thread drives them.
//!
//! A client is patient with the daemon and the daemon is not with it: a frame
//! once begun must be whole within seconds, a silent client is let go, and an
//! answer that nobody reads ends the connection.

mod answer;
mod protection;
mod questions;
mod subscribe;

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use vmward_core::grant::Claim;
use vmward_wire::frame::FrameDecoder;
use vmward_wire::rpc::{ErrorCode, ErrorObject, Request, Response};
use vmward_wire::v1::{self, method};

pub use self::answer::turn_away;
use self::answer::{Answer, decided, reply, send, unknown_method};
use self::subscribe::Subscriber;
use crate::counters::{SharedCounters, count};
use crate::engine_task::{AuthorizeCall, CallerFacts, EngineHandle, Message, NotTaken};
use crate::feed::Feed;
use crate::identity::account::{Account, AccountBook};
use crate::identity::{IdentityError, Peer};
use crate::memory;
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

/// What every client is served with.
#[derive(Clone)]
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

/// Serves one client, on the thread that calls this, until it leaves, errs, or
/// `stop` turns true. A client that is silent then hears of it at once only
/// when its socket is shut down as well. `runtime` is where timers are driven.
pub fn serve(
    stream: &UnixStream,
    door: Door,
    service: Service,
    stop: &watch::Receiver<bool>,
    runtime: Handle,
) {
    let Service {
        engine,
        counters,
        book,
        feed,
    } = service;
    let peer = match Peer::of(stream) {
        Ok(peer) => peer,
        Err(error) => {
            count(&counters.clients_refused);
            let error = ErrorObject::new(ErrorCode::Unavailable, error.to_string());
            let answer = Answer::from(&Response::error(None, error));
            drop(send(stream, &answer.line));
            return;
        }
    };
    let client = Client {
        peer,
        account: Account::new(book),
        door,
        engine,
        counters,
        feed,
        stop: stop.clone(),
        subscriber: Mutex::default(),
        runtime,
    };
    let _timers = client.runtime.enter();
    let reason = client.run(stream);
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
    runtime: Handle,
}

impl Client {
    /// Returns why the connection ends, for the log.
    fn run(&self, mut stream: &UnixStream) -> &'static str {
        let patience = stream
            .set_write_timeout(Some(WRITE_DEADLINE))
            .and_then(|()| stream.set_read_timeout(Some(IDLE_DEADLINE)));
        if patience.is_err() {
            return "its deadlines cannot be set";
        }
        let mut decoder = FrameDecoder::default();
        let mut chunk = [0; CHUNK_BYTES];
        let mut begun: Option<Instant> = None;
        let mut hurried = false;
        loop {
            while let Some(line) = decoder.next_line() {
                begun = None;
                if self.answer_to(stream, &line).is_err() {
                    return "answer not taken";
                }
                if let Some(subscriber) = self.subscriber() {
                    let said_more = decoder.has_partial() || decoder.next_line().is_some();
                    return self.listen(subscriber, stream, said_more);
                }
            }
            if *self.stop.borrow() {
                return "daemon stops";
            }
            begun = decoder
                .has_partial()
                .then(|| begun.unwrap_or_else(Instant::now));
            if (begun.is_some() || hurried) && self.hurry(stream, begun).is_err() {
                return "deadline passed";
            }
            hurried = begun.is_some();
            let bytes = match stream.read(&mut chunk) {
                Ok(0) if *self.stop.borrow() => return "daemon stops",
                Ok(0) => return "closed",
                Ok(n) => chunk.get(..n).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    count(&self.counters.clients_timed_out);
                    return "deadline passed";
                }
                Err(_) => return "read failed",
            };
            if let Err(error) = decoder.push(bytes) {
                count(&self.counters.bad_frames);
                // Lines that were whole before it are not lost.
                while let Some(line) = decoder.next_line() {
                    if self.answer_to(stream, &line).is_err() {
                        return "answer not taken";
                    }
                }
                let error = ErrorObject::new(ErrorCode::FrameTooLarge, error.to_string());
                let answer = Answer::from(&Response::error(None, error));
                drop(send(stream, &answer.line));
                return "frame too large";
            }
        }
    }

    /// Sets how long the next read may wait: for a frame that began, what is
    /// left from its first byte on, so that a byte now and then buys no time.
    ///
    /// # Errors
    /// Nothing is left.
    fn hurry(&self, stream: &UnixStream, begun: Option<Instant>) -> io::Result<()> {
        let left = begun.map_or(IDLE_DEADLINE, |begun| {
            FRAME_DEADLINE.saturating_sub(begun.elapsed())
        });
        // A deadline of zero would be none at all: that is an error, too.
        stream
            .set_read_timeout(Some(left))
            .inspect_err(|_error| count(&self.counters.clients_timed_out))
    }

    fn answer_to(&self, stream: &UnixStream, line: &[u8]) -> io::Result<()> {
        let mut answer = pin!(self.answer(line));
        // Most answers are there at once; only the others need the runtime.
        let first = answer
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        let answer = match first {
            Poll::Ready(answer) => answer,
            Poll::Pending => self.runtime.block_on(answer),
        };
        if answer.line.len() > memory::LONG_ANSWER_BYTES {
            memory::give_back();
        }
        let sent = send(stream, &answer.line);
        self.engine.answered();
        sent
    }

    async fn answer(&self, line: &[u8]) -> Answer {
        if let Some((id, params)) = v1::read_call(line) {
            let answer = decided(id, self.authorize(params).await);
            return self.noted(method::AUTHORIZE, answer);
        }
        let mut request = match Request::parse(line) {
            Ok(request) => request,
            Err(refusal) => {
                count(&self.counters.bad_frames);
                return Answer::from(&refusal.into_response());
            }
        };
        let answer = self.dispatch(&mut request).await;
        self.noted(&request.method, answer)
    }

    fn noted(&self, method: &str, answer: Answer) -> Answer {
        if let Some(error) = &answer.error {
            count(&self.counters.failed_calls);
            // A client can flood, so this is no warning; the counter tells.
            tracing::debug!(
                pid = self.peer.process.pid,
                method,
                error = error.message,
                "a call failed"
            );
        }
        answer
    }

    async fn dispatch(&self, request: &mut Request) -> Answer {
        let id = request.id.clone();
        match request.method.as_str() {
            method::HELLO => reply(id, self.hello(request)),
            method::AUTHORIZE => match request.params() {
                Ok(params) => decided(id, self.authorize(params).await),
                Err(error) => reply::<()>(id, Err(error)),
            },
            method::COMPLETE => reply(id, self.complete(request).await),
            method::LEASE_RELEASE => reply(id, self.release(request).await),
            method::STATUS => reply(id, self.status(request).await),
            method::TOOLS_FILTER => reply(id, self.filter(request).await),
            method::EXPLAIN => reply(id, self.explain(request).await),
            method::APPROVAL_WAIT => reply(id, self.wait_approval(request).await),
            method::APPROVAL_LIST => reply(id, self.list_approvals(request).await),
            method::APPROVAL_SHOW => reply(id, self.show_approval(request).await),
            method::APPROVAL_APPROVE => reply(id, self.decide(request, true).await),
            method::APPROVAL_DENY => reply(id, self.decide(request, false).await),
            method::DISARM => reply(id, self.disarm(request).await),
            method::ARM => reply(id, self.arm(request).await),
            method::EVENTS_SUBSCRIBE => reply(id, self.subscribe(request)),
            other => reply::<()>(id, Err(unknown_method(other))),
        }
    }

    fn hello(&self, request: &mut Request) -> Result<v1::HelloResult, ErrorObject> {
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

    async fn authorize(
        &self,
        params: v1::AuthorizeParams,
    ) -> Result<v1::AuthorizeResult, ErrorObject> {
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

    async fn complete(&self, request: &mut Request) -> Result<v1::Done, ErrorObject> {
        let params: v1::CompleteParams = request.params()?;
        let caller = self.caller();
        self.ask(|reply| Message::Complete {
            params,
            caller,
            reply,
        })
        .await?
    }

    async fn release(&self, request: &mut Request) -> Result<v1::Done, ErrorObject> {
        let params: v1::LeaseReleaseParams = request.params()?;
        let caller = self.caller();
        self.ask(|reply| Message::Release {
            params,
            caller,
            reply,
        })
        .await?
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

    /// Puts a message before the engine, and waits for its answer.
    fn ask<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<T>) -> Message,
    ) -> impl Future<Output = Result<T, ErrorObject>> {
        let (reply, mut answer) = oneshot::channel();
        // Here already: what waits would have to be large enough for the message.
        let offered = self.engine.offer(message(reply));
        async move {
            match offered {
                Ok(()) => {}
                Err(NotTaken::Ended) => return Err(stopping()),
                Err(NotTaken::Full) => {
                    count(&self.counters.queue_full);
                    return Err(ErrorObject::new(
                        ErrorCode::TooBusy,
                        "too many requests are waiting; try again in a second",
                    ));
                }
            }
            if let Ok(answer) = answer.try_recv() {
                return Ok(answer);
            }
            match timeout(ENGINE_DEADLINE, answer).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(_)) => Err(stopping()),
                Err(_) => Err(ErrorObject::new(
                    ErrorCode::Unavailable,
                    "the daemon did not decide in time; its disk may hang",
                )),
            }
        }
    }
}

fn stopping() -> ErrorObject {
    let message = "the daemon is stopping; ask again when it is back";
    ErrorObject::new(ErrorCode::Unavailable, message)
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
