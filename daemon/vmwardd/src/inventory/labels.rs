//! A domain's labels: what its owner wrote into its metadata for the policy.
//!
//! `virsh metadata web-1 --uri urn:vmward:labels:1 --key vmward --set '<labels
//! tier="prod"/>'` sets them; libvirt keeps the element under its own prefix and
//! gives it back by the URI. Whoever may do that may relabel the VM: root and
//! the users of libvirt's read-write socket.

use std::collections::{BTreeMap, BTreeSet};

use roxmltree::{Document, ParsingOptions};
use virt::domain::Domain;
use virt::enumutil::Enum;
use virt::error::ErrorNumber;
use vmward_core::ids::VmUuid;

/// The namespace of the element.
const URI: &str = "urn:vmward:labels:1";
/// `VIR_DOMAIN_METADATA_ELEMENT`; part of libvirt's stable interface.
const ELEMENT: i32 = 2;
/// Longest element.
const ELEMENT_BYTES_MAX: usize = 16 * 1024;
/// The element and nothing beside it.
const NODES_MAX: u32 = 16;

/// Labels by name.
pub type Labels = BTreeMap<String, String>;

/// The labels of every domain that was seen.
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
    pub(super) fn read(&mut self, found: &Domain, uuid: VmUuid, name: &str) -> Labels {
        self.take(ask(found), uuid, name)
    }

    fn take(&mut self, read: Result<Labels, String>, uuid: VmUuid, name: &str) -> Labels {
        let entry = self.known.entry(uuid).or_default();
        match read {
            Ok(labels) => {
                entry.labels = labels;
                entry.fault = None;
            }
            Err(fault) => {
                if entry.fault.as_ref() != Some(&fault) {
                    tracing::warn!(vm = name, fault, "the labels of a VM were not taken");
                }
                entry.fault = Some(fault);
            }
        }
        entry.labels.clone()
    }

    /// Forgets the domains that are gone.
    pub(super) fn keep_only(&mut self, domains: &[super::Domain]) {
        let still: BTreeSet<VmUuid> = domains.iter().map(|domain| domain.uuid).collect();
        self.known.retain(|uuid, _| still.contains(uuid));
    }
}

fn ask(found: &Domain) -> Result<Labels, String> {
    match found.metadata(ELEMENT, Some(URI), virt_sys::VIR_DOMAIN_AFFECT_CURRENT) {
        Ok(element) => parse(&element),
        Err(error) if error.code() == Enum::Known(ErrorNumber::NoDomainMetadata) => {
            Ok(Labels::new())
        }
        Err(error) => Err(format!("libvirt does not tell its labels: {error}")),
    }
}

/// Reads the element as libvirt returns it.
///
/// # Errors
/// Why nothing in it can be used.
fn parse(element: &str) -> Result<Labels, String> {
    if element.len() > ELEMENT_BYTES_MAX {
        return Err(format!(
            "its labels are longer than {ELEMENT_BYTES_MAX} bytes"
        ));
    }
    let options = ParsingOptions {
        allow_dtd: false,
        nodes_limit: NODES_MAX,
        ..ParsingOptions::default()
    };
    let document = Document::parse_with_options(element, options)
        .map_err(|error| format!("its labels cannot be read: {error}"))?;
    let root = document.root_element();
    if root.tag_name().name() != "labels" {
        return Err(format!(
            "its metadata under {URI} is <{}>, not <labels>",
            root.tag_name().name()
        ));
    }
    Ok(root
        .attributes()
        .map(|label| (label.name().to_owned(), label.value().to_owned()))
        .collect())
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
    fn attributes_are_labels_with_or_without_libvirts_prefix() {
        for element in [
            "<labels tier='prod' owner=\"db &amp; co\"/>",
            "<labels tier='prod' owner='db &#38; co'></labels>",
            "<vmward:labels xmlns:vmward=\"urn:vmward:labels:1\" tier=\"prod\" \
             owner=\"db &amp; co\"/>",
            "<labels xmlns='urn:vmward:labels:1' tier='prod' owner='db &amp; co'/>",
        ] {
            let expected = labels(&[("tier", "prod"), ("owner", "db & co")]);
            assert_eq!(parse(element), Ok(expected), "{element}");
        }
        assert_eq!(parse("<labels/>"), Ok(Labels::new()));
    }

    #[test]
    fn what_is_no_list_of_labels_is_said() {
        let long = format!("<labels x='{}'/>", "x".repeat(ELEMENT_BYTES_MAX));
        let deep = "<labels>".repeat(NODES_MAX as usize) + &"</labels>".repeat(NODES_MAX as usize);
        for element in [
            "",
            "tier=prod",
            "<tags tier='prod'/>",
            "<labels tier='prod' tier='test'/>",
            "<!DOCTYPE a [<!ENTITY x 'y'>]><labels tier='&x;'/>",
            &long,
            &deep,
        ] {
            assert!(parse(element).is_err(), "{element:.60}");
        }
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
