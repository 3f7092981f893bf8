//! Which account a connection's calls are charged to.
//!
//! It is settled once, by the first call: a `hello` that presents a token or
//! names a grant, or else the kernel's facts about the peer. From then on it
//! stays, so that no call can be charged to one account and reported on by
//! another.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use vmward_core::grant::{Claim, GrantError, Grants};
use vmward_wire::rpc::{ErrorCode, ErrorObject};

use super::Peer;
use crate::log::Throttle;

/// A refused token is logged once in so many seconds: a client can flood.
const REFUSALS_EVERY_S: i64 = 10;

/// Every grant of this host, for all connections.
#[derive(Debug)]
pub struct AccountBook {
    grants: Grants,
    refusals: Mutex<Throttle>,
}

impl AccountBook {
    /// Opens the book.
    pub fn new(grants: Grants) -> AccountBook {
        AccountBook {
            grants,
            refusals: Mutex::new(Throttle::new(REFUSALS_EVERY_S)),
        }
    }

    fn log_refusal(&self, peer: &Peer, error: &GrantError) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(more) = refusals.pass(crate::clock::boot_ns()) {
            tracing::warn!(
                pid = peer.process.pid,
                uid = peer.uid,
                comm = peer.comm,
                %error,
                more,
                "a grant was refused"
            );
        }
    }
}

/// The account of one connection.
#[derive(Debug)]
pub struct Account {
    book: Arc<AccountBook>,
    settled: OnceLock<String>,
}

impl Account {
    /// Of a connection on which nothing has been asked.
    pub fn new(book: Arc<AccountBook>) -> Account {
        Account {
            book,
            settled: OnceLock::new(),
        }
    }

    /// The account, settled by the kernel's facts where nothing was claimed.
    pub fn grant(&self, peer: &Peer) -> &str {
        self.settled
            .get_or_init(|| self.book.grants.by_credentials(&peer.credentials()))
    }

    /// The same, without settling it: a look at how things are binds nobody.
    pub fn so_far(&self, peer: &Peer) -> String {
        self.settled.get().cloned().unwrap_or_else(|| {
            let credentials = peer.credentials();
            self.book.grants.by_credentials(&credentials)
        })
    }

    /// Settles the account by what the caller claims.
    ///
    /// # Errors
    /// The claim is not the caller's, or the connection has another account
    /// already.
    pub fn claim(&self, peer: &Peer, claim: &Claim<'_>) -> Result<&str, ErrorObject> {
        if claim.grant.is_none() && claim.token.is_none() {
            return Ok(self.grant(peer));
        }
        let chosen = self
            .book
            .grants
            .choose(&peer.credentials(), claim)
            .map_err(|error| {
                self.book.log_refusal(peer, &error);
                ErrorObject::new(ErrorCode::NotYours, error.to_string())
            })?;
        let settled = self.settled.get_or_init(|| chosen.clone());
        if *settled == chosen {
            return Ok(settled);
        }
        let message = format!(
            "this connection asks as grant {settled:?} since its first call; open another \
             connection to ask as {chosen:?}, and say hello first"
        );
        Err(ErrorObject::new(ErrorCode::NotYours, message))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use vmward_core::grant::{Grant, TokenHash};

    use super::*;

    #[test]
    fn a_look_settles_nothing() {
        let (server, _client) = UnixStream::pair().unwrap();
        let peer = Peer::of(&server).unwrap();
        let ci = Grant {
            name: "ci".to_owned(),
            uid: None,
            gid: None,
            unit: None,
            token: Some(TokenHash::of("secret")),
            approvals_max: None,
        };
        let book = AccountBook::new(Grants::new(vec![ci]).unwrap());
        let account = Account::new(Arc::new(book));
        assert_eq!(account.so_far(&peer), format!("uid:{}", peer.uid));
        let claim = Claim {
            grant: None,
            token: Some("secret"),
        };
        assert_eq!(account.claim(&peer, &claim).unwrap(), "ci");
        assert_eq!(account.so_far(&peer), "ci");
    }
}
