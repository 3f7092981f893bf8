//! What a log that is there already says of its end and of what it holds.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};

use serde::Deserialize;
use vmward_core::ids::DecisionId;

use super::Resumed;

#[derive(Deserialize)]
struct Peek {
    kind: String,
    boot_id: String,
    #[serde(default)]
    decision_id: Option<DecisionId>,
    #[serde(default)]
    kernel_seq: Option<u64>,
    #[serde(default)]
    to: Option<u64>,
}

/// The end of a log.
pub(super) struct Scan {
    /// Bytes of whole lines.
    pub(super) whole: u64,
    /// Bytes after the last line feed.
    pub(super) torn: u64,
    pub(super) last_line: Option<String>,
}

pub(super) fn scan(
    file: &mut File,
    boot_id: &str,
    wanted: &HashSet<DecisionId>,
    resumed: &mut Resumed,
) -> io::Result<Scan> {
    file.seek(SeekFrom::Start(0))?;
    let mut reader = BufReader::new(file);
    let mut found = Scan {
        whole: 0,
        torn: 0,
        last_line: None,
    };
    let mut line = Vec::new();
    loop {
        line.clear();
        let bytes = reader.read_until(b'\n', &mut line)? as u64;
        if line.pop_if(|last| *last == b'\n').is_none() {
            found.torn = bytes;
            return Ok(found);
        }
        found.whole = found.whole.saturating_add(bytes);
        let text = String::from_utf8_lossy(&line).into_owned();
        if let Ok(peek) = serde_json::from_str::<Peek>(&text) {
            note(&peek, boot_id, wanted, resumed);
        }
        found.last_line = Some(text);
    }
}

fn note(peek: &Peek, boot_id: &str, wanted: &HashSet<DecisionId>, resumed: &mut Resumed) {
    match peek.kind.as_str() {
        "decision" => {
            resumed.newest = resumed.newest.max(peek.decision_id);
            resumed
                .decisions
                .extend(peek.decision_id.filter(|id| wanted.contains(id)));
        }
        "kernel" | "vm" | "loss" if peek.boot_id == boot_id => {
            let newest = peek.kernel_seq.or(peek.to);
            resumed.kernel_seq = resumed.kernel_seq.max(newest);
        }
        _ => {}
    }
}
