//! `vmward audit verify`: the chain, from the first record to the last, through
//! all files of the log.

use std::{ops::ControlFlow, path::Path, process::ExitCode};

use anyhow::anyhow;
use serde_json::json;
use vmward_core::audit::{chain::Verifier, head::KeptHead};

use super::{cannot_read, chain::Continuity, files};
use crate::{exit::Exit, text::print};

/// The head that the daemon keeps for its own log.
const HEAD: &str = "/var/lib/vmward/audit-head";

/// The head of the chain as the daemon keeps it.
#[derive(Default)]
enum Kept {
    /// The log is not the daemon's own, and nobody named one.
    #[default]
    None,
    /// Why it cannot be compared.
    Unread(String),
    /// It says this, and the log has it or not.
    Read(KeptHead, bool),
}

/// What reading the log came to.
#[derive(Default)]
struct Report {
    read: files::Read,
    /// Records found good.
    records: u64,
    /// The number of the first record that is here.
    first: u64,
    head: String,
    /// Where the chain broke: file, line, and why.
    broken: Option<(String, u64, String)>,
    /// Files were removed before the first one here, and the log says so.
    removed: bool,
    kept: Kept,
}

/// Checks the chain and says what came of it.
pub(crate) fn verify(log: &Path, head: Option<&Path>, json: bool) -> anyhow::Result<ExitCode> {
    let own = (log == Path::new(vmward_wire::AUDIT_LOG)).then_some(Path::new(HEAD));
    // Before the log, to which the daemon adds meanwhile.
    let kept = head.or(own).map_or(Kept::None, Kept::read);
    let report = read(log, kept)?;
    print(&if json {
        report.json(log)
    } else {
        report.text(log)
    })?;
    if report.broken.is_some() {
        return Ok(Exit::ChainBroken.into());
    }
    // Who names a head wants it compared.
    match (&report.kept, head) {
        (Kept::Unread(why), Some(_)) => Err(anyhow!("the kept head cannot be compared: {why}")),
        _ => Ok(Exit::Done.into()),
    }
}

impl Kept {
    fn read(path: &Path) -> Kept {
        let why = match std::fs::read_to_string(path) {
            Ok(text) => match KeptHead::read(&text) {
                Some(head) => return Kept::Read(head, false),
                None => "it is damaged".to_owned(),
            },
            Err(error) => error.to_string(),
        };
        Kept::Unread(format!("{}: {why}", path.display()))
    }

    fn note(&mut self, verifier: &Verifier) {
        if let (Kept::Read(head, found), Some(chain)) = (self, verifier.chain()) {
            *found |= *head == KeptHead::of(chain);
        }
    }

    /// What is wrong with a log whose chain is intact.
    fn fault(&self) -> Option<String> {
        match self {
            Kept::Read(head, false) => Some(format!(
                "record {} with the hash {} was written and is not here: the newest records, or \
                 all of them, were taken away (a power cut can take those of the last second)",
                head.seq, head.hash
            )),
            Kept::None | Kept::Unread(_) | Kept::Read(_, true) => None,
        }
    }
}

fn read(log: &Path, kept: Kept) -> anyhow::Result<Report> {
    let mut report = Report {
        kept,
        ..Report::default()
    };
    let mut chain = Continuity::default();
    report.read = files::each_line(log, cannot_read, |path, number, bytes| {
        if let Err(why) = chain.check(path, bytes) {
            report.broken = Some((path.display().to_string(), number, why));
            return Ok(ControlFlow::Break(()));
        }
        report.kept.note(chain.verifier());
        Ok(ControlFlow::Continue(()))
    })?;
    report.finish(&chain);
    if report.broken.is_some() {
        return Ok(report);
    }
    if let Some((file, why)) = chain.end() {
        report.broken = Some((file, 1, why));
    } else if let Some(why) = report.kept.fault() {
        report.broken = Some((log.display().to_string(), report.records, why));
    }
    Ok(report)
}

impl Report {
    fn finish(&mut self, chain: &Continuity) {
        let verifier = chain.verifier();
        self.first = chain.first();
        self.removed = chain.removed();
        self.records = verifier.checked();
        let head = verifier.chain().map(|chain| chain.head().to_owned());
        self.head = head.unwrap_or_default();
    }

    fn json(&self, log: &Path) -> String {
        let broken = self.broken.as_ref();
        let report = json!({
            "log": log.display().to_string(),
            "files": self.read.files,
            "intact": broken.is_none(),
            "records": self.records,
            "first_record": self.first,
            "head": self.head,
            "broken_file": broken.map(|(file, _, _)| file),
            "broken_line": broken.map(|(_, line, _)| line),
            "error": broken.map(|(_, _, why)| why),
            "incomplete_last_line": self.read.incomplete,
            "compared_with_kept_head": matches!(self.kept, Kept::Read(..)),
        });
        format!("{report}\n")
    }

    fn text(&self, log: &Path) -> String {
        if let Some((file, line, why)) = &self.broken {
            return format!(
                "{file}:{line}: CHAIN BROKEN: {why}; {} records are intact\n",
                self.records
            );
        }
        let files = match self.read.files {
            1 => String::new(),
            files => format!(" in {files} files"),
        };
        let removed = if self.removed {
            format!(
                "; begins at record {}, since older files were removed by age, on record",
                self.first
            )
        } else {
            String::new()
        };
        let tail = if self.read.incomplete {
            "; the last line is incomplete (being written, or cut off) and not counted"
        } else {
            ""
        };
        let kept = match &self.kept {
            Kept::None => String::new(),
            Kept::Unread(why) => format!(
                "; NOT compared with the head that the daemon keeps, so newest records may be \
                 missing ({why}; only root can read the daemon's own)"
            ),
            Kept::Read(..) => {
                "; it is the one that the daemon keeps, or goes on from it".to_owned()
            }
        };
        format!(
            "{}: {} records{files}, chain intact, head {}{removed}{tail}{kept}\n",
            log.display(),
            self.records,
            self.head
        )
    }
}
