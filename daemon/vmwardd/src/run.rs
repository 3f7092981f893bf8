//! The start order and the stop order, top to bottom.

mod attached;
mod descriptors;
mod detach;
mod heartbeat;
mod host_folders;
mod locks;
mod new_journal;
mod on_record;
mod own;
mod reload;
mod repair_journal;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, oneshot, watch as watched};
use tokio::time::timeout;

use self::reload::Reloader;
use crate::boot_switch::{self, BootSwitch};
use crate::cli::Cli;
use crate::config::{Config, KernelMode};
use crate::connection::Service;
use crate::counters::{Counters, SharedCounters};
use crate::engine_task::start::{KernelStart, StartError, recover};
use crate::engine_task::{self, EngineHandle, KernelSide, Message};
use crate::exit::{CANT_CREATE, CONFIG, Failure, OrExit, SOFTWARE, UNAVAILABLE};
use crate::identity::account::AccountBook;
use crate::inventory::{self, Sighting, Source, Watch};
use crate::kernel::{Kernel, PinLock};
use crate::kernel_events::EventThread;
use crate::notice::NoticeCommand;
use crate::secure_file::make_dir;
use crate::socket::{self, Door, Listeners};
use crate::{clock, convert, host_rules, log, memory, notice, notify, policy_store};

/// Clients get this long to finish once a stop has begun.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);
/// The engine must answer a stop within this time.
const ENGINE_DEADLINE: Duration = Duration::from_secs(10);
/// Ready does not wait longer than this for libvirt's first answer.
const FIRST_LOOK_DEADLINE: Duration = Duration::from_secs(5);

/// Runs the daemon until a signal ends it.
///
/// # Errors
/// Why it could not start or go on, with the exit status.
pub fn run(cli: &Cli) -> Result<(), Failure> {
    let (config, reloader) = reload::read_config(cli.config.as_deref())?;
    log::init();
    if let Some(done) = beside_the_daemon(&config, cli) {
        return done;
    }
    let policy = policy_store::load(&config.policy).or_exit(CONFIG)?;
    if let Some(warning) = policy_store::without_labels(&policy, config.is_unwatched()) {
        tracing::warn!("{warning}");
    }
    if cli.check {
        if let Err(warning) = socket::group_of(&config.socket_group) {
            tracing::warn!("{warning}");
        }
        tracing::info!(policy = policy.hash(), "configuration and policy are good");
        return Ok(());
    }
    let switch = boot_switch::read().or_exit(SOFTWARE)?;
    make_dirs(&config)?;
    let mut warnings: Vec<String> = descriptors::raise_limit().into_iter().collect();
    // Held to the very end of the process, whatever hangs.
    let (_locks, pins) = locks::take_all(&config, cli, switch, &mut warnings)?;

    let now = convert::now();
    let boot_id = clock::boot_id().or_exit(SOFTWARE)?;
    let recovered = recover(&config, policy, &boot_id, now).or_exit(CANT_CREATE)?;

    let counters: SharedCounters = Arc::new(Counters::default());
    let observe = config.mode == KernelMode::Observe || switch == BootSwitch::Observe;
    let mut kernel = start_kernel(&config, pins, switch, &mut warnings)?;
    let reader = own::guard(&mut kernel.side, &config, observe)?;
    let listeners = listen(&config, &mut warnings)?;
    let enforces = matches!(kernel.side, KernelSide::On(_));
    let shell = recovered
        .into_shell(
            &config,
            kernel,
            observe,
            Arc::clone(&counters),
            warnings,
            convert::now(),
        )
        .map_err(start_failure)?;

    let feed = shell.feed();
    let (engine, engine_thread) = engine_task::spawn(shell).or_exit(SOFTWARE)?;
    let events = reader
        .map(|reader| EventThread::start(reader, engine.clone(), Arc::clone(&counters)))
        .transpose()
        .or_exit(SOFTWARE)?;
    let (inventory, first_look) = start_inventory(&config, &engine)?;

    let service = Service {
        engine: engine.clone(),
        counters,
        book: Arc::new(AccountBook::new(config.grants)),
        feed,
    };
    let told = NoticeCommand::new(config.approvals.notify);
    let serving = serve(listeners, &service, told, reloader, first_look);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .or_exit(SOFTWARE)?;
    let outcome = runtime.block_on(serving);

    notify::stopping();
    // While the engine still takes what it says.
    drop(inventory);
    if let Some(events) = events {
        events.stop();
    }
    join_engine(runtime.block_on(stop_engine(&engine)), engine_thread);
    say_stopped(enforces);
    outcome
}

/// What is done while no daemon runs, where that is what was asked for.
fn beside_the_daemon(config: &Config, cli: &Cli) -> Option<Result<(), Failure>> {
    if cli.detach {
        return Some(detach::detach(config));
    }
    if cli.new_journal {
        return Some(new_journal::new_journal(config));
    }
    let repair = || repair_journal::repair_journal(config, cli);
    cli.repair_journal.then(repair)
}

/// Opens the sockets, and says every warning that there is by now.
fn listen(config: &Config, warnings: &mut Vec<String>) -> Result<Listeners, Failure> {
    let (policy_socket, admin_socket) = (config.policy_socket(), config.admin_socket());
    let listeners =
        socket::listen(&policy_socket, &admin_socket, &config.socket_group).or_exit(CANT_CREATE)?;
    warnings.extend(listeners.warning.clone());
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(listeners)
}

fn say_stopped(enforces: bool) {
    if enforces {
        tracing::info!("stopped; what is protected in the kernel stays protected");
    } else {
        tracing::info!("stopped");
    }
}

/// An engine that hangs is left behind: the process ends all the same.
fn join_engine(stopped: bool, thread: JoinHandle<()>) {
    if stopped && thread.join().is_err() {
        tracing::error!("the engine thread had panicked");
    }
}

fn make_dirs(config: &Config) -> Result<(), Failure> {
    for (dir, mode) in [
        (&config.state_dir, 0o700),
        (&config.log_dir, 0o750),
        (&config.run_dir, 0o755),
    ] {
        make_dir(dir, mode)
            .map_err(|error| {
                anyhow::Error::new(error).context(format!("Failed to make {}", dir.display()))
            })
            .or_exit(CANT_CREATE)?;
    }
    Ok(())
}

fn start_failure(error: StartError) -> Failure {
    let code = match error {
        StartError::Kernel(_) => UNAVAILABLE,
        StartError::Journal { .. } | StartError::Audit(_) => CANT_CREATE,
    };
    Failure::new(code, error)
}

/// Attaches and tests the kernel side, or leaves it off as asked.
fn start_kernel(
    config: &Config,
    pins: Option<PinLock>,
    switch: BootSwitch,
    warnings: &mut Vec<String>,
) -> Result<KernelStart, Failure> {
    let off = KernelStart {
        side: KernelSide::Off,
        took_over: false,
        self_test_events: (0, 0),
    };
    if switch == BootSwitch::Off {
        if let Some(pins) = pins {
            pins.detach().or_exit(UNAVAILABLE)?;
        }
        warnings.push("vmward=off is on the kernel command line: nothing is enforced".to_owned());
        return Ok(off);
    }
    let Some(pins) = pins else {
        if config.pin_dir.exists() {
            warnings.push(format!(
                "a kernel side that was started before may still be in force under {}; remove it \
                 with `vmwardd --detach`",
                config.pin_dir.display()
            ));
        }
        return Ok(off);
    };
    let mut kernel = Kernel::attach(pins).or_exit(UNAVAILABLE)?;
    let took_over = kernel.took_over();
    kernel
        .set_call_rules(&config.call_rules())
        .or_exit(UNAVAILABLE)?;
    let before = kernel.totals().or_exit(UNAVAILABLE)?.events;
    kernel.self_test(&config.run_dir).or_exit(UNAVAILABLE)?;
    warnings.extend(attached::note(config));
    let after = kernel.totals().or_exit(UNAVAILABLE)?.events;
    tracing::info!(
        took_over,
        "the kernel side is attached and passed its self-test"
    );
    Ok(KernelStart {
        side: KernelSide::On(Box::new(kernel)),
        took_over,
        self_test_events: (before, after),
    })
}

/// Starts looking at libvirt, and at its files. The receiver hears of the first look.
fn start_inventory(
    config: &Config,
    engine: &EngineHandle,
) -> Result<(Vec<Watch>, oneshot::Receiver<()>), Failure> {
    let (first, first_look) = oneshot::channel();
    let mut first = Some(first);
    if config.is_unwatched() {
        drop(first);
        return Ok((Vec::new(), first_look));
    }
    let source = Source {
        program: inventory::program().or_exit(SOFTWARE)?,
        uri: config.libvirt_uri.clone(),
        run_dir: config.libvirt_run_dir.clone(),
    };
    let by_files = engine.clone();
    let files = inventory::start_by_files(config.libvirt_run_dir.clone(), move |sighting| {
        by_files.push(Message::Sighting(sighting))
    })
    .or_exit(SOFTWARE)?;
    let engine = engine.clone();
    let watch = inventory::start(source, move |sighting| {
        let is_answer = !matches!(sighting, Sighting::Started { .. });
        let taken = engine.push(Message::Sighting(sighting));
        if is_answer && let Some(first) = first.take() {
            // The start may have stopped waiting.
            let _unheard = first.send(());
        }
        taken
    })
    .or_exit(SOFTWARE)?;
    Ok((vec![watch, files], first_look))
}

/// Serves clients until a signal, or until the engine is gone.
async fn serve(
    listeners: Listeners,
    service: &Service,
    told: Option<NoticeCommand>,
    reloader: Reloader,
    first_look: oneshot::Receiver<()>,
) -> Result<(), Failure> {
    let engine = &service.engine;
    let mut terminate = signal(SignalKind::terminate()).or_exit(SOFTWARE)?;
    let mut interrupt = signal(SignalKind::interrupt()).or_exit(SOFTWARE)?;
    let hangup = signal(SignalKind::hangup()).or_exit(SOFTWARE)?;
    let (stop, stopping) = watched::channel(false);
    let mut all_permits = Vec::new();
    let (fatal, mut failed) = tokio::sync::mpsc::channel(1);
    let Listeners { policy, admin, .. } = listeners;
    if let Some(command) = told {
        notice::start(command, service);
    }
    host_rules::watch(engine.clone());
    let doors = std::iter::once((policy, Door::Policy));
    for (listener, door) in doors.chain(admin.map(|admin| (admin, Door::Admin))) {
        // Each door has its own: nobody at the one keeps anybody from the other.
        let permits = Arc::new(Semaphore::new(door.clients_max()));
        all_permits.push((door, Arc::clone(&permits)));
        let serving = socket::serve(listener, door, service.clone(), permits, stopping.clone());
        let fatal = fatal.clone();
        tokio::spawn(async move {
            if let Err(error) = serving.await {
                drop(fatal.send(Failure::new(SOFTWARE, error)).await);
            }
        });
    }

    // Reading a policy may take long: a signal to stop does not wait for it.
    let following = tokio::spawn(reloader.follow(hangup, engine.clone()));
    let (asked, counters) = (engine.clone(), Arc::clone(&service.counters));
    let heart = tokio::spawn(async move {
        // Ready means: the VMs that run now are protected.
        drop(timeout(FIRST_LOOK_DEADLINE, first_look).await);
        let ready = || {
            notify::ready("deciding");
            tracing::info!(pid = std::process::id(), "ready");
        };
        let alive = || {
            notify::watchdog();
            memory::give_back();
        };
        let ask = || heartbeat::ask(&asked);
        let failure = heartbeat::watch(ask, ready, alive, &counters).await;
        drop(fatal.send(failure).await);
    });
    let outcome = tokio::select! {
        () = heard(&mut terminate) => Ok("TERM"),
        () = heard(&mut interrupt) => Ok("INT"),
        Some(failure) = failed.recv() => Err(failure),
    };
    // Who stops does not get ready any more, nor does he miss an answer.
    heart.abort();
    following.abort();
    stop.send_replace(true);
    let drained = timeout(DRAIN_DEADLINE, all_gone(&all_permits))
        .await
        .is_ok();
    match outcome {
        Ok(signal) => {
            tracing::info!(signal, drained, "stopping as asked");
            Ok(())
        }
        Err(failure) => Err(failure),
    }
}

/// Waits until no client is left.
async fn all_gone(permits: &[(Door, Arc<Semaphore>)]) {
    for (door, permits) in permits {
        let all = u32::try_from(door.clients_max()).unwrap_or(u32::MAX);
        // They are never closed.
        drop(permits.acquire_many(all).await);
    }
}

async fn heard(signal: &mut Signal) {
    if signal.recv().await.is_none() {
        // The runtime is going down; whoever polls this is, too.
        std::future::pending::<()>().await;
    }
}

/// True when the engine has made everything durable.
async fn stop_engine(engine: &EngineHandle) -> bool {
    let (reply, answer) = oneshot::channel();
    if engine.offer(Message::Stop(reply)).is_err() {
        tracing::error!("the engine could not be told to stop");
        return false;
    }
    let stopped = matches!(timeout(ENGINE_DEADLINE, answer).await, Ok(Ok(())));
    if !stopped {
        tracing::error!("the engine did not stop in time; its state on disk is still good");
    }
    stopped
}
