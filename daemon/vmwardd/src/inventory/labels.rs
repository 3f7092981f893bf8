//! The labels that the policy goes by: those that were read last.

use std::collections::{BTreeMap, BTreeSet};

use vmward_core::ids::VmUuid;

/// Labels by name.
pub type Labels = BTreeMap<String, String>;

/// What was read of every domain that has labels, or a fault in them.
#[derive(Debug, Default)]
pub(super) struct LabelBook {
    known: BTreeMap<VmUuid, Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    labels: Labels,
    /// Why the newest labels were not taken.
    fault: Option<String>,
}

impl LabelBook {
    /// The labels of a domain now. Where they cannot be read, those that were
    /// read before stand: a rule about a label must not end with a fault.
    pub(super) fn take(
        &mut self,
        read: Result<Labels, String>,
        uuid: VmUuid,
        name: &str,
    ) -> Labels {
        match read {
            Ok(labels) if labels.is_empty() => {
                self.known.remove(&uuid);
                labels
            }
            Ok(labels) => {
                let entry = self.known.entry(uuid).or_default();
                entry.labels.clone_from(&labels);
                entry.fault = None;
                labels
            }
            Err(fault) => {
                let entry = self.known.entry(uuid).or_default();
                if entry.fault.as_ref() != Some(&fault) {
                    tracing::warn!(vm = name, fault, "the labels of a VM were not taken");
                }
                entry.fault = Some(fault);
                entry.labels.clone()
            }
        }
    }

    /// Forgets the domains that are gone.
    pub(super) fn keep_only(&mut self, domains: &[super::Domain]) {
        if self.known.is_empty() {
            return;
        }
        let still: BTreeSet<VmUuid> = domains.iter().map(|domain| domain.uuid).collect();
        self.known.retain(|uuid, _| still.contains(uuid));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn labels_that_cannot_be_read_leave_the_former_ones_in_force() {
        let mut book = LabelBook::default();
        let uuid = VmUuid::from_bytes([1; 16]);
        let mut take = |read| book.take(read, uuid, "db-1");
        let prod = labels(&[("tier", "prod")]);
        assert_eq!(take(Ok(prod.clone())), prod);
        assert_eq!(take(Err("libvirt is tired".to_owned())), prod);
        assert_eq!(take(Ok(Labels::new())), Labels::new(), "taken away");
        book.take(Ok(prod), uuid, "db-1");
        book.keep_only(&[]);
        let fault = Err("libvirt is tired".to_owned());
        assert_eq!(book.take(fault, uuid, "db-1"), Labels::new());
    }
}
