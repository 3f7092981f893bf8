//! Taking protection away and putting it back: for root at the admin socket.

use vmward_core::approval::Person;
use vmward_core::disarm::Operator;
use vmward_wire::rpc::{ErrorCode, ErrorObject, Request};
use vmward_wire::v1::disarm::{ArmParams, ArmResult, DisarmParams, Disarmed};

use super::Client;
use crate::counters::count;
use crate::engine_task::{Message, ProtectionCall};

impl Client {
    pub(super) async fn disarm(&self, request: &mut Request) -> Result<Disarmed, ErrorObject> {
        let by = self.operator(request)?;
        let params: DisarmParams = request.params()?;
        self.ask(|reply| {
            Message::Protection(Box::new(ProtectionCall::Disarm { params, by, reply }))
        })
        .await?
    }

    pub(super) async fn arm(&self, request: &mut Request) -> Result<ArmResult, ErrorObject> {
        let by = self.operator(request)?;
        let params: ArmParams = request.params()?;
        self.ask(|reply| Message::Protection(Box::new(ProtectionCall::Arm { params, by, reply })))
            .await?
    }

    /// Who asks. The socket's mode keeps others out; a descriptor of it that was
    /// handed on does not.
    fn operator(&self, request: &Request) -> Result<Operator, ErrorObject> {
        self.must_be_admin(request)?;
        let peer = &self.peer;
        if peer.uid != 0 && peer.uid != nix::unistd::Uid::effective().as_raw() {
            count(&self.counters.admin_only);
            let message = format!(
                "{} is for root, and this is uid {}",
                request.method, peer.uid
            );
            return Err(ErrorObject::new(ErrorCode::AdminOnly, message));
        }
        Ok(Operator {
            person: Person {
                uid: peer.uid,
                loginuid: peer.loginuid,
            },
            pid: peer.process.pid,
            comm: peer.comm.clone(),
        })
    }
}
