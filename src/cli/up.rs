//! `countersign up`: the product over pretend sources, on one machine, in one command.
//!
//! The same code and configuration as `serve`; only the platforms are pretend.

mod demonstrate;
mod generated;

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::output::{aside, line, logs, runtime};
use super::surroundings::{Cluster, Surroundings as Facts};
use super::{Exit, Format};
use crate::app::{App, Records, Start, StartError};
use crate::clock::SystemClock;
use crate::config::Environment;
use crate::entropy::SystemEntropy;
use crate::world::cluster::PretendCluster;
use crate::world::{Surroundings, World, WorldSettings};

/// Run the service with pretend sources on this machine: one command, no root, no network.
///
/// Starts a SPIFFE Workload API on a Unix socket, two Kubernetes API servers with the same issuer string, and the service over
/// them with a generated configuration. Makes three exchanges through the real doors and prints what happened. Then runs on
/// until Ctrl-C, so that you can try your own clients.
#[derive(Debug, Args)]
pub(super) struct Up {
    /// Where sockets, certificates, keys and the configuration go
    #[arg(long, default_value = "./.countersign")]
    directory: PathBuf,
    /// Where the service listens; a loopback address, port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8484")]
    listen: SocketAddr,
    /// End after the three exchanges
    #[arg(long)]
    once: bool,
    /// How to print the result
    #[arg(short = 'o', long = "format", alias = "output", value_enum, default_value_t)]
    output: Format,
}

impl Up {
    pub(super) fn run(self) -> Exit {
        drop(logs("warn"));
        match runtime() {
            Ok(runtime) => runtime.block_on(async {
                match self.up().await {
                    Ok(exit) => exit,
                    Err(error) => {
                        aside(format!("countersign up: {error:#}"));
                        Exit::Problem
                    }
                }
            }),
            Err(error) => {
                aside(format!("countersign up: {error:#}"));
                Exit::Problem
            }
        }
    }

    async fn up(self) -> anyhow::Result<Exit> {
        if !self.listen.ip().is_loopback() {
            aside(
                "countersign up: --listen takes a loopback address: pretend sources vouch for anybody on this machine",
            );
            return Ok(Exit::Usage);
        }
        let stop = CancellationToken::new();
        std::fs::create_dir_all(&self.directory).with_context(|| format!("making {}", self.directory.display()))?;
        let directory =
            self.directory.canonicalize().with_context(|| format!("finding {}", self.directory.display()))?;
        let world = World::start(WorldSettings::in_directory(&directory), &Surroundings::system(), &stop)
            .await
            .context("starting the pretend sources")?;
        demonstrate::populate(&world);
        let (records, mut decisions) = RecordFile::open(&directory.join("records.jsonl"))?;
        let (app, listen, config) = match self.start(&world, &records).await {
            Ok(started) => started,
            Err(StartError::Other(error)) => return Err(error),
            Err(refused) => return Ok(super::serve::refuse(&refused)),
        };
        app.ready().await;
        let place = demonstrate::Place { world: &world, issuer: format!("http://{listen}"), config };
        let facts = serde_json::to_string(&place.surroundings(app.admin_address()))?;
        std::fs::write(Facts::file_in(&directory), &facts).context("writing up.json")?;
        let exit = match self.output {
            Format::Json => {
                line(facts);
                if self.once { demonstrate::exchanges(&place, None).await? } else { Exit::Ok }
            }
            Format::Text => {
                place.introduce(app.admin_address());
                let exit = demonstrate::exchanges(&place, Some(&mut decisions)).await?;
                place.say_next(&directory.join("records.jsonl"));
                exit
            }
        };
        if !self.once {
            if self.output == Format::Text {
                line("\nRunning until Ctrl-C.");
            }
            until_told().await?;
        }
        app.stop().await;
        stop.cancel();
        world.stopped().await;
        Ok(exit)
    }
}

impl Up {
    /// Starts the product as `serve` does, with the generated configuration.
    async fn start(&self, world: &World, records: &RecordFile) -> Result<(Arc<App>, SocketAddr, PathBuf), StartError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let listen = free_port(self.listen).context("finding a free port")?;
            let config = generated::write(world, listen).context("writing the configuration")?;
            let start = Start {
                config: config.clone(),
                environment: Environment::default(),
                clock: Arc::new(SystemClock),
                entropy: Arc::new(SystemEntropy),
                records: Records::Writer(Box::new(records.again().context("opening the records")?)),
            };
            match App::start(start).await {
                Ok(app) => return Ok((app, listen, config)),
                Err(StartError::Other(error)) if self.listen.port() == 0 && tries < TRIES && is_taken(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn is_taken(error: &anyhow::Error) -> bool {
    let kind = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
    kind == Some(std::io::ErrorKind::AddrInUse)
}

/// How often another port is tried when a free one was taken in the moment before it was bound.
const TRIES: usize = 5;

/// The port is written into the configuration (it is part of the issuer), so it has to be known before the service binds it.
fn free_port(listen: SocketAddr) -> std::io::Result<SocketAddr> {
    if listen.port() == 0 { std::net::TcpListener::bind(listen)?.local_addr() } else { Ok(listen) }
}

/// The file of decision records, which also hands each line to whoever tells about it.
struct RecordFile {
    file: std::fs::File,
    lines: UnboundedSender<Vec<u8>>,
}

impl RecordFile {
    fn open(path: &Path) -> anyhow::Result<(Self, UnboundedReceiver<Vec<u8>>)> {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        let file = file.with_context(|| format!("opening {}", path.display()))?;
        let (lines, told) = unbounded_channel();
        Ok((Self { file, lines }, told))
    }

    fn again(&self) -> std::io::Result<Self> {
        Ok(Self { file: self.file.try_clone()?, lines: self.lines.clone() })
    }
}

impl Write for RecordFile {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.file.write_all(line)?;
        // Nobody listens once the three exchanges are told.
        let _ = self.lines.send(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

async fn until_told() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

impl demonstrate::Place<'_> {
    fn surroundings(&self, admin: SocketAddr) -> Facts {
        let cluster = |cluster: &PretendCluster| Cluster {
            name: cluster.name().to_owned(),
            url: cluster.url().to_owned(),
            ca_file: self.world.ca_file(cluster.name()),
            admin_token_file: self.world.admin_token_file(cluster.name()),
        };
        Facts {
            issuer: self.issuer.clone(),
            config: self.config.clone(),
            workload_api: self.world.agent().address(),
            clusters: self.world.clusters().iter().map(cluster).collect(),
            admin: format!("http://{admin}"),
        }
    }
}
