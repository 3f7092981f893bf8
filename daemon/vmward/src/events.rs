//! `vmward events`: audit records as the daemon writes them.

use std::process::ExitCode;

use vmward_wire::v1::events::Event;

use crate::{
    audit,
    cli::Socket,
    exit::Exit,
    text::{Reader, print},
};

/// Prints records until the daemon or the reader leaves.
pub(crate) fn watch(socket: &Socket, kinds: Vec<String>, json: bool) -> anyhow::Result<ExitCode> {
    let mut client = socket.open()?;
    client.subscribe(kinds)?;
    loop {
        let text = match client.next_event()? {
            Event::Record(record) if json => format!("{record}\n"),
            Event::Record(record) => format!("{}\n", audit::line(&record.to_string())),
            Event::Missed(count) => {
                eprintln!(
                    "vmward: {count} records were missed, because this reader is slow; `vmward \
                     audit tail` has them"
                );
                continue;
            }
        };
        if print(&text)? == Reader::Gone {
            return Ok(Exit::Done.into());
        }
    }
}
