//! Whose counters somebody is shown.

use std::collections::BTreeMap;

use super::{
    Engine, LimitRow,
    charge::{Key, is_of_scope, want},
};
use crate::{clock::Now, limit::Counter, policy::LimitRule};

/// A caller that is shown what is its own, and of everybody else's only how much
/// there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Viewer {
    /// Its grant, such as `uid:1000`.
    pub grant: String,
    /// Its user.
    pub uid: u32,
}

impl Viewer {
    /// Is it this grant's own?
    pub fn owns(&self, grant: &str) -> bool {
        self.grant == grant
    }

    /// Is this counter its own, or one that all callers share and that names
    /// nobody? The key of a VM tells what others did to it.
    fn sees(&self, key: &str, maker: Option<&str>) -> bool {
        if let Some(maker) = maker {
            return self.owns(maker);
        }
        match key.split_once(':') {
            Some(("grant", grant)) => self.owns(grant),
            Some(("uid", uid)) => uid.parse() == Ok(self.uid),
            Some(("host" | "tool", _)) => true,
            _ => false,
        }
    }
}

impl Engine {
    /// Every limit of the policy for every key that holds a call.
    pub fn limits(&self, now: Now) -> Vec<LimitRow> {
        let mut rows = Vec::new();
        self.each_limit(now, None, |row| rows.push(row));
        rows
    }

    /// The same one by one, there can be tens of thousands: those that `viewer` is
    /// shown, where there is one. Returns how many it is not shown.
    pub fn each_limit(
        &self,
        now: Now,
        viewer: Option<&Viewer>,
        mut tell: impl FnMut(LimitRow),
    ) -> u64 {
        // Rules that share a counter may each have a max of their own.
        let mut limits: BTreeMap<&str, Vec<&LimitRule>> = BTreeMap::new();
        for limit in self.policy.limits() {
            let others = limits.entry(&limit.counter).or_default();
            let is_same = |other: &&LimitRule| {
                (other.scope, other.max, other.window) == (limit.scope, limit.max, limit.window)
            };
            if !others.iter().any(is_same) {
                others.push(limit);
            }
        }
        let mut hidden = 0;
        for Counter {
            counter,
            key,
            maker,
            ..
        } in self.limiter.counters()
        {
            let is_shown = viewer.is_none_or(|viewer| viewer.sees(key, maker));
            let limits = limits.get(counter).into_iter().flatten();
            for limit in limits.filter(|limit| is_of_scope(key, limit.scope)) {
                let row = self.row(&want(limit, Key::known(key.to_owned()), 1), now);
                if row.remaining < row.max {
                    if is_shown {
                        tell(row);
                    } else {
                        hidden += 1;
                    }
                }
            }
        }
        hidden
    }
}
