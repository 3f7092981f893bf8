//! A domain's labels: what its owner wrote into its metadata for the policy.
//!
//! `virsh metadata web-1 --uri urn:vmward:labels:1 --key vmward --set '<labels
//! tier="prod"/>'` sets them; libvirt keeps the element under its own prefix and
//! gives it back by the URI. Whoever may do that may relabel the VM: root and
//! the users of libvirt's read-write socket.

use roxmltree::{Document, ParsingOptions};
use virt::domain::Domain;
use virt::enumutil::Enum;
use virt::error::ErrorNumber;
use vmwardd::inventory::Labels;

/// The namespace of the element.
const URI: &str = "urn:vmward:labels:1";
/// `VIR_DOMAIN_METADATA_ELEMENT`; part of libvirt's stable interface.
const ELEMENT: i32 = 2;
/// Longest element.
const ELEMENT_BYTES_MAX: usize = 16 * 1024;
/// The element and nothing beside it.
const NODES_MAX: u32 = 16;

/// Reads a domain's labels. An error says why there is nothing to be used.
pub(super) fn read(found: &Domain) -> Result<Labels, String> {
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
}
