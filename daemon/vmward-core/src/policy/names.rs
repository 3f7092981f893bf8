//! Names of arguments, as lenient servers read them.

/// Does some server read both as the same name? Go's JSON ignores case as Unicode
/// folds it: the Kelvin sign is a `k`, the long s an `s`.
pub(super) fn are_alike(one: &str, other: &str) -> bool {
    if one.is_ascii() && other.is_ascii() {
        // Every call compares many names, and nearly all are of this kind.
        return one.eq_ignore_ascii_case(other);
    }
    one.chars().flat_map(fold).eq(other.chars().flat_map(fold))
}

fn fold(letter: char) -> impl Iterator<Item = char> {
    letter.to_uppercase().flat_map(char::to_lowercase)
}
