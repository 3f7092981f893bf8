//! What a log that is there already says of its end and of what it holds.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};

use serde::Deserialize;
use serde::de::IgnoredAny;
use vmward_core::audit::{ApprovalEvent, Verdict};
use vmward_core::ids::DecisionId;

use super::{Journalled, Resumed, Said, Written};

#[derive(Deserialize)]
struct Peek {
    kind: String,
    boot_id: String,
    #[serde(default)]
    boot_ns: i64,
    #[serde(default)]
    time: String,
    #[serde(default)]
    decision: Option<Decided>,
    #[serde(default)]
    journalled: bool,
    /// Of a decision, what the lease is: a former version did not say more.
    #[serde(default)]
    lease: Option<IgnoredAny>,
    #[serde(default)]
    decision_id: Option<DecisionId>,
    #[serde(default)]
    kernel_seq: Option<u64>,
    #[serde(default)]
    to: Option<u64>,
}

/// What `decision` says.
#[derive(Deserialize)]
#[serde(untagged)]
enum Decided {
    /// Of a decision.
    As(Verdict),
    /// Of a request for approval: the decision that used it.
    By(
        #[expect(
            dead_code,
            reason = "read so that such a record is one; nobody asks which it was"
        )]
        DecisionId,
    ),
}

impl Peek {
    fn written(&self) -> Written {
        Written {
            boot_id: self.boot_id.clone(),
            boot_ns: self.boot_ns,
            time: self.time.clone(),
        }
    }
}

/// Of a record about a request for approval. Other kinds have other things by
/// these names.
#[derive(Deserialize)]
struct ApprovalPeek {
    approval: DecisionId,
    event: ApprovalEvent,
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
            if peek.kind == "approval"
                && let Ok(ApprovalPeek { approval, event }) = serde_json::from_str(&text)
            {
                let written = peek.written();
                let said = Said { event, written };
                resumed.requests.note(approval, said, wanted);
            }
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
            note_journalled(peek, resumed);
        }
        "kernel" | "vm" | "loss" if peek.boot_id == boot_id => {
            let newest = peek.kernel_seq.or(peek.to);
            resumed.kernel_seq = resumed.kernel_seq.max(newest);
        }
        _ => {}
    }
}

fn note_journalled(peek: &Peek, resumed: &mut Resumed) {
    let is_allow = matches!(peek.decision, Some(Decided::As(Verdict::Allow)));
    let is_journalled = peek.journalled || peek.lease.is_some();
    let Some(id) = peek.decision_id.filter(|_| is_journalled && is_allow) else {
        return;
    };
    let known = resumed.journalled.as_ref().map(|newest| newest.id);
    if known < Some(id) {
        resumed.journalled = Some(Journalled {
            id,
            written: peek.written(),
        });
    }
}
