//! Names: of arguments, as lenient servers read them; of systemd units; and of
//! tools.

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

/// What a systemd unit's name can end in.
const UNIT_TYPES: [&str; 11] = [
    "service",
    "scope",
    "slice",
    "socket",
    "mount",
    "swap",
    "target",
    "timer",
    "path",
    "device",
    "automount",
];

/// Is it the full name of one systemd unit? What is wrong otherwise, and what to do.
pub(crate) fn check_unit(unit: &str) -> Result<(), (String, String)> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    if is_pattern(unit) {
        let message =
            format!("{unit:?} is one unit's name here, and no unit's name has \"*\" or \"?\"");
        return Err((message, "name each unit".to_owned()));
    }
    let message = || format!("{unit:?} is not the full name of a systemd unit");
    if !unit.chars().all(is_fine) {
        let help = "letters, digits and \":-_.\\@\" make a unit's name".to_owned();
        return Err((message(), help));
    }
    let end = unit.rsplit_once('.').map(|(_, end)| end);
    if end.is_some_and(|end| UNIT_TYPES.contains(&end)) {
        return Ok(());
    }
    Err((message(), format!("did you mean \"{unit}.service\"?")))
}

/// Does it look as if it stood for several names?
pub(crate) fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?'])
}
