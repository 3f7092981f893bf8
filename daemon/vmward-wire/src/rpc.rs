//! The JSON-RPC 2.0 envelope and the error codes.
//!
//! Stricter than the specification where looseness only helps an attacker:
//! batches, notifications, positional parameters, fractional ids and unknown
//! members are refused, each with an error that says so.

use serde::{Deserialize, Serialize, Serializer, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::frame::{self, FrameError};

/// What went wrong, as the number in `"code"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum ErrorCode {
    /// The line is no JSON, or JSON that two readers could read differently.
    Parse = -32700,
    /// JSON, but no request.
    InvalidRequest = -32600,
    /// No such method.
    UnknownMethod = -32601,
    /// The method does not take these parameters.
    InvalidParams = -32602,
    /// A fault in the daemon.
    Internal = -32603,
    /// The daemon cannot decide now: starting, stopping, or its disk is full.
    Unavailable = -32001,
    /// Too many connections or requests; ask again later.
    TooBusy = -32002,
    /// The line is longer than `frame::FRAME_BYTES_MAX`.
    FrameTooLarge = -32003,
    /// No protocol version in common.
    Version = -32004,
    /// No such decision or lease.
    NotFound = -32005,
    /// The decision, lease, request or grant belongs to somebody else.
    NotYours = -32006,
    /// The method is for the admin socket.
    AdminOnly = -32007,
    /// The request for approval was decided, used or lapsed before.
    Settled = -32008,
}

impl ErrorCode {
    /// The number on the wire.
    pub fn number(self) -> i32 {
        self as i32
    }
}

/// The `"error"` member of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorObject {
    /// See [`ErrorCode`]; a number, because a newer daemon may know more.
    pub code: i32,
    /// What is wrong, for the caller.
    pub message: String,
    /// More, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<Value>>,
}

impl ErrorObject {
    /// An error without `data`.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code: code.number(),
            message: message.into(),
            data: None,
        }
    }

    /// True when the number is `code`'s.
    pub fn is(&self, code: ErrorCode) -> bool {
        self.code == code.number()
    }
}

/// Ties an answer to its request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Id {
    /// A whole number.
    Number(i64),
    /// Any text.
    String(String),
}

/// A request, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Returned with the answer.
    pub id: Id,
    /// See `v1::method`.
    pub method: String,
    /// Named parameters; empty where the request had none.
    pub params: Map<String, Value>,
}

/// A request that is none: what to answer, and to which id where it had one.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The id, where one could be read.
    pub id: Option<Id>,
    /// What to answer.
    pub error: ErrorObject,
}

impl Refusal {
    /// The answer to send.
    pub fn into_response(self) -> Response {
        Response {
            id: self.id,
            outcome: Err(self.error),
        }
    }
}

impl Request {
    /// Reads one line. Never panics, whatever the bytes are.
    pub fn parse(line: &[u8]) -> Result<Self, Refusal> {
        let value = frame::parse(line).map_err(|error| Refusal {
            id: None,
            error: ErrorObject::new(ErrorCode::Parse, error.to_string()),
        })?;
        Self::from_value(value)
    }

    /// Checks the shape of a value that is JSON already.
    pub fn from_value(value: Value) -> Result<Self, Refusal> {
        let mut members = match value {
            Value::Object(members) => members,
            Value::Array(_) => {
                return Err(refuse(
                    None,
                    "Batches are not supported: send one request a line",
                ));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                return Err(refuse(None, "A request is a JSON object"));
            }
        };
        let id = match members.remove("id") {
            Some(id) => parse_id(id).map_err(|message| refuse(None, message))?,
            None => {
                return Err(refuse(
                    None,
                    "Notifications are not supported: give the request an id",
                ));
            }
        };
        if members.remove("jsonrpc").as_ref().and_then(Value::as_str) != Some("2.0") {
            return Err(refuse(Some(id), "`jsonrpc` must be \"2.0\""));
        }
        let Some(Value::String(method)) = members.remove("method") else {
            return Err(refuse(Some(id), "`method` must be a string"));
        };
        let params = match members.remove("params") {
            None => Map::new(),
            Some(Value::Object(params)) => params,
            Some(_) => return Err(refuse(Some(id), "`params` must be an object")),
        };
        match members.keys().next() {
            None => Ok(Self { id, method, params }),
            Some(key) => {
                let message = format!("Unknown member {}", Value::from(key.as_str()));
                Err(refuse(Some(id), message))
            }
        }
    }

    /// Takes the parameters as those of a method; they are gone from the request
    /// then, so that nothing of them is copied.
    pub fn params<P: DeserializeOwned>(&mut self) -> Result<P, ErrorObject> {
        let params = Value::Object(std::mem::take(&mut self.params));
        P::deserialize(params).map_err(|error| {
            let message = format!("Parameters of `{}`: {error}", self.method);
            ErrorObject::new(ErrorCode::InvalidParams, message)
        })
    }
}

impl Serialize for Request {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Wire<'a> {
            jsonrpc: &'static str,
            id: &'a Id,
            method: &'a str,
            params: &'a Map<String, Value>,
        }
        Wire {
            jsonrpc: "2.0",
            id: &self.id,
            method: &self.method,
            params: &self.params,
        }
        .serialize(serializer)
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// The request's id; absent only where the request had none that could be
    /// read.
    pub id: Option<Id>,
    /// The result, or why there is none.
    pub outcome: Result<Value, ErrorObject>,
}

impl Response {
    /// An answer with a result. A result that serde cannot write is a fault of
    /// the daemon and is answered as one.
    pub fn ok<R: Serialize>(id: Id, result: &R) -> Self {
        let outcome = serde_json::to_value(result)
            .map_err(|error| ErrorObject::new(ErrorCode::Internal, error.to_string()));
        Self {
            id: Some(id),
            outcome,
        }
    }

    /// The whole line of an answer with a result, as [`Response::ok`] and
    /// `frame::encode` would make it, without a value tree in between.
    pub fn ok_line<R: Serialize>(id: &Id, result: &R) -> Result<Vec<u8>, FrameError> {
        #[derive(Serialize)]
        struct Wire<'a, R> {
            jsonrpc: &'static str,
            id: &'a Id,
            result: &'a R,
        }
        frame::encode(&Wire {
            jsonrpc: "2.0",
            id,
            result,
        })
    }

    /// An answer with an error.
    pub fn error(id: Option<Id>, error: ErrorObject) -> Self {
        Self {
            id,
            outcome: Err(error),
        }
    }

    /// Reads one line; the error says what is wrong with it.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Wire {
            jsonrpc: String,
            id: Option<Id>,
            #[serde(default, deserialize_with = "present")]
            result: Option<Value>,
            error: Option<ErrorObject>,
        }
        // Without this, `"result": null` would read as no result at all.
        fn present<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Value>, D::Error> {
            Value::deserialize(d).map(Some)
        }

        let value = frame::parse(line).map_err(|error| error.to_string())?;
        let wire: Wire = serde_json::from_value(value).map_err(|error| error.to_string())?;
        if wire.jsonrpc != "2.0" {
            return Err("`jsonrpc` must be \"2.0\"".to_owned());
        }
        match (wire.result, wire.error) {
            (Some(result), None) => Ok(Self {
                id: wire.id,
                outcome: Ok(result),
            }),
            (None, Some(error)) => Ok(Self {
                id: wire.id,
                outcome: Err(error),
            }),
            _ => Err("an answer has either `result` or `error`".to_owned()),
        }
    }
}

impl Serialize for Response {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Wire<'a> {
            jsonrpc: &'static str,
            id: &'a Option<Id>,
            #[serde(skip_serializing_if = "Option::is_none")]
            result: Option<&'a Value>,
            #[serde(skip_serializing_if = "Option::is_none")]
            error: Option<&'a ErrorObject>,
        }
        let (result, error) = match &self.outcome {
            Ok(result) => (Some(result), None),
            Err(error) => (None, Some(error)),
        };
        Wire {
            jsonrpc: "2.0",
            id: &self.id,
            result,
            error,
        }
        .serialize(serializer)
    }
}

/// A string or a whole number; anything else cannot tie an answer to a request
/// without doubt.
pub fn parse_id(value: Value) -> Result<Id, &'static str> {
    serde_json::from_value(value)
        .map_err(|_error| "`id` must be a string or a whole number of 64 bits with sign")
}

fn refuse(id: Option<Id>, message: impl Into<String>) -> Refusal {
    Refusal {
        id,
        error: ErrorObject::new(ErrorCode::InvalidRequest, message),
    }
}

#[cfg(test)]
mod tests;
