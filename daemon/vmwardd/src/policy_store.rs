//! The policy file: opened, checked and parsed as one step, at start, on
//! SIGHUP and when the file changes. A bad file never takes the place of a good policy.

pub mod watch;

use std::path::{Path, PathBuf};

use vmward_core::policy::{POLICY_BYTES_MAX, Policy, PolicyErrors};

use crate::secure_file::{SecureFileError, read_trusted};

/// Why a policy was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFileError {
    /// The file cannot be read or is not trusted.
    #[error(transparent)]
    File(#[from] SecureFileError),
    /// The text is wrong; each fault with line, column and caret.
    #[error("policy {path} is wrong:\n{errors}")]
    Text {
        /// The file.
        path: PathBuf,
        /// Every fault.
        errors: Box<PolicyErrors>,
    },
}

/// Loads a policy.
///
/// # Errors
/// See [`PolicyFileError`].
pub fn load(path: &Path) -> Result<Policy, PolicyFileError> {
    let bytes_max = u64::try_from(POLICY_BYTES_MAX).unwrap_or(u64::MAX);
    let text = read_trusted(path, bytes_max)?;
    let parsed = Policy::parse(&text, &path.display().to_string());
    parsed.map_err(|errors| PolicyFileError::Text {
        path: path.to_owned(),
        errors: Box::new(errors),
    })
}

/// What of the policy never matches because no libvirt is asked: it names each
/// place. `None` where libvirt is asked, or nothing depends on it.
pub fn without_labels(policy: &Policy, is_unwatched: bool) -> Option<String> {
    let places = policy.places_with_labels();
    if !is_unwatched || places.is_empty() {
        return None;
    }
    Some(format!(
        "libvirt-uri is \"none\", so no VM has labels, and these match none: {}; pick the VMs by \
         uuid or name",
        places.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_policy_is_refused_with_file_line_and_caret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.json");
        std::fs::write(
            &path,
            "{\n  \"version\": \"1\",\n  \"defualt\": \"deny\",\n  \"tools\": {}\n}\n",
        )
        .unwrap();
        let text = load(&path).unwrap_err().to_string();
        assert!(text.contains("policy.json:3:"), "{text}");
        assert!(text.contains('^'), "{text}");
    }
}
