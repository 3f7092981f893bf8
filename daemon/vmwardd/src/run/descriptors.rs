//! How many files the daemon may have open.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Each VM needs two, and each of its helpers one: handles on their processes.
const ENOUGH: u64 = 16_384;

/// Takes what the service manager allows: the usual soft limit is for programs that
/// know no numbers above 1,024. What is wrong is said in a warning; the daemon goes
/// on, and a VM for which there is no handle stays protected.
pub(super) fn raise_limit() -> Option<String> {
    let (soft, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(errno) => return Some(format!("the limit of open files cannot be read: {errno}")),
    };
    let raised = if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).err()
    } else {
        None
    };
    let now = if raised.is_some() { soft } else { hard };
    (now < ENOUGH).then(|| {
        format!(
            "only {now} files may be open, which is not enough for many VMs; set LimitNOFILE= to \
             {ENOUGH} or more"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_what_the_service_manager_allows() {
        let warning = raise_limit();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(soft, hard);
        assert_eq!(warning.is_some(), hard < ENOUGH, "{warning:?}");
    }
}
