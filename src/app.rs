//! The composition root: one configuration becomes a running service.
//!
//! Builds every part once, hands it to the parts that need it, and ends them in order. Decides nothing.

mod canary;
mod own_svid;
mod store;
mod telemetry;
mod watch;

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use self::telemetry::Telemetry;
use crate::clock::{Clock, Lifetime};
use crate::config::{self, Configuration, Environment, Loaded, Report};
use crate::entropy::Entropy;
use crate::exchange::{Exchange, Generation, GenerationId, Recorder, References};
use crate::issue::{Issuer, KeyRing};
use crate::jose::Algorithm;
use crate::lifecycle::{Drain, Drained, Readiness};
use crate::policy::{Policy, PolicyInput};
use crate::store::Store;
use crate::telemetry::{LogLines, Metrics};
use crate::trust::{PublicKeys, Trust};
use crate::wire::GrpcSettings;
use crate::wire::grpc::Door;
use crate::wire::http::{AdminState, admin_router, public_router};
use crate::wire::listener::{Limits, Listener};
use crate::wire::operator::{self, OperatorState};

/// A source that is down is shown, not waited for (design §4).
const FIRST_ATTEMPTS: Lifetime = Lifetime::from_seconds(5);

/// Where decision records go.
#[derive(Default)]
pub enum Records {
    /// Standard output, unless the configuration says otherwise.
    #[default]
    Stdout,
    /// A writer of the caller's.
    Writer(Box<dyn Write + Send>),
}

/// What a service is started with.
pub struct Start {
    /// The configuration file.
    pub config: PathBuf,
    /// What the configuration may ask of the environment.
    pub environment: Environment,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Where decision records go.
    pub records: Records,
}

/// Why a service did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is refused.
    #[error("the configuration is refused: {0}")]
    Refused(Box<Report>),
    /// Something else: an address, a folder, a certificate.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

/// A running service.
pub struct App {
    config: PathBuf,
    environment: Environment,
    fixed: Mutex<Configuration>,
    clock: Arc<dyn Clock>,
    exchange: Arc<Exchange>,
    trust: Arc<Trust>,
    recorder: Recorder,
    store: Store,
    readiness: Readiness,
    drain: Drain,
    background: CancellationToken,
    telemetry: Telemetry,
    public: SocketAddr,
    admin: SocketAddr,
}

/// How a reload ended.
#[derive(Debug)]
pub enum Reloaded {
    /// The new configuration is in use; its lints, and settings that need a restart.
    Taken {
        /// The name of the new generation.
        generation: GenerationId,
        /// Remarks on it.
        lints: Report,
        /// What changed and takes effect at the next start only.
        at_next_start: Vec<&'static str>,
    },
    /// It is the one that is in use.
    Unchanged,
    /// The old one stays.
    Refused(Report),
    /// The old one stays; the sentence says why.
    Impossible(String),
}

impl App {
    /// Reads the configuration, opens keys and sockets, and serves.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn start(start: Start) -> Result<Arc<Self>, StartError> {
        let Start { config, environment, clock, entropy, records } = start;
        let Loaded { configuration, lints } =
            load(&config, &environment).await?.map_err(|report| StartError::Refused(Box::new(report)))?;
        if !lints.findings().is_empty() {
            tracing::warn!("{}", lints.render(false));
        }
        let background = CancellationToken::new();
        let readiness = Readiness::new();
        let signing_ready = readiness.guard("signing key");
        let sources_ready = readiness.guard("first attempt of each source");

        let references = References::new(Arc::clone(&entropy));
        let metrics = Metrics::new(references.replica());
        let recorder = store::recorder(records, &configuration, &metrics).await?;
        let store = store::open(&configuration, &clock, &metrics).await?;
        let ring = open_ring(&configuration, &clock).await?;
        tokio::spawn(Arc::clone(&ring).watch(Arc::clone(&clock), background.clone()));
        signing_ready.release();

        let trust = Trust::new(
            configuration.state.directory.clone(),
            Arc::clone(&clock),
            Arc::clone(&entropy),
            background.clone(),
        );
        trust.count_liveness(metrics.liveness().clone());
        let generation = generation(&configuration, &trust)?;
        let issuer = Issuer::new(Arc::clone(&ring), Arc::clone(&entropy));
        tracing::info!(
            issuer = configuration.issuer.as_str(),
            generation = %generation.id(),
            replica = references.replica(),
            sources = configuration.sources.len(),
            rules = configuration.rules.len(),
            "starting"
        );
        let (telemetry, spans) = Telemetry::start(&configuration, &clock, &entropy, &metrics, references.replica())?;
        let exchange =
            Exchange::new(generation, issuer, Arc::clone(&clock), references, recorder.clone(), metrics, store.clone());
        let exchange = Arc::new(exchange.context("a key for nonces")?.with_spans(spans));
        let svids = own_svid::follow(&configuration, &clock, &entropy, &background, &readiness)?;
        let public = Listener::bind(&configuration.listen, svids).await.context("listen")?;
        let admin = Listener::bind_admin(&configuration.admin).await.context("admin")?;
        let (state, grpc) = (configuration.state.directory.clone(), configuration.grpc);
        let app = Arc::new(Self {
            config,
            environment,
            fixed: Mutex::new(configuration),
            clock: Arc::clone(&clock),
            exchange: Arc::clone(&exchange),
            trust: Arc::clone(&trust),
            recorder,
            store: store.clone(),
            readiness: readiness.clone(),
            drain: Drain::new(),
            background,
            telemetry,
            public: public.local_addr(),
            admin: admin.local_addr(),
        });
        app.serve(public, admin, grpc);
        app.serve_operator(&state).await;
        tokio::spawn(async move {
            let deadline = clock.now().plus(FIRST_ATTEMPTS);
            tokio::select! {
                () = trust.first_attempts() => {}
                () = clock.sleep_until(deadline) => {}
            }
            sources_ready.release();
        });
        tokio::spawn(store::forget(store, Arc::clone(&app.clock), app.background.clone()));
        let (ring, metrics) = (Arc::clone(app.exchange.issuer().ring()), app.exchange.metrics().clone());
        let (issuer, ca) = {
            let fixed = app.fixed.lock().await;
            (fixed.issuer.clone(), fixed.canary_ca.clone())
        };
        let public = PublicKeys::of(&issuer, ca);
        tokio::spawn(canary::follow(public, ring, Arc::clone(&app.clock), metrics, app.background.clone()));
        tokio::spawn(watch::follow(Arc::clone(&app)));
        Ok(app)
    }

    fn serve(&self, public: Listener, admin: Listener, grpc: GrpcSettings) {
        let state = AdminState {
            exchange: Arc::clone(&self.exchange),
            trust: Arc::clone(&self.trust),
            readiness: self.readiness.clone(),
        };
        let door = Door { settings: grpc, readiness: self.readiness.clone(), drain: self.drain.clone() };
        let routers = [(public, public_router(&self.exchange, door)), (admin, admin_router(state))];
        for (listener, router) in routers {
            let serving = listener.serve(router, Limits::STANDARD, self.drain.clone(), Arc::clone(&self.clock));
            tokio::spawn(serving);
        }
    }

    /// Without the socket the service runs all the same: only its commands do not.
    async fn serve_operator(&self, state_directory: &Path) {
        let state = OperatorState {
            exchange: Arc::clone(&self.exchange),
            trust: Arc::clone(&self.trust),
            readiness: self.readiness.clone(),
        };
        if let Err(error) = operator::serve(state_directory, state, &self.drain).await {
            tracing::warn!("there is no operator socket, explain and status will not work: {error}");
        }
    }

    /// The public address, with the port that was given.
    pub const fn public_address(&self) -> SocketAddr {
        self.public
    }

    /// The admin address.
    pub const fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Sends log lines where the configuration sends telemetry; without such a place they are dropped.
    pub async fn export_logs(&self, lines: LogLines) {
        self.telemetry.logs(lines).await;
    }

    /// Completes when the service is ready.
    pub async fn ready(&self) {
        self.readiness.ready().await;
    }

    /// The sources and their keys.
    pub const fn trust(&self) -> &Arc<Trust> {
        &self.trust
    }

    /// The core.
    pub const fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    /// Reads the configuration again. A bad one never replaces a good one; requests that are under way keep theirs.
    pub async fn reload(&self) -> Reloaded {
        let mut running = self.fixed.lock().await;
        let outcome = self.try_reload(&mut running).await;
        match &outcome {
            Reloaded::Taken { generation, lints, at_next_start } => {
                self.exchange.metrics().reloaded(true);
                tracing::info!(%generation, ?at_next_start, "the configuration was taken");
                if !lints.findings().is_empty() {
                    tracing::warn!("{}", lints.render(false));
                }
            }
            Reloaded::Unchanged => self.exchange.metrics().reload_settled(),
            Reloaded::Refused(report) => {
                self.exchange.metrics().reloaded(false);
                tracing::error!(
                    problems = report.problems(),
                    "the configuration is refused; the old one stays\n{}",
                    report.render(false)
                );
            }
            Reloaded::Impossible(why) => {
                self.exchange.metrics().reloaded(false);
                tracing::error!("the configuration is refused; the old one stays: {why}");
            }
        }
        outcome
    }

    async fn try_reload(&self, running: &mut Configuration) -> Reloaded {
        let loaded = match load(&self.config, &self.environment).await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(report)) => return Reloaded::Refused(report),
            Err(error) => return Reloaded::Impossible(format!("{error:#}")),
        };
        let Loaded { configuration, lints } = loaded;
        if configuration.hash == running.hash {
            return Reloaded::Unchanged;
        }
        if configuration.issuer != running.issuer {
            return Reloaded::Impossible(format!(
                "issuer is {} and would become {}: every verifier and every workload's audience depends on it; start a process with it",
                running.issuer, configuration.issuer
            ));
        }
        let ring = Arc::clone(self.exchange.issuer().ring());
        let (needed, at) = (algorithms(&configuration), self.clock.now());
        match tokio::task::spawn_blocking(move || ring.need(&needed, at)).await {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => return Reloaded::Impossible(format!("signing keys: {fault}")),
            Err(error) => return Reloaded::Impossible(format!("signing keys: {error}")),
        }
        let at_next_start = needs_restart(running, &configuration);
        match generation(&configuration, &self.trust) {
            Ok(generation) => {
                let id = generation.id().clone();
                self.exchange.replace(generation);
                *running = configuration;
                Reloaded::Taken { generation: id, lints, at_next_start }
            }
            Err(error) => Reloaded::Impossible(format!("{error:#}")),
        }
    }

    /// Stops accepting, lets running requests finish, writes the last records, and ends.
    pub async fn stop(&self) -> Drained {
        let deadline = self.clock.now().plus(Limits::STANDARD.drain);
        let drained = self.drain.wait(deadline, self.clock.as_ref()).await;
        self.background.cancel();
        self.trust.ended().await;
        let (recorder, store) = (self.recorder.clone(), self.store.clone());
        let _ = tokio::task::spawn_blocking(move || {
            recorder.finish();
            store.close();
        })
        .await;
        self.telemetry.end().await;
        drained
    }
}

async fn load(path: &Path, environment: &Environment) -> anyhow::Result<Result<Loaded, Report>> {
    let (path, environment) = (path.to_owned(), environment.clone());
    let settled = move || config::load_settled(&path, &environment);
    tokio::task::spawn_blocking(settled).await.context("reading the configuration")
}

async fn open_ring(configuration: &Configuration, clock: &Arc<dyn Clock>) -> anyhow::Result<Arc<KeyRing>> {
    let (settings, needed, clock) = (configuration.signing.clone(), algorithms(configuration), Arc::clone(clock));
    let opened = tokio::task::spawn_blocking(move || KeyRing::open(&settings, &needed, clock)).await;
    opened.context("opening the signing keys")?.context("signing keys")
}

/// The algorithms that resources ask for; ES256 always, so that there is a key before the first resource.
fn algorithms(configuration: &Configuration) -> std::collections::BTreeSet<Algorithm> {
    configuration.resources.iter().map(|resource| resource.algorithm).chain([Algorithm::ES256]).collect()
}

fn generation(configuration: &Configuration, trust: &Arc<Trust>) -> anyhow::Result<Generation> {
    let input = PolicyInput {
        issuer: &configuration.issuer,
        identity_domain: &configuration.identity_domain,
        sources: &configuration.sources,
        subjects: &configuration.subjects,
        resources: &configuration.resources,
        rules: &configuration.rules,
        tests: &configuration.tests,
    };
    // The configuration was loaded without a problem, so the same settings compile again.
    let policy = Policy::compile(&input).0.context("the policy does not compile")?;
    Ok(Generation::new(
        GenerationId::from_hash(&configuration.hash),
        configuration.issuer.clone(),
        configuration.identity_domain.clone(),
        trust.apply(&configuration.authorities()),
        policy,
        configuration.limits,
        configuration.grants.clone(),
    )
    .asking_for_nonces(configuration.dpop_nonce))
}

fn needs_restart(running: &Configuration, new: &Configuration) -> Vec<&'static str> {
    let parts = [
        ("listen", running.listen != new.listen),
        ("admin", running.admin != new.admin),
        ("signing", running.signing != new.signing || running.canary_ca != new.canary_ca),
        ("state", running.state != new.state),
        ("audit", running.audit != new.audit),
        ("grpc", running.grpc != new.grpc),
        ("telemetry", running.telemetry != new.telemetry),
    ];
    parts.into_iter().filter_map(|(part, changed)| changed.then_some(part)).collect()
}
