//! From when on a call counts: from when its caller learns of it.

use super::{CounterKey, Limiter};
use crate::{clock::NS_PER_S, ids::DecisionId};

/// So old may the stamps of what nobody was told become before they are moved: much
/// less than any window, so that none lapses.
const HOLD_NS: i64 = NS_PER_S / 10;

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

    /// Callers have not learnt yet of what was decided for them, and it counts as of
    /// now: else what a slow disk holds up for longer than the window would lapse before
    /// its caller has it. For who tells of decisions, before each of them.
    pub fn hold_untold(&mut self, now_ns: i64) {
        let now_ns = self.clamp(now_ns);
        if self.untold.is_empty() || now_ns.saturating_sub(self.untold_since_ns) < HOLD_NS {
            return;
        }
        for (id, keys) in &self.untold {
            for CounterKey { counter, key } in keys {
                if let Some(log) = self.logs.get_mut(counter, key) {
                    log.raise(*id, now_ns);
                }
            }
        }
        self.untold_since_ns = now_ns;
    }
}
