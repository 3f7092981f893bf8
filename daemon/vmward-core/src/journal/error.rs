//! Why a journal cannot be gone on with, and what a person can do.

use thiserror::Error;

use super::LineError;

/// Why the journal cannot be read.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// A line before the last one is damaged.
    #[error("journal line {line} (at byte {offset}) is damaged; {}", REMEDY)]
    Damaged {
        /// From 1.
        line: usize,
        /// Where the line begins, from 0.
        offset: usize,
        /// What is wrong with it.
        #[source]
        source: LineError,
    },
    /// An entry comes before any boot entry, so its time means nothing.
    #[error(
        "journal line {line} (at byte {offset}) comes before any \"boot\" line, so the beginning \
         of the file is missing; {}",
        REMEDY
    )]
    NoBoot {
        /// From 1.
        line: usize,
        /// Where the line begins, from 0.
        offset: usize,
    },
    /// A line has another number than its place.
    #[error(
        "journal line {line} (at byte {offset}) has the number {number}, so lines before it are \
         missing or were added; {}",
        REMEDY
    )]
    Number {
        /// From 1.
        line: usize,
        /// Where the line begins, from 0.
        offset: usize,
        /// What it says itself.
        number: u64,
    },
}

/// What a person can do about a journal that cannot be gone on with.
pub const REMEDY: &str = "stop vmwardd and run `vmwardd --repair-journal` (with the daemon's \
                          `--config`, where it has one), which goes on with every line that is \
                          whole and charges again what the audit log has; `--dry-run` beside it \
                          only tells. Or restore the file as it was. `vmwardd --new-journal` puts \
                          it aside and starts with empty counters";
