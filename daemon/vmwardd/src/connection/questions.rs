//! The methods that ask how things are, about the policy, and about requests for
//! approval.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use vmward_core::approval::Person;
use vmward_core::engine::Viewer;
use vmward_core::ids::DecisionId;
use vmward_wire::rpc::{ErrorCode, ErrorObject, Request};
use vmward_wire::v1;
use vmward_wire::v1::approval::{
    Approval, ApprovalState, DecideParams, ListParams, ListResult, ShowParams, WAIT_MS_MAX,
    WaitParams, WaitResult,
};
use vmward_wire::v1::explain::ExplainResult;
use vmward_wire::v1::tools::{ToolsFilterParams, ToolsFilterResult};

use super::Client;
use crate::counters::count;
use crate::engine_task::{ApprovalCall, Message};
use crate::socket::Door;

impl Client {
    pub(super) async fn status(
        &self,
        request: &mut Request,
    ) -> Result<v1::StatusResult, ErrorObject> {
        let v1::StatusParams {} = request.params()?;
        // Root could ask on the admin socket as well, and read the log.
        let sees_all = self.door == Door::Admin || self.peer.uid == 0;
        let viewer = (!sees_all).then(|| Viewer {
            grant: self.account.so_far(&self.peer),
            uid: self.peer.uid,
        });
        self.ask(|reply| Message::Status { viewer, reply }).await
    }

    pub(super) async fn filter(
        &self,
        request: &mut Request,
    ) -> Result<ToolsFilterResult, ErrorObject> {
        let params: ToolsFilterParams = request.params()?;
        let caller = self.caller();
        self.ask(|reply| Message::Filter {
            params,
            caller,
            reply,
        })
        .await?
    }

    pub(super) async fn explain(
        &self,
        request: &mut Request,
    ) -> Result<ExplainResult, ErrorObject> {
        let params: v1::AuthorizeParams = request.params()?;
        let caller = self.caller();
        self.ask(|reply| Message::Explain {
            params,
            caller,
            reply,
        })
        .await?
    }

    pub(super) async fn list_approvals(
        &self,
        request: &mut Request,
    ) -> Result<ListResult, ErrorObject> {
        self.must_be_admin(request)?;
        let ListParams {} = request.params()?;
        self.ask(|reply| Message::Approval(ApprovalCall::List { reply }))
            .await?
    }

    pub(super) async fn show_approval(
        &self,
        request: &mut Request,
    ) -> Result<Approval, ErrorObject> {
        self.must_be_admin(request)?;
        let params: ShowParams = request.params()?;
        let id = DecisionId(params.approval);
        self.ask(|reply| Message::Approval(ApprovalCall::Show { id, reply }))
            .await?
    }

    /// A yes or a no, by whoever is at the other end.
    pub(super) async fn decide(
        &self,
        request: &mut Request,
        yes: bool,
    ) -> Result<Approval, ErrorObject> {
        self.must_be_admin(request)?;
        let params: DecideParams = request.params()?;
        let by = Person {
            uid: self.peer.uid,
            loginuid: self.peer.loginuid,
        };
        self.ask(|reply| {
            Message::Approval(ApprovalCall::Decide {
                id: DecisionId(params.approval),
                by,
                yes,
                note: params.note,
                reply,
            })
        })
        .await?
    }

    /// Waits here and not in the engine: it is asked again whenever the bell
    /// rings.
    pub(super) async fn wait_approval(
        &self,
        request: &mut Request,
    ) -> Result<WaitResult, ErrorObject> {
        let params: WaitParams = request.params()?;
        if params.timeout_ms > WAIT_MS_MAX {
            let message = format!("`timeout_ms` must be at most {WAIT_MS_MAX}");
            return Err(ErrorObject::new(ErrorCode::InvalidParams, message));
        }
        let deadline = Instant::now() + Duration::from_millis(params.timeout_ms);
        let mut stop = self.stop.clone();
        let mut bell = self.feed.bell();
        let mut known: Option<WaitResult> = None;
        loop {
            bell.mark_unchanged();
            let looked = self.look(params.approval).await;
            match (looked, known) {
                // It was there, so it has lapsed.
                (Err(error), Some(known)) if error.is(ErrorCode::NotFound) => {
                    return Ok(WaitResult {
                        state: ApprovalState::Expired,
                        expires_in_ms: 0,
                        ..known
                    });
                }
                (Err(error), _) => return Err(error),
                (Ok(now), _) if now.state != ApprovalState::Pending => return Ok(now),
                (Ok(now), _) if deadline <= Instant::now() => return Ok(now),
                (Ok(now), _) => known = Some(now),
            }
            // Whether the bell rang or the time is up, the next look tells.
            let rang = async {
                tokio::select! {
                    _ = bell.changed() => false,
                    _ = stop.wait_for(|stop| *stop) => true,
                }
            };
            if let Ok(true) = timeout_at(deadline, rang).await {
                return Err(ErrorObject::new(
                    ErrorCode::Unavailable,
                    "the daemon is stopping; ask again when it is back",
                ));
            }
        }
    }

    async fn look(&self, approval: u64) -> Result<WaitResult, ErrorObject> {
        let id = DecisionId(approval);
        let grant = self.caller().grant;
        self.ask(|reply| Message::Approval(ApprovalCall::Look { id, grant, reply }))
            .await?
    }

    pub(super) fn must_be_admin(&self, request: &Request) -> Result<(), ErrorObject> {
        match self.door {
            Door::Admin => Ok(()),
            Door::Policy => {
                count(&self.counters.admin_only);
                let message = format!(
                    "{} is for the admin socket, admin.sock beside this one, which only root \
                     may use",
                    request.method
                );
                Err(ErrorObject::new(ErrorCode::AdminOnly, message))
            }
        }
    }
}
