//! `events.subscribe`: from its answer on, the connection carries records.

use std::os::unix::net::UnixStream as Blocking;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::timeout;
use vmward_wire::rpc::{ErrorCode, ErrorObject, Request, Response};
use vmward_wire::v1;
use vmward_wire::v1::events::{Event, NOTIFICATION, Notification, SubscribeParams};

use super::{Answer, Client, WRITE_DEADLINE};
use crate::counters::{SharedCounters, count, count_by};
use crate::feed::{KINDS, Published, Subscription};
use crate::socket::Door;

/// What a client gets to see, and from where.
#[derive(Debug)]
pub(super) struct Subscriber {
    subscription: Subscription,
    /// Empty for all.
    kinds: Vec<String>,
    /// Only what is this grant's; everything where absent.
    grant: Option<String>,
}

impl Client {
    /// Takes a place; the records begin after the answer.
    pub(super) fn subscribe(&self, request: &mut Request) -> Result<v1::Done, ErrorObject> {
        let SubscribeParams { kinds } = request.params()?;
        if let Some(kind) = kinds.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
            let message = format!(
                "`kinds` has {kind:?}, and there are no such records; there are {}",
                KINDS.join(", ")
            );
            return Err(ErrorObject::new(ErrorCode::InvalidParams, message));
        }
        let Some(subscription) = self.feed.subscribe(self.door, self.peer.uid) else {
            count(&self.counters.clients_refused);
            let message = "too many clients of this account, or of all accounts together, listen \
                           already; close one, or have root run `vmward audit tail -f`, which \
                           reads the log itself";
            return Err(ErrorObject::new(ErrorCode::TooBusy, message));
        };
        let subscriber = Subscriber {
            subscription,
            kinds,
            grant: match self.door {
                Door::Policy => Some(self.caller().grant),
                Door::Admin => None,
            },
        };
        *self
            .subscriber
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(subscriber);
        Ok(v1::Done { ok: true })
    }

    /// The place that the last request took.
    pub(super) fn subscriber(&self) -> Option<Subscriber> {
        self.subscriber
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take()
    }

    /// Sends records until the connection ends. Returns why it does, for the
    /// log. `said_more`: the client did not wait for its answer.
    pub(super) fn listen(
        &self,
        subscriber: Subscriber,
        stream: &Blocking,
        said_more: bool,
    ) -> &'static str {
        let own = stream.try_clone().and_then(|own| {
            own.set_nonblocking(true)?;
            UnixStream::from_std(own)
        });
        let Ok(mut stream) = own else {
            return "no descriptor to wait with";
        };
        self.runtime.block_on(async {
            if said_more {
                return spoke(&mut stream, &self.counters).await;
            }
            let stop = self.stop.clone();
            subscriber.serve(&mut stream, &self.counters, stop).await
        })
    }
}

impl Subscriber {
    /// Sends records until the client leaves, says something, is too slow, or
    /// the daemon stops. Returns why, for the log.
    async fn serve(
        mut self,
        stream: &mut UnixStream,
        counters: &SharedCounters,
        mut stop: watch::Receiver<bool>,
    ) -> &'static str {
        // More than a byte: a close with bytes unread would take the answer along.
        let mut chunk = [0; 4096];
        loop {
            let next = tokio::select! {
                next = self.subscription.records.recv() => Ok(next),
                read = stream.read(&mut chunk) => Err(read),
                _ = stop.wait_for(|stop| *stop) => return "daemon stops",
            };
            let line = match next {
                Ok(Ok(record)) if self.wants(&record) => record_line(&record.line),
                Ok(Ok(_)) => continue,
                Ok(Err(RecvError::Lagged(missed))) => {
                    count_by(&counters.events_missed, missed);
                    missed_line(missed)
                }
                Ok(Err(RecvError::Closed)) => return "daemon stops",
                Err(Ok(0)) => return "closed",
                Err(Ok(_)) => return spoke(stream, counters).await,
                Err(Err(_)) => return "read failed",
            };
            if send_bytes(stream, line.as_bytes()).await.is_err() {
                return "event not taken";
            }
        }
    }

    fn wants(&self, record: &Published) -> bool {
        let own = match &self.grant {
            Some(grant) => record.grant() == Some(grant),
            None => true,
        };
        own && (self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == record.kind()))
    }
}

/// A client that listens has nothing more to say.
async fn spoke(stream: &mut UnixStream, counters: &SharedCounters) -> &'static str {
    count(&counters.bad_frames);
    let error = ErrorObject::new(
        ErrorCode::InvalidRequest,
        "nothing can be asked after events.subscribe; open another connection",
    );
    let answer = Answer::from(&Response::error(None, error));
    drop(send_bytes(stream, &answer.line).await);
    "spoke after events.subscribe"
}

async fn send_bytes(stream: &mut UnixStream, bytes: &[u8]) -> std::io::Result<()> {
    match timeout(WRITE_DEADLINE, stream.write_all(bytes)).await {
        Ok(written) => written,
        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
    }
}

/// The log's own line, byte for byte, so that its chain can be checked.
fn record_line(record: &str) -> String {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"method\":\"{NOTIFICATION}\",\"params\":{{\"record\":{record}}}}}\n"
    )
}

fn missed_line(missed: u64) -> String {
    let notification = Notification {
        jsonrpc: "2.0".to_owned(),
        method: NOTIFICATION.to_owned(),
        params: Event::Missed(missed),
    };
    let mut line = serde_json::to_string(&notification).unwrap_or_default();
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_lists_every_kind_of_record() {
        let protocol = include_str!("../../../vmward-wire/PROTOCOL.md");
        let (_, section) = protocol.split_once("### `events.subscribe`").unwrap();
        let section = section.split("\n### ").next().unwrap();
        for kind in KINDS {
            assert!(section.contains(&format!("`{kind}`")), "{kind}");
        }
    }

    #[test]
    fn a_record_goes_out_as_the_protocol_has_it_and_byte_for_byte_as_the_log_has_it() {
        let record = r#"{"seq":7,"kind":"daemon","event":"started"}"#;
        let line = record_line(record);
        assert!(line.contains(record) && line.ends_with('\n'));
        let sent: Notification = serde_json::from_str(&line).unwrap();
        assert_eq!(sent.method, NOTIFICATION);
        assert!(matches!(sent.params, Event::Record(_)));
        let missed: Notification = serde_json::from_str(&missed_line(3)).unwrap();
        assert!(matches!(missed.params, Event::Missed(3)));
    }
}
