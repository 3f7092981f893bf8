//! A new policy: asked for by HUP, or because its file changed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::time::timeout;

use crate::cli::CONFIG_DEFAULT;
use crate::config::Config;
use crate::engine_task::EngineHandle;
use crate::exit::{CONFIG, Failure, OrExit};
use crate::policy_store::watch::{self, Fingerprint};
use crate::{notify, policy_store};

/// A policy that is not read after this time is said to be late.
const READ_DEADLINE: Duration = Duration::from_secs(10);

/// Files as they were when they were last read.
#[derive(Debug)]
pub(super) struct Reloader {
    policy: PathBuf,
    policy_read: Fingerprint,
    config: PathBuf,
    config_read: Fingerprint,
}

/// Reads the configuration, and looks at the policy before it is read.
pub(super) fn read_config(named: Option<&Path>) -> Result<(Config, Reloader), Failure> {
    let config_path = named.unwrap_or(Path::new(CONFIG_DEFAULT));
    // Before it is read, so that a change in between is one.
    let config_read = Fingerprint::of(config_path);
    let config = Config::load(named).or_exit(CONFIG)?;
    let reloader = Reloader {
        policy_read: Fingerprint::of(&config.policy),
        policy: config.policy.clone(),
        config: config_path.to_owned(),
        config_read,
    };
    Ok((config, reloader))
}

impl Reloader {
    /// Follows the policy file for as long as the daemon runs. One new policy after
    /// the other, each read by a thread of its own.
    pub(super) async fn follow(mut self, mut hangup: Signal, engine: EngineHandle) {
        let mut hints = watch::hints(self.policy.clone(), watch::LOOK_EVERY);
        loop {
            tokio::select! {
                Some(()) = hangup.recv() => self.reload(&engine).await,
                Some(()) = hints.recv() => self.reload_if_changed(&engine).await,
                else => return,
            }
        }
    }

    /// Reads the policy again, whether it changed or not.
    async fn reload(&mut self, engine: &EngineHandle) {
        self.policy_read = Fingerprint::of(&self.policy);
        if Fingerprint::of(&self.config) != self.config_read {
            tracing::warn!(
                config = %self.config.display(),
                "the configuration has changed and is read at start only: its modes, paths and \
                 grants come into force with `systemctl restart vmwardd`"
            );
        }
        reload(&self.policy, engine).await;
    }

    /// Reads the policy again where its file changed.
    async fn reload_if_changed(&mut self, engine: &EngineHandle) {
        let now = Fingerprint::of(&self.policy);
        if now != self.policy_read {
            tracing::info!(policy = %self.policy.display(), "the policy file has changed");
            self.policy_read = now;
            reload(&self.policy, engine).await;
        }
    }
}

/// Ends when the new policy is in force or refused, however long that takes: of
/// two that are read at once, the older might come later.
async fn reload(policy: &Path, engine: &EngineHandle) {
    notify::reloading();
    let path = policy.to_owned();
    let mut answer = match engine.take_policy(move || policy_store::load(&path)) {
        Ok(answer) => answer,
        Err(error) => {
            tracing::error!(%error, "the policy was not reloaded: no thread can be started");
            notify::ready("reload not done: no thread can be started");
            return;
        }
    };
    let answered = if let Ok(answered) = timeout(READ_DEADLINE, &mut answer).await {
        answered
    } else {
        tracing::warn!("the new policy is still being read; the old one is in force meanwhile");
        notify::ready("deciding by the former policy: the new one is still being read");
        answer.await
    };
    notify::ready(reloaded(answered.ok()));
}

/// What the engine said about the new policy; `None` when it said nothing.
fn reloaded(answer: Option<Result<(), String>>) -> &'static str {
    match answer {
        Some(Ok(())) => {
            tracing::info!("the policy was reloaded");
            "deciding"
        }
        Some(Err(why)) => {
            tracing::error!("the new policy was not taken, the old one stays: {why}");
            "deciding by the former policy: the new one is wrong"
        }
        None => {
            tracing::error!("the policy was not reloaded: the engine has ended");
            "reload not done: the engine has ended"
        }
    }
}
