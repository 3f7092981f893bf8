//! How many clients each account has, so that none takes every place.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::CLIENTS_MAX;

/// Most clients of one account, so that it cannot lock out the others. Root
/// and the daemon's own account are not bound by it.
const CLIENTS_MAX_PER_ACCOUNT: usize = CLIENTS_MAX / 4;

/// Clients of each account.
pub(super) type Accounts = Arc<Mutex<BTreeMap<u32, usize>>>;

/// One client's place among those of its account.
pub(super) struct Share {
    accounts: Accounts,
    uid: u32,
}

impl Share {
    /// `None` when the account has its full share already, or is not known.
    pub(super) fn take(accounts: &Accounts, stream: &UnixStream) -> Option<Share> {
        Share::take_for(accounts, getsockopt(stream, PeerCredentials).ok()?.uid())
    }

    fn take_for(accounts: &Accounts, uid: u32) -> Option<Share> {
        let free = uid == 0 || uid == nix::unistd::geteuid().as_raw();
        let mut held = accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let clients = held.entry(uid).or_default();
        if *clients >= CLIENTS_MAX_PER_ACCOUNT && !free {
            return None;
        }
        *clients += 1;
        drop(held);
        Some(Share {
            accounts: Arc::clone(accounts),
            uid,
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(clients) = held.get_mut(&self.uid) {
            *clients = clients.saturating_sub(1);
            if *clients == 0 {
                held.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_account_cannot_take_every_place() {
        let accounts = Accounts::default();
        let (greedy, other) = (u32::MAX - 2, u32::MAX - 3);
        let mut held: Vec<Share> = (0..CLIENTS_MAX_PER_ACCOUNT)
            .map(|_| Share::take_for(&accounts, greedy).unwrap())
            .collect();
        assert!(Share::take_for(&accounts, greedy).is_none());
        assert!(Share::take_for(&accounts, other).is_some());
        held.pop();
        assert!(Share::take_for(&accounts, greedy).is_some());
        let root: Vec<_> = (0..CLIENTS_MAX)
            .map(|_| Share::take_for(&accounts, 0))
            .collect();
        assert!(root.iter().all(Option::is_some));
        drop((held, root));
        assert!(accounts.lock().unwrap().is_empty());
    }
}
