//! How much work a pattern is. The engine is linear in the text, but each byte of
//! it may cost as many steps as the pattern is large: `[ab]*a[ab]{300}` has 300
//! places to be in at once, and a policy has hundreds of patterns.

use std::cell::Cell;

use regex_syntax::hir::{Hir, HirKind};

/// Most steps that the patterns of the conditions on one call may take together:
/// a step is one place of a pattern that is looked at for one byte of text. A
/// processor takes some ten nanoseconds for one, at worst.
pub const PATTERN_STEPS_MAX: u64 = 3_000_000;

/// What is left of the work that one call may make.
#[derive(Debug)]
pub struct Work {
    left: Cell<u64>,
}

impl Default for Work {
    fn default() -> Self {
        Self {
            left: Cell::new(PATTERN_STEPS_MAX),
        }
    }
}

impl Work {
    /// Takes the steps for matching a text of `bytes` with a pattern of that
    /// [`size`]; false, and nothing taken, where fewer are left.
    pub(super) fn take(&self, size: u64, bytes: usize) -> bool {
        let Some(left) = self.left.get().checked_sub(steps(size, bytes)) else {
            return false;
        };
        self.left.set(left);
        true
    }
}

/// Steps for one text, at most.
pub(super) fn steps(size: u64, bytes: usize) -> u64 {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    size.saturating_mul(bytes.saturating_add(1))
}

/// How many places a pattern has, at most: a character or a class counts once for
/// each of its repetitions.
pub(super) fn size(pattern: &str) -> u64 {
    match regex_syntax::parse(pattern) {
        Ok(parsed) => of(&parsed),
        // A schema's patterns are of another dialect, and only nearly the same.
        Err(_) => at_most(pattern),
    }
}

fn of(parsed: &Hir) -> u64 {
    let all = |parts: &[Hir]| parts.iter().map(of).fold(1, u64::saturating_add);
    match parsed.kind() {
        HirKind::Empty | HirKind::Look(_) | HirKind::Class(_) => 1,
        HirKind::Literal(literal) => u64::try_from(literal.0.len()).unwrap_or(u64::MAX),
        HirKind::Repetition(repetition) => {
            let copies = repetition.max.unwrap_or(repetition.min.saturating_add(1));
            // Each copy that may be left out is a choice as well.
            let copy = of(&repetition.sub).saturating_add(1);
            copy.saturating_mul(u64::from(copies)).saturating_add(1)
        }
        HirKind::Capture(capture) => of(&capture.sub).saturating_add(2),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => all(parts),
    }
}

/// As if every repetition were around the whole of it.
fn at_most(pattern: &str) -> u64 {
    let length = u64::try_from(pattern.len()).unwrap_or(u64::MAX);
    let inside = pattern.split('{').skip(1);
    let inside = inside.filter_map(|after| after.split_once('}'));
    let largest = |(inside, _): (&str, &str)| {
        let numbers = inside.split(',').map(|number| number.trim().parse().ok());
        numbers.flatten().max().unwrap_or(0_u64)
    };
    let copies = inside.map(|part| largest(part).saturating_add(1));
    // Two for each byte: itself and a choice.
    let twice = length.saturating_mul(2).saturating_add(1);
    copies.fold(twice, u64::saturating_mul)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_as_large_as_its_repetitions_make_it() {
        for (pattern, expected) in [
            ("", 1),
            ("abc", 3),
            (r"\w", 1),
            ("a*", 3),
            ("a{3}", 7),
            ("[ab]{300}", 601),
            ("([ab]{10}c){100}", 2601),
            ("(?:dev|web)-[0-9]{1,4}", 18),
        ] {
            assert_eq!(size(pattern), expected, "{pattern}");
        }
        assert_eq!(size("((x{1000}){1000}){1000}").checked_ilog10(), Some(9));
    }

    #[test]
    fn of_what_another_dialect_takes_the_size_is_never_too_small() {
        for (pattern, same) in [
            ("[[]{300}", r"[\[]{300}"),
            ("([[]{10}c){1,100}", r"([\[]{10}c){1,100}"),
            ("[[]{2,}x*", r"[\[]{2,}x*"),
        ] {
            assert!(regex_syntax::parse(pattern).is_err(), "{pattern}");
            assert!(size(pattern) >= size(same), "{pattern}");
        }
    }

    #[test]
    fn work_ends_and_what_does_not_fit_takes_nothing() {
        let work = Work::default();
        assert!(!work.take(PATTERN_STEPS_MAX, 1));
        assert!(work.take(PATTERN_STEPS_MAX / 4, 2));
        assert!(!work.take(PATTERN_STEPS_MAX / 4, 1));
        assert!(work.take(1, 1));
        assert!(!work.take(u64::MAX, usize::MAX));
    }
}
