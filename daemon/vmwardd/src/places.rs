//! Who may have how many of something of which there is not enough for everybody,
//! so that no account takes every place, and root and the others cannot shut one
//! another out.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

/// Where all places of a side are taken, an account that has none still gets one, so
/// that a few accounts cannot shut out the others: up to so many times what there is.
const CROWD: usize = 4;

/// A number of places for root, and as many for all others together, of whom an
/// account gets a quarter at most, and one whatever the others have.
#[derive(Debug)]
pub struct Places {
    max: usize,
    held: Mutex<BTreeMap<u32, usize>>,
}

/// One place, free again when it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    uid: u32,
}

impl Places {
    /// So many places for either side; fewer than four cannot be shared.
    pub fn new(max: usize) -> Arc<Places> {
        Arc::new(Places {
            max,
            held: Mutex::default(),
        })
    }

    /// Most places that are ever taken, root's and the others'.
    pub fn most(max: usize) -> usize {
        max + max * CROWD
    }

    /// A place for whoever is at the other end; `None` when its account, or its
    /// side, has its full share, or when it is not known.
    pub fn take_for_peer(self: &Arc<Self>, stream: &UnixStream) -> Option<Place> {
        self.take(getsockopt(stream, PeerCredentials).ok()?.uid())
    }

    /// The same for a user.
    pub fn take(self: &Arc<Self>, uid: u32) -> Option<Place> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let of_side: usize = held
            .iter()
            .filter(|(other, _)| is_root(**other) == is_root(uid))
            .map(|(_, places)| places)
            .sum();
        let own = held.entry(uid).or_default();
        let account_max = if is_root(uid) { self.max } else { self.max / 4 };
        let of_side_max = if *own == 0 {
            self.max * CROWD
        } else {
            self.max
        };
        let is_full = of_side >= of_side_max || *own >= account_max;
        if !is_full {
            *own += 1;
        }
        if *own == 0 {
            held.remove(&uid);
        }
        drop(held);
        (!is_full).then(|| Place {
            places: Arc::clone(self),
            uid,
        })
    }
}

/// Root, or the daemon's own account, where that is another.
fn is_root(uid: u32) -> bool {
    uid == 0 || uid == nix::unistd::geteuid().as_raw()
}

impl Drop for Place {
    fn drop(&mut self) {
        let held = self.places.held.lock();
        let mut held = held.unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = held.get_mut(&self.uid) {
            *places = places.saturating_sub(1);
            if *places == 0 {
                held.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREEDY: u32 = u32::MAX - 20;

    fn take_all(places: &Arc<Places>, uid: u32) -> Vec<Place> {
        std::iter::from_fn(|| places.take(uid)).collect()
    }

    #[test]
    fn one_account_cannot_take_every_place() {
        let places = Places::new(64);
        let mut held = take_all(&places, GREEDY);
        assert_eq!(held.len(), 16);
        let other = places.take(GREEDY + 1);
        assert!(other.is_some());
        held.pop();
        assert!(places.take(GREEDY).is_some());
        drop((held, other));
        assert!(places.held.lock().unwrap().is_empty());
    }

    #[test]
    fn a_few_accounts_cannot_shut_out_another() {
        let places = Places::new(64);
        let _held: Vec<Place> = (GREEDY..GREEDY + 4)
            .flat_map(|uid| take_all(&places, uid))
            .collect();
        let other = take_all(&places, GREEDY + 4);
        assert_eq!(other.len(), 1);
        drop(other);
        assert!(places.take(GREEDY + 4).is_some());
        // There is an end to it.
        let crowd: Vec<Option<Place>> = (1000..2000).map(|uid| places.take(uid)).collect();
        assert_eq!(crowd.iter().flatten().count(), 3 * 64);
    }

    #[test]
    fn however_many_accounts_and_root_cannot_shut_one_another_out() {
        let places = Places::new(64);
        let others: Vec<Place> = (GREEDY..GREEDY + 10)
            .flat_map(|uid| take_all(&places, uid))
            .collect();
        let root = take_all(&places, 0);
        assert_eq!((others.len(), root.len()), (64 + 6, 64));
        drop(others);
        assert_eq!(take_all(&places, GREEDY).len(), 16);
        assert!(places.take(0).is_none());
        assert!(!places.held.lock().unwrap().contains_key(&GREEDY));
    }
}
