//! What becomes of a decision's charges: final, given back, or never made.

use super::{CounterKey, Limiter};
use crate::ids::DecisionId;

impl Limiter {
    /// Makes a decision's charges final.
    pub fn commit(&mut self, id: DecisionId) {
        self.reserved.remove(&id);
    }

    /// Could this decision's charges still be given back?
    pub fn is_reserved(&self, id: DecisionId) -> bool {
        self.reserved.contains_key(&id)
    }

    /// Gives a reserved decision's charges back. False when it has none, or they
    /// are final.
    pub fn release(&mut self, id: DecisionId) -> bool {
        self.untold.remove(&id);
        let Some(keys) = self.reserved.remove(&id) else {
            return false;
        };
        for CounterKey { counter, key } in keys {
            self.logs.take(&counter, &key, |log| log.remove(id));
        }
        true
    }

    /// Takes a decision out as if it had never been, final or not. Looks through
    /// every counter: for a decision that could not be written down, not for
    /// daily use.
    pub fn forget(&mut self, id: DecisionId) {
        self.reserved.remove(&id);
        self.untold.remove(&id);
        self.logs.take_all(|log| log.remove(id));
    }
}
