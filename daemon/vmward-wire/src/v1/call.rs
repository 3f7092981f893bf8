//! A call of `authorize`, read from its line at once.
//!
//! [`Request::parse`] makes a tree of values from any line, looks at its shape, and
//! then reads a method's parameters from the tree. Nearly every line is a call of
//! `authorize` as it should be, and its caller waits: here it is read without the
//! tree. Where anything about a line is unusual, nothing is said here, and
//! `Request::parse` says what it is. What is read here reads the same there.
//!
//! [`Request::parse`]: crate::rpc::Request::parse

use std::fmt;

use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor},
};
use serde_json::{Map, Value};

use super::{AuthorizeParams, method};
use crate::{frame::Strict, rpc::Id};

/// How deep the arguments lie: in the parameters, in the request.
const ARGUMENTS_DEPTH: usize = 2;

/// Reads one line, without its line feed. `None` says nothing about it.
pub fn read_call(line: &[u8]) -> Option<(Id, AuthorizeParams)> {
    let text = std::str::from_utf8(line).ok()?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let call = deserializer.deserialize_map(Envelope).ok()?;
    deserializer.end().ok()?;
    Some(call)
}

struct Envelope;

#[derive(Clone, Copy, Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Member {
    Jsonrpc,
    Id,
    Method,
    Params,
}

impl<'de> Visitor<'de> for Envelope {
    type Value = (Id, AuthorizeParams);

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a call of authorize")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut seen = Seen::default();
        let (mut id, mut params) = (None, None);
        while let Some(member) = members.next_key::<Member>()? {
            seen.first_time(member as u8)?;
            match member {
                Member::Jsonrpc => members.next_value_seed(Word("2.0"))?,
                Member::Method => members.next_value_seed(Word(method::AUTHORIZE))?,
                Member::Id => id = Some(members.next_value_seed(PlainId)?),
                Member::Params => params = Some(members.next_value_seed(Params)?),
            }
        }
        let both = seen.has(Member::Jsonrpc as u8) && seen.has(Member::Method as u8);
        match (id, params) {
            (Some(id), Some(params)) if both => Ok((id, params)),
            _ => Err(unusual()),
        }
    }
}

/// The parameters, as an object.
struct Params;

#[derive(Clone, Copy, Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Field {
    Tool,
    Server,
    Arguments,
    Vm,
    Effect,
    Reason,
    Agent,
    Holder,
}

impl<'de> DeserializeSeed<'de> for Params {
    type Value = AuthorizeParams;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Params {
    type Value = AuthorizeParams;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the parameters of authorize")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut seen = Seen::default();
        let mut params = AuthorizeParams::default();
        while let Some(field) = members.next_key::<Field>()? {
            seen.first_time(field as u8)?;
            match field {
                Field::Tool => params.tool = members.next_value()?,
                Field::Server => params.server = members.next_value()?,
                Field::Arguments => params.arguments = members.next_value_seed(Arguments)?,
                Field::Vm => params.vm = members.next_value()?,
                Field::Effect => params.effect = members.next_value()?,
                Field::Reason => params.reason = members.next_value()?,
                Field::Agent => params.agent = members.next_value()?,
                Field::Holder => params.holder = members.next_value()?,
            }
        }
        Ok(params)
    }
}

/// The arguments, as strictly as any line is read.
struct Arguments;

impl<'de> DeserializeSeed<'de> for Arguments {
    type Value = Map<String, Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match Strict::below(ARGUMENTS_DEPTH).deserialize(deserializer)? {
            Value::Object(arguments) => Ok(arguments),
            _ => Err(unusual()),
        }
    }
}

/// This very word, written without an escape.
struct Word(&'static str);

impl<'de> DeserializeSeed<'de> for Word {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if <&str>::deserialize(deserializer)? == self.0 {
            Ok(())
        } else {
            Err(unusual())
        }
    }
}

/// A string or a whole number.
struct PlainId;

impl<'de> DeserializeSeed<'de> for PlainId {
    type Value = Id;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Id, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for PlainId {
    type Value = Id;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an id")
    }

    fn visit_i64<E>(self, number: i64) -> Result<Id, E> {
        Ok(Id::Number(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Id, E> {
        i64::try_from(number).map_or_else(|_large| Err(unusual()), |number| Ok(Id::Number(number)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Id, E> {
        Ok(Id::String(text.to_owned()))
    }
}

/// Which members were there, by their place in the list of them.
#[derive(Default)]
struct Seen(u32);

impl Seen {
    fn has(&self, member: u8) -> bool {
        self.0 & (1 << member) != 0
    }

    fn first_time<E: Error>(&mut self, member: u8) -> Result<(), E> {
        if self.has(member) {
            return Err(unusual());
        }
        self.0 |= 1 << member;
        Ok(())
    }
}

/// Nobody reads it.
fn unusual<E: Error>() -> E {
    E::custom("unusual")
}

#[cfg(test)]
mod tests;
