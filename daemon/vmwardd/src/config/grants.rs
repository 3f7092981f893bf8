//! `[[grants]]`: users and groups by name become ids, and every value is
//! checked where it stands, so that a mistake is shown with its line.

use nix::unistd::{Group, User};
use serde::de::Error;
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

/// An entry that makes sense by itself.
#[derive(Deserialize)]
#[serde(try_from = "Entry")]
struct Checked(Grant);

impl TryFrom<Entry> for Checked {
    type Error = String;

    fn try_from(entry: Entry) -> Result<Checked, String> {
        if entry.uid.is_some() && entry.user.is_some() {
            return Err(format!(
                "grant {:?} has both uid and user: keep one",
                entry.name
            ));
        }
        let grant = Grant {
            name: entry.name,
            uid: entry.uid.or(entry.user),
            gid: entry.group,
            unit: entry.unit,
            token: entry.token_sha256,
            approvals_max: entry.approvals_max,
        };
        // What is wrong with one entry is said at that entry.
        Grants::new(vec![grant.clone()]).map_err(|error| error.to_string())?;
        Ok(Checked(grant))
    }
}

/// Reads the whole list.
pub(super) fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Grants, D::Error> {
    let list = Vec::<Checked>::deserialize(from)?;
    if list.len() > GRANTS_MAX {
        return Err(Error::custom(format!(
            "there are {} grants and {GRANTS_MAX} is the most",
            list.len()
        )));
    }
    Grants::new(list.into_iter().map(|checked| checked.0).collect()).map_err(Error::custom)
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
    T: std::str::FromStr<Err: std::fmt::Display>,
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
