//! The common shapes of values.

use std::fmt::{self, Display};

use serde::ser::{self, Impossible, Serialize, Serializer};

use crate::text::{write_i64, write_name, write_str, write_u64};

/// A value that is left to `serde_json`: it says what is wrong with it, if
/// anything is.
#[derive(Debug)]
pub(crate) struct Rare;

impl Display for Rare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("left to serde_json")
    }
}

impl std::error::Error for Rare {}

impl ser::Error for Rare {
    fn custom<T: Display>(_message: T) -> Self {
        Rare
    }
}

/// Writes one value.
pub(crate) struct Writer<'a> {
    pub(crate) out: &'a mut Vec<u8>,
}

/// Writes the members of an object or an array.
pub(crate) struct Members<'a> {
    out: &'a mut Vec<u8>,
    /// What stands before the next: a bracket at first, then commas.
    next: u8,
    end: u8,
}

impl Members<'_> {
    fn separate(&mut self) {
        self.out.push(self.next);
        self.next = b',';
    }

    fn member(&mut self, name: &str, value: &(impl Serialize + ?Sized)) -> Result<(), Rare> {
        write_name(self.out, self.next, name);
        self.next = b',';
        self.value(value)
    }

    fn item(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), Rare> {
        self.separate();
        self.value(value)
    }

    fn value(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), Rare> {
        value.serialize(Writer { out: self.out })
    }

    fn close(self) {
        if self.next != b',' {
            self.out.push(self.next);
        }
        self.out.push(self.end);
    }
}

impl<'a> Writer<'a> {
    fn object(self) -> Members<'a> {
        Members {
            out: self.out,
            next: b'{',
            end: b'}',
        }
    }

    fn array(self) -> Members<'a> {
        Members {
            out: self.out,
            next: b'[',
            end: b']',
        }
    }

    fn word(self, word: &str) {
        self.out.extend_from_slice(word.as_bytes());
    }
}

macro_rules! numbers {
    ($($method:ident $type:ty => $write:ident $wide:ty,)*) => {
        $(fn $method(self, number: $type) -> Result<(), Rare> {
            $write(self.out, <$wide>::from(number));
            Ok(())
        })*
    };
}

macro_rules! rare {
    ($($method:ident $type:ty,)*) => {
        $(fn $method(self, _value: $type) -> Result<(), Rare> {
            Err(Rare)
        })*
    };
}

impl<'a> Serializer for Writer<'a> {
    type Ok = ();
    type Error = Rare;
    type SerializeSeq = Members<'a>;
    type SerializeTuple = Members<'a>;
    type SerializeTupleStruct = Members<'a>;
    type SerializeTupleVariant = Impossible<(), Rare>;
    type SerializeMap = Members<'a>;
    type SerializeStruct = Members<'a>;
    type SerializeStructVariant = Impossible<(), Rare>;

    numbers! {
        serialize_i8 i8 => write_i64 i64,
        serialize_i16 i16 => write_i64 i64,
        serialize_i32 i32 => write_i64 i64,
        serialize_i64 i64 => write_i64 i64,
        serialize_u8 u8 => write_u64 u64,
        serialize_u16 u16 => write_u64 u64,
        serialize_u32 u32 => write_u64 u64,
        serialize_u64 u64 => write_u64 u64,
    }

    rare! {
        serialize_i128 i128,
        serialize_u128 u128,
        serialize_f32 f32,
        serialize_char char,
        serialize_bytes &[u8],
    }

    fn serialize_bool(self, value: bool) -> Result<(), Rare> {
        self.word(if value { "true" } else { "false" });
        Ok(())
    }

    fn serialize_f64(self, value: f64) -> Result<(), Rare> {
        serde_json::to_writer(self.out, &value).map_err(|_error| Rare)
    }

    fn serialize_str(self, value: &str) -> Result<(), Rare> {
        write_str(self.out, value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Rare> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Rare> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Rare> {
        self.word("null");
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Rare> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), Rare> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), Rare> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Rare> {
        let mut object = self.object();
        object.member(variant, value)?;
        object.close();
        Ok(())
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Members<'a>, Rare> {
        Ok(self.array())
    }

    fn serialize_tuple(self, _len: usize) -> Result<Members<'a>, Rare> {
        Ok(self.array())
    }

    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<Members<'a>, Rare> {
        Ok(self.array())
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Impossible<(), Rare>, Rare> {
        Err(Rare)
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Members<'a>, Rare> {
        Ok(self.object())
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Members<'a>, Rare> {
        Ok(self.object())
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Impossible<(), Rare>, Rare> {
        Err(Rare)
    }
}

macro_rules! arrays {
    ($($trait:ident $method:ident,)*) => {
        $(impl ser::$trait for Members<'_> {
            type Ok = ();
            type Error = Rare;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Rare> {
                self.item(value)
            }

            fn end(self) -> Result<(), Rare> {
                self.close();
                Ok(())
            }
        })*
    };
}

arrays! {
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
}

impl ser::SerializeStruct for Members<'_> {
    type Ok = ();
    type Error = Rare;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Rare> {
        self.member(name, value)
    }

    fn end(self) -> Result<(), Rare> {
        self.close();
        Ok(())
    }
}

impl ser::SerializeMap for Members<'_> {
    type Ok = ();
    type Error = Rare;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Rare> {
        self.separate();
        let start = self.out.len();
        self.value(key)?;
        // What is no string may be no key, or one that is written as a string.
        if self.out.get(start) == Some(&b'"') {
            Ok(())
        } else {
            Err(Rare)
        }
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Rare> {
        self.out.push(b':');
        self.value(value)
    }

    fn end(self) -> Result<(), Rare> {
        self.close();
        Ok(())
    }
}
