//! Finding a value in what was read, by its JSON pointer.

use super::{Node, Value};

impl Node {
    /// What a JSON pointer (RFC 6901) leads to, or as near as it leads.
    pub(in crate::policy) fn nearest(&self, pointer: &str) -> &Self {
        let mut node = self;
        for step in pointer.split('/').skip(1) {
            let step = step.replace("~1", "/").replace("~0", "~");
            let inner = match &node.value {
                Value::Array(items) => step.parse().ok().and_then(|at: usize| items.get(at)),
                Value::Object(members) => members
                    .iter()
                    .find(|member| member.key == step)
                    .map(|member| &member.node),
                _ => None,
            };
            match inner {
                Some(inner) => node = inner,
                None => break,
            }
        }
        node
    }
}
