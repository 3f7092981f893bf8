//! `[[grants]]`: users and groups by name become ids, and every value is
//! checked where it stands, so that a mistake is shown with its line.

use std::fmt;

use nix::unistd::{Group, User};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use vmward_core::grant::{Grant, Grants, check_name};

/// Most grants of a host.
const GRANTS_MAX: usize = 1024;
/// Most requests for approval that a grant may be given.
const APPROVALS_MAX: u32 = 1000;

/// An entry as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Entry {
    #[serde(deserialize_with = "name")]
    name: String,
    uid: Option<u32>,
    #[serde(default, deserialize_with = "user")]
    user: Option<u32>,
    #[serde(default, deserialize_with = "group")]
    group: Option<u32>,
    unit: Option<String>,
    #[serde(default, alias = "token_sha256", deserialize_with = "parsed")]
    token_sha256: Option<vmward_core::grant::TokenHash>,
    #[serde(default, alias = "approvals_max", deserialize_with = "approvals")]
    approvals_max: Option<u32>,
}

impl From<Entry> for Grant {
    fn from(entry: Entry) -> Grant {
        Grant {
            name: entry.name,
            uid: entry.uid.or(entry.user),
            gid: entry.group,
            unit: entry.unit,
            token: entry.token_sha256,
            approvals_max: entry.approvals_max,
        }
    }
}

/// Reads the whole list.
pub(super) fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Grants, D::Error> {
    from.deserialize_seq(List)
}

struct List;

impl<'de> Visitor<'de> for List {
    type Value = Grants;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of grants, each begun by [[grants]]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Grants, A::Error> {
        let mut grants = Grants::default();
        while entries.next_element_seed(Next(&mut grants))?.is_some() {}
        Ok(grants)
    }
}

/// One more grant. What is wrong with it is found while it is read, which is how
/// the error gets its place and not the first one's.
struct Next<'a>(&'a mut Grants);

impl<'de> DeserializeSeed<'de> for Next<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Next<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a grant: a table with a name")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let entry = Entry::deserialize(MapAccessDeserializer::new(map))?;
        if self.0.iter().count() == GRANTS_MAX {
            let message = format!("this is one grant too many: {GRANTS_MAX} is the most");
            return Err(Error::custom(message));
        }
        if entry.uid.is_some() && entry.user.is_some() {
            let message = format!("grant {:?} has both uid and user: keep one", entry.name);
            return Err(Error::custom(message));
        }
        self.0.add(entry.into()).map_err(Error::custom)
    }
}

fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    check_name(&name).map_err(Error::custom)?;
    Ok(name)
}

fn user<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    let name = String::deserialize(from)?;
    match User::from_name(&name) {
        Ok(Some(user)) => Ok(Some(user.uid.as_raw())),
        Ok(None) => Err(Error::custom(format!(
            "this host has no user {name:?}: create it, correct the name, or give its number as uid"
        ))),
        Err(errno) => Err(Error::custom(format!(
            "user {name:?} could not be looked up ({errno}); give its number as uid"
        ))),
    }
}

fn group<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    let name = String::deserialize(from)?;
    match Group::from_name(&name) {
        Ok(Some(group)) => Ok(Some(group.gid.as_raw())),
        Ok(None) => Err(Error::custom(format!(
            "this host has no group {name:?}: create it (groupadd --system {name}) or correct the \
             name"
        ))),
        Err(errno) => Err(Error::custom(format!(
            "group {name:?} could not be looked up: {errno}"
        ))),
    }
}

fn parsed<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr<Err: fmt::Display>,
{
    let text = String::deserialize(from)?;
    text.parse().map(Some).map_err(Error::custom)
}

fn approvals<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    let max = u32::deserialize(from)?;
    if !(1..=APPROVALS_MAX).contains(&max) {
        return Err(Error::custom(format!(
            "approvals-max must be 1 to {APPROVALS_MAX}, not {max}"
        )));
    }
    Ok(Some(max))
}

#[cfg(test)]
mod tests;
