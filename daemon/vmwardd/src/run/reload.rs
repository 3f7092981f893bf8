//! A new policy: asked for by HUP, or because its file changed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::cli::CONFIG_DEFAULT;
use crate::config::Config;
use crate::engine_task::{EngineHandle, Message};
use crate::exit::{CONFIG, Failure, OrExit};
use crate::notify;
use crate::policy_store::watch::Fingerprint;

/// The engine must have read a policy within this time.
const ENGINE_DEADLINE: Duration = Duration::from_secs(10);

/// Files as they were when they were last read.
#[derive(Debug)]
pub(super) struct Reloader {
    /// The policy.
    pub(super) policy: PathBuf,
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
    /// Reads the policy again, whether it changed or not.
    pub(super) async fn reload(&mut self, engine: &EngineHandle) {
        self.policy_read = Fingerprint::of(&self.policy);
        if Fingerprint::of(&self.config) != self.config_read {
            tracing::warn!(
                config = %self.config.display(),
                "the configuration has changed and is read at start only: its modes, paths and \
                 grants come into force with `systemctl restart vmwardd`"
            );
        }
        reload(engine).await;
    }

    /// Reads the policy again where its file changed.
    pub(super) async fn reload_if_changed(&mut self, engine: &EngineHandle) {
        let now = Fingerprint::of(&self.policy);
        if now != self.policy_read {
            tracing::info!(policy = %self.policy.display(), "the policy file has changed");
            self.policy_read = now;
            reload(engine).await;
        }
    }
}

async fn reload(engine: &EngineHandle) {
    notify::reloading();
    let (reply, answer) = oneshot::channel();
    let status = if engine.offer(Message::Reload(reply)) {
        reloaded(
            timeout(ENGINE_DEADLINE, answer)
                .await
                .ok()
                .and_then(Result::ok),
        )
    } else {
        "reload not done: the engine's queue is full; send HUP again"
    };
    notify::ready(status);
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
            tracing::error!("the policy was not reloaded: the engine did not answer");
            "reload not done: the engine did not answer"
        }
    }
}
