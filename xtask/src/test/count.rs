//! Counts tests from the closing lines of Rust's test programs.

use std::{fmt, ops::AddAssign};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) passed: u32,
    pub(super) failed: u32,
    pub(super) ignored: u32,
}

impl Count {
    /// A suite that could not run at all is one failure.
    pub(super) const BROKEN: Self = Self {
        passed: 0,
        failed: 1,
        ignored: 0,
    };

    pub(super) fn is_empty(self) -> bool {
        self.passed + self.failed == 0
    }

    /// Adds what a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; ...` says.
    pub(super) fn add_line(&mut self, line: &str) {
        let Some((_, result)) = line.split_once("test result: ") else {
            return;
        };
        let number = |word: &str| {
            let mut words = result
                .split([' ', ';', '.'])
                .filter(|part| !part.is_empty());
            let mut before = words.next()?;
            loop {
                let next = words.next()?;
                if next == word {
                    return before.parse::<u32>().ok();
                }
                before = next;
            }
        };
        self.passed += number("passed").unwrap_or(0);
        self.failed += number("failed").unwrap_or(0);
        self.ignored += number("ignored").unwrap_or(0);
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.ignored > 0 {
            write!(f, ", {} skipped", self.ignored)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Count;

    #[test]
    fn counts_are_read_from_the_closing_line_and_from_no_other() {
        let mut count = Count::default();
        count.add_line("test denied_when_10_passed ... ok");
        count
            .add_line("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; finished in 1s");
        count.add_line("test result: FAILED. 2 passed; 4 failed; 0 ignored; 0 measured");
        assert_eq!(
            count,
            Count {
                passed: 5,
                failed: 4,
                ignored: 1
            }
        );
        assert_eq!(count.to_string(), "5 passed, 4 failed, 1 skipped");
    }
}
