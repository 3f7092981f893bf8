//! Grants: whose account a call is charged to, and who may use it.
//!
//! A grant is tied to what the kernel says of a caller (user, group, systemd
//! unit), to a bearer token, or to both; all that an entry names must hold. A
//! caller that no entry fits is charged to its user: `uid:1000`. What a caller
//! says of itself only ever chooses among the grants that are its own.

use std::fmt;
use std::str::FromStr;

use constant_time_eq::constant_time_eq_32;
use thiserror::Error;

use crate::digest::{hex, sha256};
use crate::policy::{check_unit, is_pattern, selector::glob};

/// Longest name, in characters.
pub const NAME_CHARS_MAX: usize = 64;
/// Random bytes of a token.
pub const TOKEN_BYTES: usize = 32;
/// What a token begins with, so that people and secret scanners know it.
pub const TOKEN_PREFIX: &str = "vmwt_";

/// Writes a token down: the prefix, then 64 hexadecimal digits.
pub fn token(random: &[u8; TOKEN_BYTES]) -> String {
    format!("{TOKEN_PREFIX}{}", hex(random))
}

/// SHA-256 of a token as it is presented: all that the host keeps of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Hashes a token.
    pub fn of(token: &str) -> TokenHash {
        TokenHash(sha256(token.as_bytes()))
    }

    /// Compares in a time that says nothing about where two hashes differ.
    fn is(&self, other: &TokenHash) -> bool {
        constant_time_eq_32(&self.0, &other.0)
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenHash({self})")
    }
}

impl FromStr for TokenHash {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<TokenHash, GrantError> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(GrantError::Hash);
        }
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digits = str::from_utf8(digits).map_err(|_error| GrantError::Hash)?;
            // `from_str_radix` would take a sign.
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(GrantError::Hash);
            }
            *byte = u8::from_str_radix(digits, 16).map_err(|_error| GrantError::Hash)?;
        }
        Ok(TokenHash(bytes))
    }
}

/// One grant and who may use it. What is `None` is not asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its name: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub name: String,
    /// The caller's user id.
    pub uid: Option<u32>,
    /// One of the caller's group ids.
    pub gid: Option<u32>,
    /// The caller's systemd unit: `*` stands for any text, `?` for a character.
    pub unit: Option<String>,
    /// Of the token that the caller presents.
    pub token: Option<TokenHash>,
    /// Most requests for approval that may be open; the daemon's default where
    /// `None`.
    pub approvals_max: Option<u32>,
}

impl Grant {
    /// Do the kernel's facts fit? The token is another matter.
    fn fits(&self, who: &Credentials<'_>) -> bool {
        let unit_fits = |pattern: &String| who.unit.is_some_and(|unit| glob(pattern, unit));
        self.uid.is_none_or(|uid| uid == who.uid)
            && self.gid.is_none_or(|gid| who.gids.contains(&gid))
            && self.unit.as_ref().is_none_or(unit_fits)
    }

    fn check(&self) -> Result<(), GrantError> {
        check_name(&self.name)?;
        if self.uid.is_none() && self.gid.is_none() && self.unit.is_none() && self.token.is_none() {
            return Err(GrantError::ForEverybody(self.name.clone()));
        }
        if self.unit.as_ref().is_some_and(String::is_empty) {
            return Err(GrantError::EmptyUnit(self.name.clone()));
        }
        // Without a wildcard it fits one unit, and must be a unit's name in full.
        if let Some(unit) = self.unit.as_ref().filter(|unit| !is_pattern(unit)) {
            check_unit(unit).map_err(|(what, help)| GrantError::Unit {
                name: self.name.clone(),
                what,
                help,
            })?;
        }
        Ok(())
    }
}

/// What the kernel says of a caller.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// Its user.
    pub uid: u32,
    /// Its groups: the primary one and the others.
    pub gids: &'a [u32],
    /// The unit of the system's own service manager that it runs in. A unit of
    /// a user's manager is none: everybody can name his own as he likes.
    pub unit: Option<&'a str>,
}

/// What a caller asks to be.
#[derive(Clone, Copy, Default)]
pub struct Claim<'a> {
    /// The grant that it wants to be charged to.
    pub grant: Option<&'a str>,
    /// The token that it presents.
    pub token: Option<&'a str>,
}

impl fmt::Debug for Claim<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("grant", &self.grant)
            .field("token", &self.token.map(|_secret| "..."))
            .finish()
    }
}

/// Why a grant cannot be configured, or not be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GrantError {
    /// Not a name.
    #[error(
        "{0:?} is no name for a grant: use 1 to {NAME_CHARS_MAX} letters, digits, dots, \
         underscores and hyphens"
    )]
    Name(String),
    /// No SHA-256.
    #[error(
        "it must be the 64 hexadecimal digits of the token's SHA-256, as `vmward token` prints \
         them; the token itself does not belong here"
    )]
    Hash,
    /// Nothing says who may use it.
    #[error(
        "grant {0:?} does not say who may use it: give at least one of uid, user, group, unit and \
         token-sha256"
    )]
    ForEverybody(String),
    /// A pattern that no unit has.
    #[error("grant {0:?} has an empty unit: name one, such as \"agent@*.service\"")]
    EmptyUnit(String),
    /// A name that no unit has.
    #[error("grant {name:?}: {what}; {help}")]
    Unit {
        /// The grant.
        name: String,
        /// What is wrong.
        what: String,
        /// What to write.
        help: String,
    },
    /// Two entries of one name.
    #[error("two grants are named {0:?}: rename one")]
    SameName(String),
    /// Two entries for one token.
    #[error("the grants {0:?} and {1:?} have the same token: make one of its own for each")]
    SameToken(String, String),
    /// The caller presents a token that does not count.
    #[error(
        "the token gives this caller no grant: it is unknown here, or bound to another user, group \
         or unit"
    )]
    TokenRefused,
    /// The caller claims what is not its own.
    #[error(
        "grant {claimed:?} is not yours: this process's user, groups, unit or token give it {own:?}"
    )]
    NotYours {
        /// What it claims.
        claimed: String,
        /// What it would get without a claim.
        own: String,
    },
}

/// Checks a grant's name.
///
/// # Errors
/// [`GrantError::Name`].
pub fn check_name(name: &str) -> Result<(), GrantError> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(is_fine) {
        return Err(GrantError::Name(name.to_owned()));
    }
    Ok(())
}

/// The account of a user that no grant fits.
pub fn of_uid(uid: u32) -> String {
    format!("uid:{uid}")
}

/// Every grant, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    list: Vec<Grant>,
}

impl Grants {
    /// Takes the entries of a file.
    ///
    /// # Errors
    /// The first entry that makes no sense, or that another one contradicts.
    pub fn new(list: Vec<Grant>) -> Result<Grants, GrantError> {
        let mut grants = Grants::default();
        for grant in list {
            grants.add(grant)?;
        }
        Ok(grants)
    }

    /// Takes one more entry.
    ///
    /// # Errors
    /// It makes no sense, or an earlier one contradicts it.
    pub fn add(&mut self, grant: Grant) -> Result<(), GrantError> {
        grant.check()?;
        if self.list.iter().any(|other| other.name == grant.name) {
            return Err(GrantError::SameName(grant.name));
        }
        let same = |other: &&Grant| other.token.is_some() && other.token == grant.token;
        if let Some(other) = self.list.iter().find(same) {
            return Err(GrantError::SameToken(other.name.clone(), grant.name));
        }
        self.list.push(grant);
        Ok(())
    }

    /// Every grant, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Grant> {
        self.list.iter()
    }

    /// The account that a caller's calls are charged to.
    ///
    /// A token leads to its grant. Without one it is the first grant that fits
    /// the kernel's facts and asks for no token, or the one of those that the
    /// caller names; where none fits, the user's own account.
    ///
    /// # Errors
    /// The token or the grant is not the caller's.
    pub fn choose(&self, who: &Credentials<'_>, claim: &Claim<'_>) -> Result<String, GrantError> {
        if let Some(token) = claim.token {
            let grant = self.of_token(who, token)?;
            return match claim.grant {
                Some(claimed) if claimed != grant => Err(not_yours(claimed, grant)),
                _ => Ok(grant.to_owned()),
            };
        }
        let own = self.by_credentials(who);
        match claim.grant {
            Some(claimed) if claimed == own || self.fitting(who).any(|name| name == claimed) => {
                Ok(claimed.to_owned())
            }
            Some(claimed) => Err(not_yours(claimed, &own)),
            None => Ok(own),
        }
    }

    /// The account of a caller that claims nothing.
    pub fn by_credentials(&self, who: &Credentials<'_>) -> String {
        match self.fitting(who).next() {
            Some(first) => first.to_owned(),
            None => of_uid(who.uid),
        }
    }

    fn fitting(&self, who: &Credentials<'_>) -> impl Iterator<Item = &str> {
        self.list
            .iter()
            .filter(|grant| grant.token.is_none() && grant.fits(who))
            .map(|grant| grant.name.as_str())
    }

    fn of_token(&self, who: &Credentials<'_>, token: &str) -> Result<&str, GrantError> {
        let hash = TokenHash::of(token);
        self.list
            .iter()
            .find(|grant| grant.token.is_some_and(|known| known.is(&hash)))
            .filter(|grant| grant.fits(who))
            .map(|grant| grant.name.as_str())
            .ok_or(GrantError::TokenRefused)
    }
}

fn not_yours(claimed: &str, own: &str) -> GrantError {
    GrantError::NotYours {
        // It may be as long as a frame.
        claimed: claimed.chars().take(NAME_CHARS_MAX).collect(),
        own: own.to_owned(),
    }
}

#[cfg(test)]
mod tests;
