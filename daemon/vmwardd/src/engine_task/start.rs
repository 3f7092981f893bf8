//! From what a former daemon left behind to a state that can go on.
//!
//! Two steps: [`recover`] reads the journal and the audit log and touches
//! nothing else, so that a fault there leaves the host as it was;
//! [`Recovered::into_shell`] then compares with the kernel, which is attached
//! in between.

mod again;
mod behind;

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use vmward_core::audit::AuditBody;
use vmward_core::clock::Now;
use vmward_core::engine::Engine;
use vmward_core::ids::DecisionId;
use vmward_core::journal::{JournalEntry, Replay, ReplayError, ReplayedState, encode_batch};
use vmward_core::lease::{KernelLease, Lease, LeaseState};
use vmward_core::policy::Policy;

use self::again::write_again;
pub use self::behind::refusal;
use self::behind::{behind, refusing, wanted};
use super::KernelSide;
use super::batch::Batch;
use super::denials::Denials;
use super::evidence::Evidence;
use super::flood::Flood;
use super::host_side::HostSide;
use super::names::Names;
use super::policy_state::PolicyState;
use super::running::Running;
use super::seq::{Gap, Seq};
use super::shell::{Shell, chain};
use super::vms::Vms;
use crate::audit_file::{AuditError, AuditFile, Resumed};
use crate::audit_log::AuditLog;
use crate::config::Config;
use crate::counters::SharedCounters;
use crate::feed::Feed;
use crate::kernel::{KernelError, LeaseRow};
use crate::ledger_file::{FileStorage, Ledger, Storage};
use crate::log::Throttle;
use crate::process;
use crate::spool::{Left, SPOOL_FILE, SpoolPair};

/// Why the former state cannot be read at all. Damage is no such error: then
/// the daemon starts, protects, and denies.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal cannot be opened or read.
    #[error("Failed to open the journal in {path}")]
    Journal {
        /// The state directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The audit log cannot be opened.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A kernel map cannot be read.
    #[error("Failed to compare with the kernel's state")]
    Kernel(#[from] KernelError),
}

/// The kernel side as the start left it.
pub struct KernelStart {
    /// On, or off as asked for.
    pub side: KernelSide,
    /// A former daemon's programs and maps were taken over.
    pub took_over: bool,
    /// Events counted before and after the self-test.
    pub self_test_events: (u64, u64),
}

/// What was found on disk.
pub struct Recovered {
    engine: Engine,
    ledger: Ledger,
    audit: AuditFile,
    /// Empty.
    spool: Option<SpoolPair>,
    resumed: Resumed,
    warnings: Vec<String>,
    boot_id: String,
}

/// Reads journal and audit log.
///
/// # Errors
/// See [`StartError`].
pub fn recover(
    config: &Config,
    policy: Policy,
    boot_id: &str,
    now: Now,
) -> Result<Recovered, StartError> {
    let at_journal = |source| StartError::Journal {
        path: config.state_dir.clone(),
        source,
    };
    let open_audit =
        |wanted| AuditFile::open_kept(&config.log_dir, &config.state_dir, boot_id, now, wanted);
    let mut storage = FileStorage::open(&config.state_dir).map_err(at_journal)?;
    let path = storage.path().display().to_string();
    let bytes = storage.read().map_err(at_journal)?;
    let mut warnings = Vec::new();
    let replayed = match Replay::read(&bytes) {
        Ok(replay) => replay.finish(boot_id, now),
        Err(error) => {
            let why = damaged(&path, &error);
            let (audit, resumed) = open_audit(&HashSet::new())?;
            let engine = Engine::new(policy, boot_id);
            let log = (audit, resumed);
            return Ok(refusing(engine, storage, why, log, boot_id, now));
        }
    };
    let (spool, left) = open_spool(&config.state_dir, &mut warnings);
    let spooled: Vec<DecisionId> = left.ids().collect();
    let (mut audit, resumed) = open_audit(&wanted(&replayed, &left))?;
    let approvals = config.approvals.core(&config.grants);
    if let Some(why) = behind(&path, &replayed, &resumed, &left, &policy, &approvals, now) {
        let mut engine = Engine::new(policy, boot_id);
        // Their records stay in the spool, for the start that finds a good journal.
        for id in spooled {
            engine.skip_ids(id);
        }
        let log = (audit, resumed);
        return Ok(refusing(engine, storage, why, log, boot_id, now));
    }
    if let Some(torn) = replayed.torn {
        tracing::warn!(
            line = torn.line,
            bytes = torn.bytes,
            "the journal's last lines were torn by a crash; they were never answered and are dropped"
        );
    }
    let ledger = Ledger::open(Box::new(storage), replayed.bytes as u64, replayed.lines);
    let mut ledger = ledger.map_err(at_journal)?;
    let mut engine = Engine::restore(policy, &replayed);
    for newest in resumed.newest.into_iter().chain(spooled) {
        engine.skip_ids(newest);
    }
    begin(&engine, &replayed, &mut ledger, now);
    write_again(replayed, left, &resumed, &mut audit, now);
    // What could not be written waits in memory, and the spool keeps its copy of
    // it for the next start.
    let spool = spool.filter(|_| audit.fault().is_none()).map(|mut spool| {
        spool.written(true);
        spool
    });
    warnings.extend(resumed.warnings());
    Ok(Recovered {
        engine,
        ledger,
        audit,
        spool,
        resumed,
        warnings,
        boot_id: boot_id.to_owned(),
    })
}

fn damaged(path: &str, error: &ReplayError) -> String {
    format!("{path} is damaged: {}", chain(error))
}

/// The journal's first lines of this run. Without them later lines would be
/// told in another boot's time, so nothing is taken if they cannot be written.
fn begin(engine: &Engine, replayed: &ReplayedState, ledger: &mut Ledger, now: Now) {
    let settled = replayed.lost.iter().map(|lease| JournalEntry::Settle {
        id: lease.id,
        state: LeaseState::Lost,
        at: now,
    });
    let armed = replayed.rebooted.iter().map(|disarm| JournalEntry::Armed {
        process: disarm.process(),
        at: now,
    });
    let first = std::iter::once(engine.boot_entry(now));
    let entries = first.chain(settled).chain(armed);
    let lines = match encode_batch(entries, ledger.next_line()) {
        Ok(lines) => lines,
        Err(error) => return ledger.close(chain(&error)),
    };
    if let Err(error) = ledger.commit(&lines) {
        ledger.close(format!(
            "its first line of this run could not be written: {}; free space on its disk and \
             restart vmwardd",
            chain(&error)
        ));
    }
}

/// The spool, where it can be had. Without it each decision is recorded before
/// it is answered, which is slower.
fn open_spool(dir: &Path, warnings: &mut Vec<String>) -> (Option<SpoolPair>, Left) {
    let path = dir.join(SPOOL_FILE);
    let path = path.display();
    match SpoolPair::open(dir) {
        Ok((spool, left)) => {
            warnings.extend(left.damage.as_ref().map(|why| {
                format!("{path} is damaged ({why}); the last decisions may be missing in the log")
            }));
            (Some(spool), left)
        }
        Err(error) => {
            warnings.push(format!(
                "{path} cannot be used ({error}), so answers wait for the audit log"
            ));
            (None, Left::default())
        }
    }
}

impl Recovered {
    /// Compares with the kernel and is ready to decide.
    ///
    /// # Errors
    /// A kernel map cannot be read.
    pub fn into_shell(
        self,
        config: &Config,
        kernel: KernelStart,
        observe: bool,
        counters: SharedCounters,
        warnings: Vec<String>,
        now: Now,
    ) -> Result<Shell, StartError> {
        let (before, after) = kernel.self_test_events;
        let canary = (after > before).then(|| Gap {
            from: before.saturating_add(1),
            to: after,
        });
        let seq = Seq::resume(
            &config.state_dir,
            &self.boot_id,
            self.resumed.kernel_seq,
            kernel.took_over,
            canary,
        );
        let mut all_warnings = self.warnings;
        all_warnings.extend(warnings);
        let feed = Feed::new();
        let mut audit = self.audit;
        audit.set_feed(Arc::clone(&feed));
        let mut engine = self.engine;
        engine.set_approval_config(config.approvals.core(&config.grants));
        // The admin socket takes nobody else.
        engine.set_approver(0);
        engine.set_records_arguments(config.audit_arguments);
        let mut shell = Shell {
            engine,
            ledger_fault: self.ledger.fault().map(str::to_owned),
            ledger_refused: None,
            ledger: Arc::new(Mutex::new(self.ledger)),
            waiting: Batch::default(),
            kept: Vec::new(),
            ended: false,
            audit: AuditLog::new(audit, self.spool, Arc::clone(&feed)),
            rotation: config.rotation(),
            feed,
            kernel: kernel.side,
            vms: Vms::new(config.is_unwatched(), Names::load(&config.state_dir)),
            running: Running::load(&config.state_dir, &self.boot_id),
            policy: PolicyState::loaded(config.policy.clone(), now),
            seq,
            evidence: Evidence::default(),
            flood: Flood::default(),
            denials: Denials::default(),
            grants: config.grants.clone(),
            host: HostSide::default(),
            counters,
            observe,
            libvirt_uri: config.libvirt_uri.clone(),
            warnings: all_warnings,
            ready_at: now,
            complaints: Throttle::new(5),
            refusals: Throttle::new(1),
            audit_synced_ns: now.boot_ns,
            snapshot_failed_ns: None,
        };
        shell.audit.append(started(&shell.engine), now);
        if kernel.took_over {
            shell.audit.append(AuditBody::daemon("takeover", None), now);
        }
        for body in shell.lost_with_host() {
            shell.audit.append(body, now);
        }
        shell.adopt(now)?;
        Ok(shell)
    }
}

fn started(engine: &Engine) -> AuditBody {
    let detail = format!(
        "version {}, pid {}, policy {}",
        env!("CARGO_PKG_VERSION"),
        std::process::id(),
        engine.policy().hash()
    );
    AuditBody::daemon("started", Some(detail))
}

impl Shell {
    /// The kernel's rows against the journal's leases.
    fn adopt(&mut self, now: Now) -> Result<(), StartError> {
        for state in self.kernel.protected()? {
            self.vms.adopt(&state.protected);
            if !state.protected.observe {
                self.lift_limit(state.protected.process);
            }
        }
        let mut batch = Batch::default();
        for row in self.kernel.leases()? {
            self.adopt_row(&row, now, &mut batch)?;
        }
        let live: Vec<Lease> = self
            .engine
            .leases()
            .filter(|lease| lease.state.is_live())
            .cloned()
            .collect();
        for lease in live {
            if self.kernel.look_up(&lease)? == KernelLease::Missing {
                let alive = process::is_alive(lease.process);
                let closed = self
                    .engine
                    .close(lease.id, KernelLease::Missing, alive, now);
                batch.journal(closed.journal);
                for body in closed.audit {
                    batch.audit(body);
                }
            }
        }
        self.adopt_disarms(now, &mut batch)?;
        self.commit(batch, now);
        Ok(())
    }

    fn adopt_row(&mut self, row: &LeaseRow, now: Now, batch: &mut Batch) -> Result<(), StartError> {
        let id = DecisionId(row.id);
        let known = self
            .engine
            .lease(id)
            .filter(|lease| lease.process == row.vm && lease.state.is_live());
        if known.is_some() {
            if row.executing {
                batch.journal(self.engine.lease_claimed(id, now));
            }
            return Ok(());
        }
        self.kernel.remove_lease(row.vm, row.id)?;
        let detail = format!(
            "lease {} for process {} was in the kernel and not in the journal",
            row.id, row.vm.pid
        );
        tracing::warn!(detail, "a lease was removed");
        batch.audit(AuditBody::daemon("unknown-lease-removed", Some(detail)));
        Ok(())
    }
}
