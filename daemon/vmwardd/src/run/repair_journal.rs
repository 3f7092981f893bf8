//! `vmwardd --repair-journal`: a journal that cannot be gone on with goes on, with
//! nothing free that was charged.
//!
//! ```text
//!   judge ─▶ salvage ─▶ judge the result ─▶ record ─▶ link the damaged file aside
//!                                                       ─▶ write beside, sync, rename
//! ```
//!
//! Killed at any step, the journal is the damaged one or the repaired one, and the same
//! command can be given again.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use vmward_core::audit::head::{HEAD_FILE, KeptHead};
use vmward_core::clock::{NS_PER_S, Now};
use vmward_core::journal::salvage::{LogFacts, Salvaged, Situation, salvage};
use vmward_core::limit::WINDOW_NS_MAX;
use vmward_core::policy::Policy;

use super::locks::take_lock;
use super::make_dirs;
use super::on_record::{on_whose_order, put_all_on_record};
use crate::audit_file::files_since;
use crate::cli::Cli;
use crate::config::Config;
use crate::crash::{self, Point};
use crate::engine_task::start::refusal;
use crate::exit::{CANT_CREATE, CONFIG, DATA, Failure, OrExit, SOFTWARE};
use crate::ledger_file::{FileStorage, JOURNAL_BYTES_MAX, JOURNAL_FILE, Storage};
use crate::secure_file::open_own;
use crate::spool::{Left, SPOOL_FILE, SpoolPair};
use crate::{clock, convert, policy_store};

/// Records are looked for so much longer than any window lasts.
const MARGIN_NS: i64 = 3600 * NS_PER_S;

pub(super) fn repair_journal(config: &Config, cli: &Cli) -> Result<(), Failure> {
    let policy = policy_store::load(&config.policy).or_exit(CONFIG)?;
    make_dirs(config)?;
    let _lock = take_lock(config)?;
    let now = convert::now();
    let boot_id = clock::boot_id().or_exit(SOFTWARE)?;
    let path = config.state_dir.join(JOURNAL_FILE);
    let journal = read(&path).or_exit(CANT_CREATE)?;
    let left = spooled(&config.state_dir).or_exit(CANT_CREATE)?;
    let judge = |journal: &[u8]| refusal(config, &policy, journal, &left, &boot_id, now);
    let Some(why) = judge(&journal).or_exit(CANT_CREATE)? else {
        return say(&[format!("{} is whole: nothing was changed", path.display())]);
    };
    let facts = facts(config, &policy, &left, now).or_exit(CANT_CREATE)?;
    let here = Situation {
        boot_id: &boot_id,
        now,
        denied_memory_s: config.approvals.core(&config.grants).denied_memory_s,
    };
    let salvaged = salvage(&journal, &facts, here).or_exit(SOFTWARE)?;
    // What a start would say of the result.
    if let Some(why) = judge(&salvaged.lines).or_exit(CANT_CREATE)? {
        let why = anyhow::anyhow!("what came of the repair is no better: {why}");
        return Err(Failure::new(SOFTWARE, why));
    }
    let mut told = vec![cause(&why)];
    told.extend(salvaged.report.lines());
    say(&told)?;
    let loss = &salvaged.report.lost;
    if cli.dry_run {
        let more = if loss.is_empty() {
            ""
        } else {
            "; a repair takes --accept-loss"
        };
        return say(&[format!("nothing was changed (--dry-run){more}")]);
    }
    if !(loss.is_empty() || cli.accept_loss) {
        let why = anyhow::anyhow!(
            "a charge may be lost ({}); nothing was changed. Put back what is missing, or give \
             --accept-loss beside --repair-journal, and it goes on record",
            loss.join("; ")
        );
        return Err(Failure::new(DATA, why));
    }
    put_in_place(config, &path, salvaged, now)
}

/// What is wrong, without what to do about it.
fn cause(why: &str) -> String {
    why.replace(&format!("; {}", vmward_core::journal::REMEDY), "")
}

fn put_in_place(config: &Config, path: &Path, salvaged: Salvaged, now: Now) -> Result<(), Failure> {
    let aside = path.with_extension(format!("damaged-{}", now.wall_ns));
    let accepted = if salvaged.report.lost.is_empty() {
        ""
    } else {
        "; the loss was accepted"
    };
    let detail = format!(
        "{}{accepted}; the damaged journal is in {}; by {}",
        salvaged.report.summary(),
        aside.display(),
        on_whose_order()
    );
    crash::arm();
    // First the record: where the rest fails, the journal is as it was.
    put_all_on_record(
        &config.log_dir,
        &config.state_dir,
        "journal-repaired",
        &detail,
        salvaged.records,
    )
    .or_exit(CANT_CREATE)?;
    crash::point(Point::RepairRecorded);
    let mut storage = FileStorage::open(&config.state_dir).or_exit(CANT_CREATE)?;
    keep(path, &aside)
        .and_then(|()| File::open(&config.state_dir)?.sync_all())
        .or_exit(CANT_CREATE)?;
    crash::point(Point::RepairKept);
    storage.replace(&salvaged.lines).or_exit(CANT_CREATE)?;
    tracing::warn!("the journal was repaired: {detail}");
    say(&[format!(
        "the journal is repaired, and vmwardd can be started; the damaged one is in {}",
        aside.display()
    )])
}

/// The file stays as it is, under another name.
fn keep(path: &Path, aside: &Path) -> io::Result<()> {
    if fs::hard_link(path, aside).is_err() {
        // A file system without links.
        fs::copy(path, aside)?;
        File::open(aside)?.sync_all()?;
    }
    Ok(())
}

/// The journal's bytes; none where there is none. Nothing is made.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path.try_exists()? {
        let file = open_own(path)?;
        file.take(JOURNAL_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    }
    if bytes.len() as u64 > JOURNAL_BYTES_MAX {
        let why = format!(
            "{} is longer than {JOURNAL_BYTES_MAX} bytes",
            path.display()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(bytes)
}

/// Records that were answered and have not come to the log. They stay where they are.
fn spooled(state_dir: &Path) -> io::Result<Left> {
    if !state_dir.join(SPOOL_FILE).try_exists()? {
        return Ok(Left::default());
    }
    SpoolPair::open(state_dir).map(|(_spool, left)| left)
}

fn facts<'a>(
    config: &Config,
    policy: &'a Policy,
    left: &Left,
    now: Now,
) -> io::Result<LogFacts<'a>> {
    let kept = fs::read_to_string(config.state_dir.join(HEAD_FILE));
    let kept = kept.ok().and_then(|text| KeptHead::read(&text));
    let has_head = kept.is_some();
    let mut facts = LogFacts::new(policy, kept);
    let since_ns = now.wall_ns.saturating_sub(WINDOW_NS_MAX + MARGIN_NS);
    for path in files_since(&config.log_dir, since_ns)? {
        let place = path.display();
        let mut reader = BufReader::new(File::open(&path)?);
        let mut bytes = Vec::new();
        let mut number: u64 = 0;
        while reader.read_until(b'\n', &mut bytes)? > 0 {
            number = number.saturating_add(1);
            let place = format!("{place}:{number}");
            match bytes.strip_suffix(b"\n") {
                Some(line) => facts.take_line(&String::from_utf8_lossy(line), &place),
                None => facts.gap(format!("{place}: the record is cut off")),
            }
            bytes.clear();
        }
    }
    if !has_head {
        facts.gap(format!(
            "{HEAD_FILE} is missing or damaged, so nobody can tell whether the newest records were \
             taken away"
        ));
    }
    if let Some(damage) = &left.damage {
        facts.gap(format!("records that wait for it are damaged ({damage})"));
    }
    for body in &left.records {
        facts.take_spooled(body.clone(), now);
    }
    facts.end();
    Ok(facts)
}

fn say(lines: &[String]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}").or_exit(CANT_CREATE)?;
    }
    Ok(())
}
