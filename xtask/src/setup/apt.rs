//! A private apt root: packages of other Debian suites, fetched and unpacked
//! into the cache. The machine's own apt configuration stays as it is.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{LONG, fresh};
use crate::{paths, process, step::Step};

const SUITES: &[&str] = &["bookworm", "bookworm-backports", "trixie-backports"];
pub(super) const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

pub(super) struct PrivateApt {
    root: PathBuf,
}

impl PrivateApt {
    /// Opens the private root, with fresh package lists when it has none.
    pub(super) fn open(step: &Step) -> Result<Self> {
        let apt = Self {
            root: paths::cache()?.join("apt"),
        };
        for dir in ["lists/partial", "cache/archives/partial"] {
            let dir = apt.root.join(dir);
            fs::create_dir_all(&dir)
                .with_context(|| format!("Failed to create {}", dir.display()))?;
        }
        let uri = machine_archive()?;
        let line = |suite| {
            format!(
                "deb [signed-by={KEYRING}] {uri} {suite} main
"
            )
        };
        let list = SUITES.iter().map(line).collect::<Vec<_>>().concat();
        let path = apt.root.join("sources.list");
        let unchanged = fs::read_to_string(&path).is_ok_and(|old| old == list);
        if !unchanged || !apt.root.join("updated").exists() {
            fs::write(&path, list).context("Failed to write the private sources.list")?;
            apt.update(step)?;
        }
        Ok(apt)
    }

    fn update(&self, step: &Step) -> Result<()> {
        let mut command = self.command("apt-get");
        command.args(["update", "-q", "-o", "APT::Update::Error-Mode=any"]);
        step.run(command, LONG)
            .context("no package lists; is there a network?")?;
        fs::write(self.root.join("updated"), "").context("Failed to note the update")
    }

    /// The newest package with `prefix` and `suffix` and only a version between.
    pub(super) fn newest(&self, prefix: &str, suffix: &str) -> Result<String> {
        let names = process::output(self.command("apt-cache").args(["pkgnames", prefix]))?;
        names
            .lines()
            .filter(|name| version_between(name, prefix, suffix).is_some())
            .max_by_key(|name| version_between(name, prefix, suffix))
            .map(str::to_owned)
            .with_context(|| format!("Debian has no package {prefix}VERSION{suffix}"))
    }

    /// Downloads a package (`name`, `name=version` or `name/suite`) and unpacks it into
    /// `to`.
    pub(super) fn unpack(&self, step: &Step, name: &str, to: &Path) -> Result<()> {
        // Empty, so that what an interrupted run left behind is not taken for this package.
        let debs = fresh("apt/debs")?;
        let download = || {
            let mut command = self.command("apt-get");
            command.args(["download", "-q", name]).current_dir(&debs);
            step.run(command, LONG)
                .with_context(|| format!("package {name} cannot be had"))
        };
        if download().is_err() {
            step.say("the download failed: perhaps the lists are old, fetching them anew");
            self.update(step)?;
            download()?;
        }
        let package = name.split(['=', '/']).next().unwrap_or(name);
        let deb = fs::read_dir(&debs)?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .find(|path| {
                path.file_name()
                    .is_some_and(|file| file.to_string_lossy().starts_with(&format!("{package}_")))
            })
            .with_context(|| format!("apt-get downloaded no archive of {package}"))?;
        let mut command = Command::new("dpkg-deb");
        command.arg("-x").arg(&deb).arg(to);
        step.run(command, LONG)?;
        fs::remove_file(&deb).with_context(|| format!("Failed to remove {}", deb.display()))
    }

    /// All versions of a package, newest first.
    pub(super) fn versions(&self, name: &str) -> Result<Vec<String>> {
        let table = process::output(self.command("apt-cache").args(["madison", name]))?;
        Ok(table
            .lines()
            .filter_map(|line| line.split('|').nth(1))
            .map(|v| v.trim().to_owned())
            .collect())
    }

    fn command(&self, program: &str) -> Command {
        let at = |name: &str| self.root.join(name).display().to_string();
        let mut command = Command::new(program);
        for option in [
            format!("Dir::Etc::sourcelist={}", at("sources.list")),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            "Dir::Etc::preferencesparts=/dev/null".to_owned(),
            format!("Dir::State::lists={}", at("lists")),
            format!("Dir::Cache={}", at("cache")),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            // The cache may lie in a home folder that apt's own user cannot enter.
            "APT::Sandbox::User=root".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        command
    }
}

/// The numbers of the version that stands between `prefix` and `suffix`; None
/// for flavours such as `-cloud` and `-rt`.
fn version_between(name: &str, prefix: &str, suffix: &str) -> Option<Vec<u32>> {
    let version = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
    let plain = version
        .replace("+deb", ".")
        .replace("~bpo", ".")
        .replace('-', ".");
    plain
        .split('.')
        .filter(|part| !part.is_empty())
        .map(|part| part.parse().ok())
        .collect()
}

/// The Debian archive that this machine itself uses, read from its sources.
pub(super) fn machine_archive() -> Result<String> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(dir) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(dir.filter_map(|entry| entry.ok().map(|entry| entry.path())));
    }
    files.sort();
    for path in files {
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        let found = match path.extension().and_then(|ext| ext.to_str()) {
            Some("list") => one_line_archive(&text),
            Some("sources") => deb822_archive(&text),
            _ => None,
        };
        if let Some(uri) = found {
            return Ok(uri);
        }
    }
    bail!("no Debian archive (suite bookworm) in /etc/apt/sources.list or sources.list.d")
}

fn one_line_archive(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let line = line.trim().strip_prefix("deb ")?.trim_start();
        let line = match line.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => line,
        };
        let mut words = line.split_whitespace();
        let uri = words.next()?;
        (words.next()? == "bookworm").then(|| uri.to_owned())
    })
}

fn deb822_archive(text: &str) -> Option<String> {
    text.split("\n\n").find_map(|stanza| {
        let field = |name: &str| {
            stanza.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        let enabled = field("Enabled").is_none_or(|value| value != "no");
        let suites = field("Suites")?;
        let matches = suites.split_whitespace().any(|suite| suite == "bookworm");
        (enabled && matches).then(|| field("URIs")?.split_whitespace().next().map(str::to_owned))?
    })
}

#[cfg(test)]
mod tests {
    use super::{deb822_archive, one_line_archive, version_between};

    #[test]
    fn the_archive_is_read_from_both_formats_and_never_from_security() {
        let deb822 = "Types: deb\nURIs: http://a/debian-security\nSuites: bookworm-security\n\n\
                      Types: deb\n# note: x\nURIs: http://a/debian\nSuites: bookworm bookworm-updates\n";
        assert_eq!(deb822_archive(deb822).as_deref(), Some("http://a/debian"));
        let list = "# deb http://no/debian bookworm main\ndeb http://a/debian-security bookworm-security main\n\
                    deb [arch=amd64 signed-by=/k] http://a/debian bookworm main\n";
        assert_eq!(one_line_archive(list).as_deref(), Some("http://a/debian"));
        assert_eq!(one_line_archive("deb http://a/ubuntu noble main\n"), None);
    }

    #[test]
    fn flavours_are_no_versions_and_numbers_compare_as_numbers() {
        let version = |name| version_between(name, "linux-image-6.1.0-", "-amd64");
        assert_eq!(version("linux-image-6.1.0-cloud-amd64"), None);
        assert_eq!(version("linux-image-6.1.0-50-rt-amd64"), None);
        assert!(version("linux-image-6.1.0-50-amd64") > version("linux-image-6.1.0-9-amd64"));
    }
}
