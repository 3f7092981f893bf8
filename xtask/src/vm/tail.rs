//! Passes the command's output on while the VM still writes it.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

pub(super) struct Output {
    streams: [Stream; 2],
}

struct Stream {
    path: PathBuf,
    passed: u64,
}

impl Output {
    pub(super) fn new(run: &Path) -> Self {
        let stream = |name| Stream {
            path: run.join(name),
            passed: 0,
        };
        Self {
            streams: [stream("stdout"), stream("stderr")],
        }
    }

    /// Passes on what has been written since the last call.
    pub(super) fn pump(&mut self) -> Result<()> {
        let [out, err] = &mut self.streams;
        out.pump(&mut std::io::stdout())?;
        err.pump(&mut std::io::stderr())
    }
}

impl Stream {
    fn pump(&mut self, to: &mut dyn Write) -> Result<()> {
        // Absent until the command starts.
        let Ok(mut file) = File::open(&self.path) else {
            return Ok(());
        };
        file.seek(SeekFrom::Start(self.passed))?;
        let mut new = Vec::new();
        file.read_to_end(&mut new)
            .with_context(|| format!("Failed to read {}", self.path.display()))?;
        if new.is_empty() {
            return Ok(());
        }
        to.write_all(&new)
            .and_then(|()| to.flush())
            .context("Failed to pass the output on")?;
        self.passed += new.len() as u64;
        Ok(())
    }
}
