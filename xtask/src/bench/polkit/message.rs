//! The three D-Bus messages that the comparison needs, as bytes.
//!
//! D-Bus aligns every value to its size, counted from the start of the message;
//! the header is padded to 8, so a body may be counted from its own start.

/// Type of a message that answers a call.
pub(super) const RETURN: u8 = 2;
/// Type of a message that says a call failed.
pub(super) const ERROR: u8 = 3;

/// What libvirt asks before `virsh shutdown`.
const ACTION: &str = "org.libvirt.api.domain.init-control";

/// The first call on every connection.
pub(super) fn hello() -> Vec<u8> {
    let bus = "org.freedesktop.DBus";
    call(
        &Header {
            path: "/org/freedesktop/DBus",
            interface: bus,
            member: "Hello",
            destination: bus,
            signature: "",
        },
        &[],
    )
}

/// May this process (number, start time) do it?
pub(super) fn check_authorization((pid, start): (u32, u64)) -> Vec<u8> {
    let mut body = Body::default();
    body.string("unix-process");
    body.array(|items| {
        items.align(8);
        items.string("pid");
        items.signature("u");
        items.u32(pid);
        items.align(8);
        items.string("start-time");
        items.signature("t");
        items.u64(start);
        items.align(8);
        items.string("uid");
        items.signature("i");
        items.u32(0);
    });
    body.string(ACTION);
    body.array(|items| {
        for (key, value) in [("connect_driver", "QEMU"), ("domain_name", "web-1")] {
            items.align(8);
            items.string(key);
            items.string(value);
        }
    });
    body.u32(0);
    body.string("");
    let header = Header {
        path: "/org/freedesktop/PolicyKit1/Authority",
        interface: "org.freedesktop.PolicyKit1.Authority",
        member: "CheckAuthorization",
        destination: "org.freedesktop.PolicyKit1",
        signature: "(sa{sv})sa{ss}us",
    };
    call(&header, &body.0)
}

/// The length of the message that begins here, once its header's fixed part is there.
pub(super) fn len(bytes: &[u8]) -> Option<usize> {
    let word = |at: usize| {
        let word = bytes.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(word)).ok()
    };
    let (body, fields) = (word(4)?, word(12)?);
    Some(16 + fields.next_multiple_of(8) + body)
}

struct Header {
    path: &'static str,
    interface: &'static str,
    member: &'static str,
    destination: &'static str,
    signature: &'static str,
}

fn call(header: &Header, content: &[u8]) -> Vec<u8> {
    let mut message = Body::default();
    // Little-endian, a call, no flags, protocol 1.
    message.0.extend_from_slice(b"l\x01\x00\x01");
    message.u32(u32::try_from(content.len()).unwrap_or(u32::MAX));
    // One question at a time, so one serial number does.
    message.u32(1);
    let fields = [
        (1, "o", header.path),
        (2, "s", header.interface),
        (3, "s", header.member),
        (6, "s", header.destination),
    ];
    message.array(|items| {
        for (code, kind, value) in fields {
            items.align(8);
            items.0.push(code);
            items.signature(kind);
            items.string(value);
        }
        if !header.signature.is_empty() {
            items.align(8);
            items.0.push(8);
            items.signature("g");
            items.signature(header.signature);
        }
    });
    message.align(8);
    message.0.extend_from_slice(content);
    message.0
}

#[derive(Default)]
struct Body(Vec<u8>);

impl Body {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn u32(&mut self, value: u32) {
        self.align(4);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.align(8);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn string(&mut self, value: &str) {
        self.u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, value: &str) {
        self.0.push(u8::try_from(value.len()).unwrap_or(u8::MAX));
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(0);
    }

    /// An array of structs: its length counts neither itself nor the padding
    /// before the first one.
    fn array(&mut self, items: impl FnOnce(&mut Self)) {
        self.u32(0);
        let at = self.0.len();
        self.align(8);
        let first = self.0.len();
        items(self);
        let len = u32::try_from(self.0.len() - first).unwrap_or(u32::MAX);
        if let Some(place) = self.0.get_mut(at - 4..at) {
            place.copy_from_slice(&len.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{check_authorization, hello, len};

    #[test]
    fn the_length_in_the_header_is_the_length_of_the_message() {
        for message in [hello(), check_authorization((7, 9))] {
            assert_eq!(len(&message), Some(message.len()));
            assert_eq!(len(&message[..15]), None);
        }
    }

    #[test]
    fn values_stand_where_the_specification_puts_them() {
        let hello = hello();
        // The path's field: code, its type's signature, then the string at 4.
        assert_eq!(&hello[16..20], b"\x01\x01o\0");
        assert_eq!(&hello[20..24], &21_u32.to_le_bytes());
        assert_eq!(&hello[24..45], b"/org/freedesktop/DBus");
        assert_eq!(hello.len() % 8, 0);
    }
}
