//! What must hold for any bytes at all.
//!
//! Each function takes bytes and panics when a promise is broken. `cargo xtask
//! fuzz` feeds them millions of inputs; the ordinary tests feed them the corpus.

mod predicate;

pub use predicate::predicate;

use vmward_core::{
    clock::Now,
    engine::Engine,
    journal::{Replay, encode_line},
    policy::Policy,
};
use vmward_wire::{
    frame::FrameDecoder,
    rpc::Request,
    v1::{AuthorizeParams, method::AUTHORIZE, read_call},
};

/// Longest line that [`frame`] lets through, short enough to be reached.
const FRAME_BYTES_MAX: usize = 256;

/// Bytes from a client: cut anywhere they give the same lines, a request that is
/// understood reads the same after it was written again, and a call that is read at
/// once reads the same in two steps.
///
/// # Panics
/// The promise is broken.
pub fn frame(data: &[u8]) {
    let Some((cut, stream)) = data.split_first() else {
        return;
    };
    let whole = lines(stream, stream.len());
    let pieces = lines(stream, usize::from(*cut).max(1));
    assert_eq!(whole, pieces, "where the bytes are cut must not matter");
    for line in &whole {
        if let Some((id, params)) = read_call(line) {
            let mut request = Request::parse(line).expect("what was read at once can be read");
            assert_eq!((&request.id, request.method.as_str()), (&id, AUTHORIZE));
            let again: AuthorizeParams = request.params().expect("and so can its parameters");
            assert_eq!(format!("{params:?}"), format!("{again:?}"));
        }
        let Ok(request) = Request::parse(line) else {
            continue;
        };
        let written = serde_json::to_vec(&request).expect("a request can be written");
        let again = Request::parse(&written).expect("what was written can be read");
        assert_eq!(request, again);
    }
}

fn lines(stream: &[u8], piece: usize) -> Vec<Vec<u8>> {
    let mut decoder = FrameDecoder::new(FRAME_BYTES_MAX);
    let mut lines = Vec::new();
    for bytes in stream.chunks(piece.max(1)) {
        let pushed = decoder.push(bytes);
        while let Some(line) = decoder.next_line() {
            assert!(line.len() <= FRAME_BYTES_MAX, "a line is bounded");
            lines.push(line);
        }
        if pushed.is_err() {
            break;
        }
    }
    lines
}

/// Text from an administrator: understood twice in the same way, or refused with
/// mistakes that all lie within the text.
///
/// # Panics
/// The promise is broken.
pub fn policy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match Policy::parse(text, "policy.json") {
        Ok(policy) => {
            let again = Policy::parse(text, "policy.json").expect("the same text");
            assert_eq!(policy, again);
        }
        Err(errors) => {
            assert!(!errors.errors().is_empty(), "a refusal says why");
            for error in errors.errors() {
                assert!(error.offset <= text.len());
                assert!(text.is_char_boundary(error.offset));
                assert!(error.line > 0 && error.column > 0);
                assert!(!error.message.is_empty());
            }
            assert!(!errors.to_string().is_empty());
        }
    }
}

/// Bytes from the disk: refused, or read into a state that a snapshot keeps
/// whole.
///
/// # Panics
/// The promise is broken.
pub fn journal(data: &[u8]) {
    let Ok(replay) = Replay::read(data) else {
        return;
    };
    let now = Now {
        boot_ns: 1_000_000_000_000,
        wall_ns: 1_795_000_000_000_000_000,
    };
    let state = replay.finish("this-boot", now);
    let kept = data.get(..state.bytes).expect("lines of the journal");
    let kept = Replay::read(kept).expect("what is kept is whole");
    assert!(kept.torn().is_none());
    assert_eq!(kept.finish("this-boot", now).lines, state.lines);
    let seed = r#"{"version":"1","default":"deny","tools":{}}"#;
    let policy = Policy::parse(seed, "policy.json").expect("the seed is good");
    let engine = Engine::restore(policy.clone(), &state);
    let snapshot = |engine: &Engine| -> Vec<u8> {
        let lines = engine.snapshot(now).into_iter();
        lines
            .flat_map(|entry| encode_line(&entry).expect("an entry can be written"))
            .collect()
    };
    let first = snapshot(&engine);
    let replay = Replay::read(&first).expect("a snapshot can be read");
    assert!(replay.torn().is_none());
    let again = Engine::restore(policy, &replay.finish("this-boot", now));
    assert_eq!(
        String::from_utf8_lossy(&first),
        String::from_utf8_lossy(&snapshot(&again)),
        "a snapshot of a snapshot is the same"
    );
}
