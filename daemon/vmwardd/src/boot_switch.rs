//! `vmward=off` and `vmward=observe` on the kernel command line: the way out
//! for someone who has only a boot prompt.

use crate::process::view;

/// What the kernel command line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootSwitch {
    /// Nothing about vmward.
    Absent,
    /// No enforcement at all; what is pinned is removed.
    Off,
    /// Record, do not refuse.
    Observe,
}

/// Reads the kernel command line of this boot.
///
/// # Errors
/// It cannot be read.
pub fn read() -> std::io::Result<BootSwitch> {
    // What is mounted over that file must not disarm the host.
    view::read("cmdline").map(|line| parse(&line))
}

/// The last `vmward=` counts, as with the kernel's own parameters.
fn parse(line: &str) -> BootSwitch {
    let asked = line
        .split_ascii_whitespace()
        .filter_map(|word| word.strip_prefix("vmward="))
        .next_back();
    match asked {
        None | Some("enforce") => BootSwitch::Absent,
        Some("off") => BootSwitch::Off,
        Some("observe") => BootSwitch::Observe,
        Some(other) => {
            tracing::warn!(
                value = other,
                "vmward= on the kernel command line is neither off nor observe; ignored"
            );
            BootSwitch::Absent
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_switch_counts_and_others_mean_nothing() {
        assert_eq!(parse("quiet root=/dev/vda"), BootSwitch::Absent);
        assert_eq!(parse("vmward=off"), BootSwitch::Off);
        assert_eq!(
            parse("vmward=off quiet vmward=observe"),
            BootSwitch::Observe
        );
        assert_eq!(parse("vmward=offf xvmward=off"), BootSwitch::Absent);
    }
}
