//! `/etc/vmward/vmward.toml`: modes, paths and grants. Unknown keys are errors.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use vmward_core::grant::Grants;

mod approvals;
mod calls;
mod check;
mod faults;
mod grants;
mod read;

pub use self::approvals::ApprovalsConfig;
pub use self::calls::{ArmingConfig, RpcRefusal};
pub use self::faults::Faults;
use crate::audit_file::Rotation;
use crate::cli::CONFIG_DEFAULT;
use crate::kernel::CallRules;
use crate::secure_file::{SecureFileError, read_trusted};

/// Most bytes of a configuration file.
pub const CONFIG_BYTES_MAX: u64 = 512 * 1024;

/// What the kernel does with a stop that has no lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KernelMode {
    /// Refuse it.
    #[default]
    Enforce,
    /// Let it through and record that it would have been refused.
    Observe,
}

/// The whole configuration, with its defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Enforce or observe.
    pub mode: KernelMode,
    /// The policy file.
    pub policy: PathBuf,
    /// The journal's directory.
    #[serde(alias = "state_dir")]
    pub state_dir: PathBuf,
    /// The audit log's directory.
    #[serde(alias = "log_dir")]
    pub log_dir: PathBuf,
    /// The sockets' directory.
    #[serde(alias = "run_dir")]
    pub run_dir: PathBuf,
    /// Where programs and maps are pinned; on a bpf file system.
    #[serde(alias = "pin_dir")]
    pub pin_dir: PathBuf,
    /// Which libvirt to ask; `none` where the calls are about machines that no
    /// libvirt knows, so that the policy alone decides.
    #[serde(alias = "libvirt_uri")]
    pub libvirt_uri: String,
    /// Where libvirt's QEMU driver keeps its status files.
    #[serde(alias = "libvirt_run_dir")]
    pub libvirt_run_dir: PathBuf,
    /// The group that may use the policy socket.
    #[serde(alias = "socket_group")]
    pub socket_group: String,
    /// Whose account each caller's calls go to.
    #[serde(deserialize_with = "grants::read")]
    pub grants: Grants,
    /// What holds for requests for approval.
    pub approvals: ApprovalsConfig,
    /// Does the audit log keep the arguments of calls? `vmward policy simulate`
    /// wants them; where they hold secrets, it should not.
    #[serde(alias = "audit_arguments")]
    pub audit_arguments: bool,
    /// How long the audit log's file may become before a new one is begun.
    #[serde(alias = "audit_file_mib")]
    pub audit_file_mib: u64,
    /// How old a file of the audit log may become before it is removed; 0: any age.
    #[serde(alias = "audit_keep_days")]
    pub audit_keep_days: u64,
    /// Are clear stops without lease refused where a client sends them?
    #[serde(alias = "rpc_refusal")]
    pub rpc_refusal: RpcRefusal,
    /// Calls to libvirt that make a later stop possible.
    pub arming: ArmingConfig,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            mode: KernelMode::Enforce,
            policy: "/etc/vmward/policy.json".into(),
            state_dir: "/var/lib/vmward".into(),
            log_dir: "/var/log/vmward".into(),
            run_dir: "/run/vmward".into(),
            pin_dir: "/sys/fs/bpf/vmward".into(),
            libvirt_uri: "qemu:///system".into(),
            libvirt_run_dir: "/run/libvirt/qemu".into(),
            socket_group: "vmward".into(),
            grants: Grants::default(),
            approvals: ApprovalsConfig::default(),
            audit_arguments: true,
            audit_file_mib: 64,
            audit_keep_days: 90,
            rpc_refusal: RpcRefusal::default(),
            arming: ArmingConfig::default(),
        }
    }
}

/// Why the configuration was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read, or others may write it.
    #[error("Failed to read the configuration")]
    File(#[from] SecureFileError),
    /// The file is not what it should be.
    #[error("Configuration {path} is wrong")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Each mistake, with its place.
        #[source]
        source: Faults,
    },
}

impl Config {
    /// Reads the file that `--config` names, or the default one where there is
    /// one.
    ///
    /// # Errors
    /// A file that is named but missing, open to other writers, too long, or wrong
    /// in any key.
    pub fn load(named: Option<&Path>) -> Result<Config, ConfigError> {
        let path = named.unwrap_or(Path::new(CONFIG_DEFAULT));
        match read_trusted(path, CONFIG_BYTES_MAX) {
            Ok(text) => Config::parse(&text, path),
            Err(SecureFileError::Read { source, .. })
                if named.is_none() && source.kind() == std::io::ErrorKind::NotFound =>
            {
                Ok(Config::default())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
        read::read(text).map_err(|source| ConfigError::Wrong {
            path: path.to_owned(),
            source,
        })
    }

    /// Is there no hypervisor to watch?
    pub fn is_unwatched(&self) -> bool {
        self.libvirt_uri == "none"
    }

    /// When the audit log begins a new file.
    pub fn rotation(&self) -> Rotation {
        let age_max = Duration::from_secs(self.audit_keep_days.saturating_mul(24 * 60 * 60));
        Rotation {
            bytes_max: self.audit_file_mib.saturating_mul(1 << 20),
            age_max: (self.audit_keep_days > 0).then_some(age_max),
        }
    }

    /// What is done with calls to libvirt.
    pub fn call_rules(&self) -> CallRules {
        self.arming.rules(self.rpc_refusal)
    }

    /// The socket for callers.
    pub fn policy_socket(&self) -> PathBuf {
        self.run_dir.join("policy.sock")
    }

    /// The socket for root.
    pub fn admin_socket(&self) -> PathBuf {
        self.run_dir.join("admin.sock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new("vmward.toml"))
    }

    pub(super) fn message(error: &ConfigError) -> String {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        text
    }

    #[test]
    fn an_empty_file_gives_the_defaults() {
        assert_eq!(parse("").unwrap(), Config::default());
    }

    #[test]
    fn kebab_and_snake_keys_are_the_same_key() {
        let kebab = parse("state-dir = \"/a\"\nmode = \"observe\"").unwrap();
        let snake = parse("state_dir = \"/a\"\nmode = \"observe\"").unwrap();
        assert_eq!(kebab, snake);
        assert_eq!(kebab.mode, KernelMode::Observe);
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let text = message(&parse("mode = \"enforce\"\nmood = \"x\"").unwrap_err());
        assert!(text.contains("unknown field `mood`"), "{text}");
        assert!(text.contains("line 2"), "{text}");
        assert!(text.contains("`state-dir`, `log-dir`"), "{text}");
        assert!(!text.contains('_'), "each key is named once: {text}");
    }

    /// The keys that are known in a place.
    fn known(place: &str) -> Vec<String> {
        let text = message(&parse(&format!("{place}\nx = 1")).unwrap_err());
        let (_, keys) = text.split_once("expected one of ").expect("the keys");
        let keys = keys.lines().next().unwrap().split('`');
        keys.skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn the_document_has_every_key_with_its_default() {
        let document = include_str!("../CONFIG.md");
        let section = |name: &str| {
            let (_, rest) = document.split_once(&format!("\n## {name}\n")).unwrap();
            rest.split("\n## ").next().unwrap()
        };
        for (place, name) in [
            ("", "The whole"),
            ("[[grants]]", "Grants"),
            ("[approvals]", "Approvals"),
        ] {
            let keys = known(place);
            assert!(keys.len() > 3, "{keys:?}");
            for key in keys {
                let row = [
                    format!("| `{key}` |"),
                    format!("| `[{key}]` |"),
                    format!("| `[[{key}]]` |"),
                ];
                let has = row.iter().any(|row| section(name).contains(row));
                assert!(has, "{key} is not in {name}");
            }
        }
        let mut written = String::new();
        let default = |line: &str| {
            let mut cells = line.strip_prefix("| `")?.split(" | ");
            let key = cells.next()?.strip_suffix('`')?.to_owned();
            let value = cells
                .next()?
                .strip_prefix('`')?
                .strip_suffix('`')?
                .to_owned();
            Some(format!("{key} = {value}\n"))
        };
        written.extend(section("The whole").lines().filter_map(default));
        for (name, table) in [("Approvals", "approvals"), ("Arming", "arming")] {
            written.extend(["[", table, "]\n"]);
            written.extend(section(name).lines().filter_map(default));
        }
        assert!(written.contains("audit-keep-days = 90"), "{written}");
        assert_eq!(parse(&written).unwrap(), Config::default(), "{written}");
    }

    #[test]
    fn every_mistake_is_told_at_once_with_its_place() {
        let text = "mood = 1\nmode = \"enfroce\"\nstate_dir = \"state\"\naudit-file-mib = 0\n\
                    [[grants]]\nname = \"a b\"\nuid = -1\n[[grants]]\nname = \"c\"\n\
                    [[grants]]\nname = \"d\"\nuid = 1\n[approvals]\nexpire = 0\n\
                    denied_for = 99999999\n[arming]\nrefuse = [\"autodestroy\", \"x\", 3]\n";
        let told = message(&parse(text).unwrap_err());
        let places: Vec<&str> = told
            .lines()
            .filter_map(|line| line.strip_prefix("line ")?.split(": ").next())
            .collect();
        let expected = [
            "1, column 1",
            "2, column 8",
            "3, column 13",
            "4, column 18",
            "6, column 8",
            "7, column 7",
            "8, column 1",
            "14, column 10",
            "15, column 14",
            "17, column 26",
            "17, column 31",
        ];
        assert_eq!(places, expected, "{told}");
        assert!(
            told.starts_with("Configuration vmward.toml is wrong: 11 mistakes\n"),
            "{told}"
        );
        let shown = "line 2, column 8: unknown variant `enfroce`, expected `enforce` or `observe`\n \
                     2 | mode = \"enfroce\"\n   |        ^^^^^^^^^\n";
        assert!(told.contains(shown), "{told}");
        assert!(
            !told.contains("missing field"),
            "the name is wrong, and there: {told}"
        );
    }

    #[test]
    fn every_mistake_in_the_toml_itself_is_told() {
        let told =
            message(&parse("mode = enforce\nmood = 1\npolicy = \"a\npolicy = 3\n").unwrap_err());
        for line in [1, 3] {
            assert!(told.contains(&format!("line {line}, ")), "{line}: {told}");
        }
        assert!(!told.contains("mood`"), "{told}");
        assert!(
            told.ends_with("when the file can be read as TOML"),
            "{told}"
        );
    }

    #[test]
    fn a_file_of_another_kind_does_not_take_all_day() {
        let keys: Vec<String> = (0..5000).map(|n| format!("key{n} = 1\n")).collect();
        let told = message(&parse(&keys.concat()).unwrap_err());
        assert!(told.contains(": 50 mistakes\n"), "{told}");
        assert!(told.ends_with("is told when this is right"), "{told}");
    }

    #[test]
    fn a_relative_path_is_refused() {
        let text = message(&parse("state-dir = \"state\"").unwrap_err());
        assert!(
            text.contains("state-dir must be an absolute path"),
            "{text}"
        );
    }

    #[test]
    fn a_missing_file_is_an_error_only_when_it_was_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = Config::load(Some(&dir.path().join("none.toml"))).unwrap_err();
        assert!(message(&error).contains("none.toml"));
    }
}
