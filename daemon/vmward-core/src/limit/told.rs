//! From when on a call counts: from when its caller learns of it.

use super::{CounterKey, Limiter};
use crate::ids::DecisionId;

impl Limiter {
    /// The caller learns of the decision: what it was charged counts from now on, as
    /// far as that is later than when it was decided.
    pub fn told(&mut self, id: DecisionId, now_ns: impl FnOnce() -> i64) {
        let Some(keys) = self.untold.remove(&id) else {
            return;
        };
        let now_ns = self.clamp(now_ns());
        for CounterKey { counter, key } in keys {
            if let Some(log) = self.logs.get_mut(&counter, &key) {
                log.raise(id, now_ns);
            }
        }
    }
}
