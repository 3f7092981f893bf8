//! `vmward.toml` read to its end, whatever is wrong on the way.
//!
//! serde stops at the first mistake. So what is wrong is noted, taken out, and the
//! rest read again, until all of it fits or nothing can be taken out any more. A
//! table from which something was taken out is not judged as a whole: what is
//! missing there then may be what was wrong.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Deserializer};

use super::Config;
use super::check::{self, Wrong};
use super::faults::{FAULTS_MAX, Fault, Faults};

/// Most times that a file is read: a mistake each, and what follows from it.
const READS_MAX: usize = 4 * FAULTS_MAX;

const UNREAD_VALUES: &str = "the values are looked at when the file can be read as TOML";
const UNREAD_REST: &str = "whatever else is wrong is told when this is right";

/// Reads and checks the text; tells all that is wrong with it.
pub(super) fn read(text: &str) -> Result<Config, Faults> {
    let (mut document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let more = errors.len() > FAULTS_MAX;
        let faults = errors.iter().take(FAULTS_MAX).map(fault).collect();
        let unread = if more { UNREAD_REST } else { UNREAD_VALUES };
        return Err(Faults::new(text, faults, Some(unread)));
    }
    let (config, mut faults) = fit(&mut document);
    let Some(config) = config else {
        return Err(Faults::new(text, faults, Some(UNREAD_REST)));
    };
    let wrong = check::check(&config).into_iter();
    faults.extend(wrong.map(|Wrong { key, item, what }| Fault {
        span: span_of(document.get_ref(), key, item),
        message: what,
    }));
    if faults.is_empty() {
        return Ok(config);
    }
    Err(Faults::new(text, faults, None))
}

/// The configuration without what is wrong, which is taken out of the document and
/// told; none where that could not be found out.
fn fit(document: &mut Spanned<DeTable<'_>>) -> (Option<Config>, Vec<Fault>) {
    let mut faults = Vec::new();
    // Where the tables and lists begin from which something was taken.
    let mut torn = BTreeSet::new();
    for _ in 0..READS_MAX {
        let error = match Config::deserialize(Deserializer::from(document.clone())) {
            Ok(config) => return (Some(config), faults),
            Err(error) => error,
        };
        let part = error
            .span()
            .and_then(|span| part_at(document.get_ref(), &span));
        let follows = part
            .as_ref()
            .is_some_and(|part| torn.contains(&part.begins));
        if !follows {
            faults.push(fault(&error));
        }
        let Some(part) = part else {
            return (None, faults);
        };
        if faults.len() == FAULTS_MAX {
            return (None, faults);
        }
        torn.insert(part.within);
        take_out(document.get_mut(), &part.id);
    }
    (None, faults)
}

fn fault(error: &toml::de::Error) -> Fault {
    Fault {
        span: error.span(),
        message: told(error.message()),
    }
}

/// What the parser says, with each key named once: of one that can be spelled in
/// two ways it names both.
fn told(text: &str) -> String {
    let mut told = text.to_owned();
    for word in text.split('`').filter(|word| word.contains('_')) {
        if text.contains(&format!("`{}`", word.replace('_', "-"))) {
            told = told.replace(&format!(", `{word}`"), "");
        }
    }
    told
}

/// A part of the document that can be taken out.
struct Part {
    /// The span of its key, or of the whole where it is in a list.
    id: Range<usize>,
    /// Where its value begins.
    begins: usize,
    /// Where the value begins that it is in.
    within: usize,
    /// How many bytes the span has that was looked for.
    bytes: usize,
}

/// The smallest part whose key or value holds `span`.
fn part_at(table: &DeTable<'_>, span: &Range<usize>) -> Option<Part> {
    in_table(table, usize::MAX, span)
}

fn in_table(table: &DeTable<'_>, within: usize, span: &Range<usize>) -> Option<Part> {
    let parts = table.iter().flat_map(|(key, value)| {
        let own = [key.span(), value.span()].into_iter();
        let own = own.filter(|own| holds(own, span)).map(|own| Part {
            id: key.span(),
            begins: value.span().start,
            within,
            bytes: own.len(),
        });
        // What is inside comes first: a list of tables has its first one's span.
        in_value(value, span).into_iter().chain(own)
    });
    parts.min_by_key(|part| part.bytes)
}

fn in_value(value: &Spanned<DeValue<'_>>, span: &Range<usize>) -> Option<Part> {
    let within = value.span().start;
    match value.get_ref() {
        DeValue::Table(table) => in_table(table, within, span),
        DeValue::Array(list) => {
            let parts = list.iter().flat_map(|item| {
                let own = item.span();
                let own = holds(&own, span).then(|| Part {
                    id: own.clone(),
                    begins: own.start,
                    within,
                    bytes: own.len(),
                });
                in_value(item, span).into_iter().chain(own)
            });
            parts.min_by_key(|part| part.bytes)
        }
        _ => None,
    }
}

fn holds(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

fn take_out(table: &mut DeTable<'_>, id: &Range<usize>) {
    let key = table.keys().find(|key| key.span() == *id);
    if let Some(key) = key.map(|key| key.get_ref().clone().into_owned()) {
        table.remove(key.as_str());
        return;
    }
    for (_, value) in table.iter_mut() {
        take_out_of(value.get_mut(), id);
    }
}

fn take_out_of(value: &mut DeValue<'_>, id: &Range<usize>) {
    match value {
        DeValue::Table(table) => take_out(table, id),
        DeValue::Array(list) => {
            let kept = std::mem::replace(list, DeArray::new()).into_iter();
            *list = kept
                .filter(|item| item.span() != *id)
                .map(|mut item| {
                    take_out_of(item.get_mut(), id);
                    item
                })
                .collect();
        }
        _ => {}
    }
}

/// Where the value of a key stands, in either spelling; or one item of it.
fn span_of(table: &DeTable<'_>, key: &[&str], item: Option<usize>) -> Option<Range<usize>> {
    let (first, rest) = key.split_first()?;
    let value = table
        .get(*first)
        .or_else(|| table.get(first.replace('-', "_").as_str()))?;
    match (rest, value.get_ref()) {
        ([], DeValue::Array(list)) => {
            let item = item.and_then(|index| list.get(index));
            Some(item.unwrap_or(value).span())
        }
        ([], _) => Some(value.span()),
        (rest, DeValue::Table(table)) => span_of(table, rest, item),
        _ => None,
    }
}
