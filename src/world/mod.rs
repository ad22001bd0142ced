//! A pretend world of trust sources: a SPIFFE agent and Kubernetes clusters that speak the real protocols, for laptops and tests.
//!
//! Never a pretend countersign, and never part of a production image: nothing here decides whether a credential is good.

mod behaviour;
pub mod cluster;
mod fault;
pub mod forge;
mod https;
pub mod issuer;
pub mod keys;
mod places;
mod signature;
pub mod spiffe_agent;
mod surroundings;
pub mod x509;

use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

pub use self::behaviour::Behaviour;
pub use self::fault::WorldFault;
pub use self::places::ScratchDirectory;
pub use self::surroundings::Surroundings;

use self::cluster::{ClusterSettings, PretendCluster};
use self::issuer::PretendIssuer;
use self::spiffe_agent::{PretendTrustDomain, WorkloadApi};

/// The issuer that countless real clusters share, and both pretend ones.
pub const SHARED_ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// The issuer of GitHub's jobs, which the pretend CI system takes for its own.
pub const CI_ISSUER: &str = "https://token.actions.githubusercontent.com";
/// The issuer of the pretend login.
pub const LOGIN_ISSUER: &str = "https://login.example";

/// What a [`World`] is called and where it lives.
#[derive(Debug, Clone)]
pub struct WorldSettings {
    /// Where sockets, CA files and admin tokens go; made if missing, with mode 0700.
    pub directory: PathBuf,
    /// The name of the SPIFFE trust domain.
    pub trust_domain: String,
    /// The names of the two clusters.
    pub clusters: [String; 2],
    /// The issuer string of both clusters.
    pub issuer: String,
}

impl WorldSettings {
    /// `prod.example` and the clusters `eu1` and `edge-2`, all under `directory`.
    pub fn in_directory(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            trust_domain: String::from("prod.example"),
            clusters: [String::from("eu1"), String::from("edge-2")],
            issuer: String::from(SHARED_ISSUER),
        }
    }
}

/// One SPIFFE trust domain with its agent, two clusters with the same issuer string and different keys, a CI system and a login.
#[derive(Debug)]
pub struct World {
    directory: PathBuf,
    agent: WorkloadApi,
    clusters: [PretendCluster; 2],
    ci: PretendIssuer,
    login: PretendIssuer,
}

impl World {
    /// Starts everything. It runs until `stop` is cancelled.
    ///
    /// # Errors
    /// When a file, socket or port cannot be made.
    pub async fn start(
        settings: WorldSettings,
        surroundings: &Surroundings,
        stop: &CancellationToken,
    ) -> Result<Self, WorldFault> {
        let directory = settings.directory;
        places::make_private_directory(&directory)?;
        let domain = PretendTrustDomain::new(&settings.trust_domain, surroundings)?;
        let agent = WorkloadApi::start(directory.join("agent.sock"), &domain, stop).await?;
        let [first, second] = settings.clusters;
        let first = start_cluster(&directory, &first, &settings.issuer, surroundings, stop).await?;
        let second = start_cluster(&directory, &second, &settings.issuer, surroundings, stop).await?;
        let ci = start_issuer(&directory, "ci", CI_ISSUER, surroundings, stop).await?;
        let login = start_issuer(&directory, "login", LOGIN_ISSUER, surroundings, stop).await?;
        Ok(Self { directory, agent, clusters: [first, second], ci, login })
    }

    /// Where its files are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The Workload API server of the trust domain.
    pub const fn agent(&self) -> &WorkloadApi {
        &self.agent
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &PretendTrustDomain {
        self.agent.domain()
    }

    /// The two clusters.
    pub const fn clusters(&self) -> &[PretendCluster; 2] {
        &self.clusters
    }

    /// The cluster called `name`.
    pub fn cluster(&self, name: &str) -> Option<&PretendCluster> {
        self.clusters.iter().find(|cluster| cluster.name() == name)
    }

    /// The CI system, whose jobs are workloads.
    pub const fn ci(&self) -> &PretendIssuer {
        &self.ci
    }

    /// The login, whose tokens are of people.
    pub const fn login(&self) -> &PretendIssuer {
        &self.login
    }

    /// The CA certificate file of a cluster or issuer, mode 0644.
    pub fn ca_file(&self, cluster: &str) -> PathBuf {
        ca_file(&self.directory, cluster)
    }

    /// The admin token file of a cluster, mode 0600.
    pub fn admin_token_file(&self, cluster: &str) -> PathBuf {
        admin_token_file(&self.directory, cluster)
    }

    /// Completes when all servers have ended after `stop` was cancelled.
    pub async fn stopped(&self) {
        self.agent.stop().await;
        for cluster in &self.clusters {
            cluster.stop().await;
        }
        self.ci.stop().await;
        self.login.stop().await;
    }
}

fn ca_file(directory: &Path, cluster: &str) -> PathBuf {
    directory.join(format!("{cluster}-ca.crt"))
}

fn admin_token_file(directory: &Path, cluster: &str) -> PathBuf {
    directory.join(format!("{cluster}-admin.token"))
}

async fn start_cluster(
    directory: &Path,
    name: &str,
    issuer: &str,
    surroundings: &Surroundings,
    stop: &CancellationToken,
) -> Result<PretendCluster, WorldFault> {
    let cluster = PretendCluster::start(ClusterSettings::new(name, issuer), surroundings, stop).await?;
    places::write_public_file(&ca_file(directory, name), cluster.ca_pem())?;
    places::write_private_file(&admin_token_file(directory, name), cluster.admin_token().expose())?;
    Ok(cluster)
}

async fn start_issuer(
    directory: &Path,
    name: &str,
    issuer: &str,
    surroundings: &Surroundings,
    stop: &CancellationToken,
) -> Result<PretendIssuer, WorldFault> {
    let issuer = PretendIssuer::start(name, issuer, surroundings, stop).await?;
    places::write_public_file(&ca_file(directory, name), issuer.ca_pem())?;
    Ok(issuer)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_world_writes_its_files_and_stops() {
        let place = ScratchDirectory::new().unwrap();
        let stop = CancellationToken::new();
        let world =
            World::start(WorldSettings::in_directory(place.path().join("world")), &Surroundings::system(), &stop)
                .await
                .unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&world.ca_file("eu1")), 0o644);
        assert_eq!(mode(&world.admin_token_file("edge-2")), 0o600);
        assert_eq!(mode(world.directory()), 0o700);
        let [first, second] = world.clusters();
        assert_eq!(first.issuer(), second.issuer());
        assert_ne!(first.jwks()["keys"], second.jwks()["keys"], "K8S-09 needs different keys");
        assert!(world.agent().socket().exists());
        stop.cancel();
        world.stopped().await;
        assert!(!world.agent().socket().exists());
    }
}
