//! Reading the log's end while the daemon writes and rotates it.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// How often a followed log is looked at.
pub(super) const POLL: Duration = Duration::from_millis(200);
/// How much is read at once, from the end backwards.
const BLOCK_BYTES: u64 = 64 * 1024;

/// Reads complete lines from a log that grows.
#[derive(Debug)]
pub(super) struct Follower {
    path: PathBuf,
    file: File,
    /// Start of the first line that was not returned yet.
    position: u64,
}

impl Follower {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: File::open(path)?,
            position: 0,
        })
    }

    /// The last `count` complete lines; `next` goes on after them.
    pub(super) fn last(&mut self, count: usize) -> io::Result<Vec<String>> {
        let end = self.file.metadata()?.len();
        let mut start = end;
        let mut bytes = Vec::new();
        // One line feed more than lines: the one that ends the line before.
        let mut feeds = 0;
        while start > 0 && feeds <= count {
            let from = start.saturating_sub(BLOCK_BYTES);
            let mut block = Vec::new();
            self.file.seek(SeekFrom::Start(from))?;
            self.file
                .by_ref()
                .take(start - from)
                .read_to_end(&mut block)?;
            feeds += block.split(|byte| *byte == b'\n').count().saturating_sub(1);
            block.append(&mut bytes);
            bytes = block;
            start = from;
        }
        self.position = start;
        let mut lines = self.complete(&bytes);
        let surplus = lines.len().saturating_sub(count);
        Ok(lines.split_off(surplus))
    }

    /// Complete lines that came since. A log that was rotated is read to its
    /// end before the new one is opened.
    pub(super) fn next(&mut self) -> io::Result<Vec<String>> {
        let mut lines = self.rest()?;
        let now = match std::fs::metadata(&self.path) {
            Ok(now) => now,
            // In the middle of a rotation.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(lines),
            Err(error) => return Err(error),
        };
        let open = self.file.metadata()?;
        if (now.dev(), now.ino()) != (open.dev(), open.ino()) {
            lines.append(&mut self.rest()?);
            self.file = File::open(&self.path)?;
            self.position = 0;
            lines.append(&mut self.rest()?);
        } else if now.len() < self.position {
            self.position = 0;
            lines.append(&mut self.rest()?);
        }
        Ok(lines)
    }

    fn rest(&mut self) -> io::Result<Vec<String>> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(self.position))?;
        self.file.read_to_end(&mut bytes)?;
        Ok(self.complete(&bytes))
    }

    /// Cuts `bytes`, which start at `position`, into lines; what follows the
    /// last line feed is left for later.
    fn complete(&mut self, bytes: &[u8]) -> Vec<String> {
        let whole = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |last| last + 1);
        self.position += whole as u64;
        String::from_utf8_lossy(bytes.get(..whole).unwrap_or_default())
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_last_lines_are_found_across_blocks_and_a_half_line_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut file = File::create(&path).unwrap();
        let long = "x".repeat(50_000);
        for number in 0..5 {
            writeln!(file, "{number} {long}").unwrap();
        }
        write!(file, "half").unwrap();
        let mut follower = Follower::open(&path).unwrap();
        let numbers = |lines: &[String]| {
            lines
                .iter()
                .map(|line| line.split(' ').next().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(numbers(&follower.last(3).unwrap()), ["2", "3", "4"]);
        assert_eq!(follower.next().unwrap(), Vec::<String>::new());
        writeln!(file, " done").unwrap();
        assert_eq!(follower.next().unwrap(), ["half done"]);
        assert_eq!(Follower::open(&path).unwrap().last(100).unwrap().len(), 6);
        assert_eq!(Follower::open(&path).unwrap().last(0).unwrap().len(), 0);
    }

    #[test]
    fn a_rotated_log_is_read_to_its_end_and_then_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut old = File::create(&path).unwrap();
        let mut follower = Follower::open(&path).unwrap();
        follower.last(10).unwrap();
        std::fs::rename(&path, folder.path().join("log.1")).unwrap();
        writeln!(old, "last of the old").unwrap();
        assert_eq!(follower.next().unwrap(), ["last of the old"]);
        std::fs::write(&path, "first of the new\n").unwrap();
        assert_eq!(follower.next().unwrap(), ["first of the new"]);
    }
}
