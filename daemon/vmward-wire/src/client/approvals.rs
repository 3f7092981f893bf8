//! Waiting for people, and listening to what the daemon writes down.

use std::time::{Duration, Instant};

use super::{Client, ClientError};
use crate::v1::{
    Done,
    approval::{ApprovalState, WAIT_MS_MAX, WaitParams, WaitResult},
    events::{Event, Notification, SubscribeParams},
    method,
    tools::{ToolsFilterParams, ToolsFilterResult},
};

/// How long one wait for a notification lasts before it begins anew.
const LISTEN: Duration = Duration::from_hours(1);

/// How long a wait may still last. One that is longer than the clock can tell has no
/// end.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    end: Option<Instant>,
}

impl Patience {
    /// Begins now.
    pub fn new(wait: Duration) -> Self {
        let end = Instant::now().checked_add(wait);
        Self { end }
    }

    /// What is left of it; zero when it is over.
    pub fn left(self) -> Duration {
        self.end.map_or(Duration::MAX, |end| {
            end.saturating_duration_since(Instant::now())
        })
    }
}

impl Client {
    /// Waits until a person has decided about a request of one's own, or the
    /// request has lapsed, for as long as `patience` at most: the state is
    /// `pending` then.
    pub fn wait_for_approval(
        &mut self,
        approval: u64,
        patience: Duration,
    ) -> Result<WaitResult, ClientError> {
        let patience = Patience::new(patience);
        loop {
            let timeout_ms = u64::try_from(patience.left().as_millis()).unwrap_or(WAIT_MS_MAX);
            let params = WaitParams {
                approval,
                timeout_ms: timeout_ms.min(WAIT_MS_MAX),
            };
            let usual = self.timeout;
            // The daemon may take the whole wait, and then its usual time.
            self.timeout = usual + Duration::from_millis(params.timeout_ms);
            let answer = self.call(method::APPROVAL_WAIT, &params);
            self.timeout = usual;
            let answer: WaitResult = answer?;
            if answer.state != ApprovalState::Pending || patience.left().is_zero() {
                return Ok(answer);
            }
        }
    }

    /// Which of these tools an agent should see.
    pub fn filter_tools(
        &mut self,
        params: &ToolsFilterParams,
    ) -> Result<ToolsFilterResult, ClientError> {
        self.call(method::TOOLS_FILTER, params)
    }

    /// Turns the connection into one that carries audit records, for
    /// [`Client::next_event`]. Nothing can be asked on it any more.
    pub fn subscribe(&mut self, kinds: Vec<String>) -> Result<Done, ClientError> {
        self.call(method::EVENTS_SUBSCRIBE, &SubscribeParams { kinds })
    }

    /// Waits for the next record, however long that takes.
    pub fn next_event(&mut self) -> Result<Event, ClientError> {
        loop {
            let line = match self.receive(Instant::now() + LISTEN) {
                Err(ClientError::TimedOut { .. }) => continue,
                line => line?,
            };
            let notification: Notification =
                serde_json::from_slice(&line).map_err(|error| ClientError::Garbled {
                    reason: error.to_string(),
                })?;
            return Ok(notification.params);
        }
    }
}
