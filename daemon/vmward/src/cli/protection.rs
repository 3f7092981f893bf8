//! The arguments of `vmward disarm` and `vmward arm`.

use clap::{ArgGroup, Args};

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("of").required(true).args(["vm", "all"]))]
pub(crate) struct DisarmArgs {
    /// The VM, by name or UUID: until its process ends, at the latest
    #[arg(long)]
    pub(crate) vm: Option<String>,
    /// The whole host, every VM that starts meanwhile among them: until the host is started again,
    /// at the latest
    #[arg(long)]
    pub(crate) all: bool,
    /// For how long, such as 90s, 10m, 2h or 1d, at most 30d; without it until `vmward arm`
    #[arg(long = "for", value_name = "TIME", value_parser = parse_time)]
    pub(crate) for_ms: Option<u64>,
    /// Why, for the audit log
    #[arg(long)]
    pub(crate) reason: String,
    /// Print the daemon's answer as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("of").required(true).args(["vm", "all"]))]
pub(crate) struct ArmArgs {
    /// The VM, by name or UUID
    #[arg(long)]
    pub(crate) vm: Option<String>,
    /// The whole host, and every VM that is disarmed
    #[arg(long)]
    pub(crate) all: bool,
    /// Why, for the audit log
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Print the daemon's answer as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A number and its unit, in milliseconds. The daemon says what is too long.
fn parse_time(text: &str) -> Result<u64, String> {
    let wrong = || "it is a whole number with s, m, h or d behind it, such as 10m".to_owned();
    let unit_at = text.len().saturating_sub(1);
    let (number, unit) = text.split_at_checked(unit_at).ok_or_else(wrong)?;
    let unit_ms = match unit {
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "d" => 24 * 60 * 60 * 1000,
        _ => return Err(wrong()),
    };
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = number.parse().ok().filter(|_| digits).ok_or_else(wrong)?;
    match number.checked_mul(unit_ms) {
        Some(0) | None => Err(wrong()),
        Some(ms) => Ok(ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit_and_is_no_nothing() {
        assert_eq!(parse_time("90s"), Ok(90_000));
        assert_eq!(parse_time("10m"), Ok(600_000));
        assert_eq!(parse_time("2h"), Ok(7_200_000));
        assert_eq!(parse_time("1d"), Ok(86_400_000));
        for wrong in [
            "", "m", "10", "0s", "-1m", "+1m", "1.5h", "10 m", "10min", "1µ",
        ] {
            parse_time(wrong).expect_err(wrong);
        }
    }
}
