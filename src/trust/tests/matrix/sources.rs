//! One source of each column, and how it is spoiled and mended.

use std::sync::atomic::Ordering;

use super::super::*;
use super::beside::{Flow, Line, Nobody};
use super::{Column, Fault};
use crate::world::cluster::{ClusterSettings, DISCOVERY_PATH, JWKS_PATH, PretendCluster};
use crate::world::keys::{NamedKey, odd_key};
use crate::world::spiffe_agent::{PretendTrustDomain, Rpc, WorkloadApi};
use crate::world::{Behaviour, Surroundings};

const PROD: &str = "prod.example";
const DELAY: Lifetime = Lifetime::from_seconds(5);

/// Whose keys they are.
enum Owner {
    Domain(PretendTrustDomain),
    Cluster(PretendCluster),
}

/// How the keys come.
enum Way {
    Agent { api: WorkloadApi, line: Line },
    Https { path: &'static str },
    File(PathBuf),
}

/// The source `it` of one cell.
pub(super) struct Subject {
    pub(super) stand: Stand,
    pub(super) source: Arc<TrustedSource>,
    owner: Owner,
    way: Way,
    nobody: Nobody,
    /// The key before the rotation.
    old: NamedKey,
    /// Calls of an agent that was replaced.
    earlier_calls: u64,
}

impl Subject {
    /// Starts the source and waits for its first attempt. All is well, unless the fault is one of the start.
    pub(super) async fn of(column: Column, fault: Fault) -> Self {
        let stand = Stand::new();
        let surroundings = Surroundings::with_clock(Arc::new(stand.clock.clone()));
        let nobody = Nobody::listen().await;
        let down = fault == Fault::DownAtStart;
        let (owner, way, keys) = match column {
            Column::WorkloadApi | Column::File => {
                let trust_domain = PretendTrustDomain::new(PROD, &surroundings).unwrap();
                let (way, keys) = of_domain(&stand, column, &trust_domain, down).await;
                (Owner::Domain(trust_domain), way, domain("it", PROD, keys))
            }
            Column::Discovery | Column::JwksUrl | Column::ApiServer => {
                let mut settings = ClusterSettings::new("it", ISSUER);
                settings.algorithm = Algorithm::ES256;
                let pretend = PretendCluster::start(settings, &surroundings, &stand.stop).await.unwrap();
                let (path, keys) = of_cluster(&stand, column, &pretend);
                if down {
                    pretend.stop().await;
                }
                (Owner::Cluster(pretend), Way::Https { path }, cluster("it", keys))
            }
        };
        let view = stand.trust.apply(&[keys]);
        stand.trust.first_attempts().await;
        let old = owner.active_key();
        let subject = Self { source: source(&view, "it"), stand, owner, way, nobody, old, earlier_calls: 0 };
        if fault == Fault::RolledBack {
            subject.rotate();
            subject.one_attempt(fault).await;
            until("the rotation is followed", || subject.held() == Some(subject.published())).await;
        }
        if let Way::Https { .. } = subject.way {
            until("asleep", || subject.status().next_attempt.is_some()).await;
        }
        subject
    }

    /// What the source publishes now.
    pub(super) fn published(&self) -> BTreeSet<String> {
        self.owner.published()
    }

    /// What we hold; nothing when no key may be used.
    pub(super) fn held(&self) -> Option<BTreeSet<String>> {
        key_ids(&self.source, self.stand.now())
    }

    pub(super) fn status(&self) -> SourceStatus {
        self.stand.status("it")
    }

    pub(super) fn is_well(&self) -> bool {
        self.status().last_error.is_none()
    }

    /// How often the source was asked: requests over https, calls of an agent. Reading a file asks nobody.
    pub(super) fn requests(&self) -> u64 {
        match (&self.way, &self.owner) {
            (Way::Agent { api, .. }, _) => self.earlier_calls + api.calls(Rpc::FetchJwtBundles),
            (Way::Https { .. }, Owner::Cluster(cluster)) => cluster.all_requests(),
            _ => 0,
        }
    }

    /// How often somebody was asked who should not be.
    pub(super) fn visits(&self) -> usize {
        self.nobody.visits.load(Ordering::SeqCst)
    }

    pub(super) async fn spoil(&mut self, fault: Fault) {
        match fault {
            Fault::DownAtStart => {}
            Fault::OneBadKey => {
                self.owner.publish_odd_key();
                self.rotate();
            }
            Fault::Empty => self.owner.publish_empty(true),
            Fault::Rotated => self.rotate(),
            Fault::RolledBack => self.owner.roll_back(&self.old),
            _ => self.spoil_way(fault).await,
        }
        if self.is_content(fault) {
            self.write();
        }
    }

    async fn spoil_way(&mut self, fault: Fault) {
        let behaviour = match fault {
            Fault::Slow => Behaviour::Slow(DELAY),
            Fault::Hangs => Behaviour::Hang,
            Fault::TenMegabytes => Behaviour::Huge,
            Fault::Garbage => Behaviour::Garbage,
            Fault::Redirect => Behaviour::Redirect(format!("https://{}/keys", self.nobody.address)),
            Fault::WrongIssuer => Behaviour::Body(
                json!({ "issuer": "https://other.example", "jwks_uri": "https://x" }).to_string().into(),
            ),
            _ => Behaviour::Good,
        };
        match (&mut self.way, &self.owner) {
            (Way::Https { path }, Owner::Cluster(cluster)) => match fault {
                Fault::DownLater => cluster.stop().await,
                Fault::OtherAuthority => {
                    let other = crate::world::x509::CertificateAuthority::for_servers("other").unwrap();
                    drop(self.stand.write("ca.crt", other.pem()));
                }
                _ => cluster.behave(path, behaviour),
            },
            (Way::Agent { api, line }, Owner::Domain(domain)) => match fault {
                Fault::DownLater => api.stop().await,
                Fault::Slow => line.set(Flow::Late),
                Fault::Hangs => line.set(Flow::Stalled),
                Fault::TenMegabytes => api.send_also("spiffe://big.example", Some(ten_megabytes())),
                Fault::Garbage => domain.publish_raw(Some(b"<html>".to_vec())),
                Fault::WrongIssuer => {
                    api.stop().await;
                    self.earlier_calls = api.calls(Rpc::FetchJwtBundles);
                    let other = PretendTrustDomain::new("other.example", domain.surroundings()).unwrap();
                    *api = WorkloadApi::start(self.stand.path("agent.sock"), &other, &self.stand.stop).await.unwrap();
                }
                other => panic!("an agent cannot be spoiled by {other:?}"),
            },
            (Way::File(path), _) => match fault {
                Fault::DownLater => std::fs::remove_file(path).unwrap(),
                Fault::Hangs => {
                    std::fs::remove_file(&path).unwrap();
                    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
                }
                Fault::TenMegabytes => std::fs::write(path, ten_megabytes()).unwrap(),
                Fault::Garbage => std::fs::write(path, "<html>").unwrap(),
                other => panic!("a file cannot be spoiled by {other:?}"),
            },
            _ => panic!("no such source"),
        }
    }

    /// Lets the next attempt begin; a stream needs none, unless its fault is that nothing comes.
    pub(super) async fn one_attempt(&self, fault: Fault) {
        let clock = &self.stand.clock;
        if fault == Fault::DownAtStart {
            return;
        }
        match (&self.way, fault) {
            // Its sign of life is due.
            (Way::Agent { .. }, Fault::Hangs) => clock.advance(Lifetime::from_minutes(5)),
            (Way::Agent { line, .. }, Fault::Slow) => {
                // The connection is lost, and the next one is slow to answer.
                until("lost", || self.status().next_attempt.is_some()).await;
                self.stand.to_next_attempt("it").await;
                until("connected", || line.waits()).await;
                clock.advance(DELAY);
                line.set(Flow::Open);
            }
            (Way::Agent { .. }, Fault::WrongIssuer) => {
                until("lost", || self.status().next_attempt.is_some()).await;
                self.stand.to_next_attempt("it").await;
            }
            (Way::Agent { .. }, _) => {}
            (Way::Https { .. }, Fault::Slow) => {
                let before = self.requests();
                self.stand.to_next_attempt("it").await;
                until("asked", || self.requests() > before).await;
                assert!(self.held().is_some_and(|held| !held.is_empty()), "last good keys serve meanwhile");
                // The answer's five seconds begin a moment after the request is counted.
                let ended = || {
                    clock.advance(Lifetime::from_seconds(1));
                    self.status().next_attempt.is_some()
                };
                until("answered", ended).await;
            }
            _ => self.stand.to_next_attempt("it").await,
        }
    }

    /// Takes the fault away.
    pub(super) async fn mend(&mut self, fault: Fault) {
        self.owner.mend();
        match (&mut self.way, &self.owner) {
            (Way::Https { .. }, Owner::Cluster(cluster)) => {
                cluster.behave_well();
                cluster.start_again().await.unwrap();
                drop(self.stand.write("ca.crt", cluster.ca_pem()));
            }
            (Way::Agent { api, line }, Owner::Domain(domain)) => {
                line.set(Flow::Open);
                api.send_also("spiffe://big.example", None);
                if fault == Fault::WrongIssuer {
                    api.stop().await;
                    *api = WorkloadApi::start(self.stand.path("agent.sock"), domain, &self.stand.stop).await.unwrap();
                }
                api.start_again().await.unwrap();
            }
            (Way::File(path), _) => drop(std::fs::remove_file(path)),
            _ => {}
        }
        self.write();
    }

    fn rotate(&self) {
        self.owner.rotate();
        self.write();
    }

    fn is_content(&self, fault: Fault) -> bool {
        matches!(fault, Fault::OneBadKey | Fault::Empty | Fault::Rotated | Fault::RolledBack)
    }

    /// Writes the file of a source that has one.
    fn write(&self) {
        if let (Way::File(path), Owner::Domain(domain)) = (&self.way, &self.owner) {
            std::fs::write(path, domain.spiffe_bundle().to_string()).unwrap();
        }
    }
}

async fn of_domain(stand: &Stand, column: Column, of: &PretendTrustDomain, down: bool) -> (Way, SpiffeKeys) {
    if column == Column::File {
        let path = stand.path("bundle.json");
        if !down {
            std::fs::write(&path, of.spiffe_bundle().to_string()).unwrap();
        }
        return (Way::File(path.clone()), SpiffeKeys::BundleFile(path));
    }
    let api = WorkloadApi::start(stand.path("agent.sock"), of, &stand.stop).await.unwrap();
    if down {
        api.stop().await;
    }
    let line = Line::between(&stand.path("line.sock"), stand.path("agent.sock"));
    (Way::Agent { api, line }, SpiffeKeys::WorkloadApi(format!("unix:{}", stand.path("line.sock").display())))
}

/// Of discovery it is the document that is spoiled: its keys are those of a URL.
fn of_cluster(stand: &Stand, column: Column, of: &PretendCluster) -> (&'static str, IssuerKeys) {
    let ca = Some(stand.write("ca.crt", of.ca_pem()));
    match column {
        Column::Discovery => (DISCOVERY_PATH, IssuerKeys::Discovery(endpoint(of.url(), ca))),
        Column::JwksUrl => (JWKS_PATH, IssuerKeys::Url(endpoint(&format!("{}{JWKS_PATH}", of.url()), ca))),
        _ => (JWKS_PATH, IssuerKeys::ApiServer(endpoint(of.url(), ca))),
    }
}

fn ten_megabytes() -> Vec<u8> {
    format!(r#"{{"keys":[],"filler":"{}"}}"#, "x".repeat(10 * 1024 * 1024)).into_bytes()
}

impl Owner {
    fn active_key(&self) -> NamedKey {
        match self {
            Self::Domain(owner) => owner.active_key(),
            Self::Cluster(owner) => owner.active_key(),
        }
    }

    /// The ids of the keys that are published and usable.
    fn published(&self) -> BTreeSet<String> {
        let document = match self {
            Self::Domain(owner) => owner.spiffe_bundle(),
            Self::Cluster(owner) => owner.jwks(),
        };
        let keys = document.get("keys").and_then(Value::as_array).unwrap();
        let says = |key: &Value, member: &str, text: &str| key.get(member).is_some_and(|value| value == text);
        let usable = keys.iter().filter(|key| !says(key, "kty", "AKP") && !says(key, "use", "x509-svid"));
        usable.map(|key| key.get("kid").and_then(Value::as_str).unwrap().to_owned()).collect()
    }

    fn rotate(&self) {
        let old = self.active_key();
        match self {
            Self::Domain(owner) => owner.rotate(Algorithm::ES256).and_then(|_new| owner.withdraw(old.kid())).unwrap(),
            Self::Cluster(owner) => owner.rotate(Algorithm::ES256).and_then(|_new| owner.withdraw(old.kid())).unwrap(),
        }
    }

    fn roll_back(&self, old: &NamedKey) {
        let new = self.active_key();
        match self {
            Self::Domain(owner) => {
                owner.adopt(old.clone());
                owner.withdraw(new.kid()).unwrap();
            }
            Self::Cluster(owner) => {
                owner.adopt(old.clone());
                owner.withdraw(new.kid()).unwrap();
            }
        }
    }

    fn publish_odd_key(&self) {
        match self {
            Self::Domain(owner) => owner.publish_extra(odd_key()),
            Self::Cluster(owner) => owner.publish_extra(odd_key()),
        }
    }

    fn publish_empty(&self, empty: bool) {
        match self {
            Self::Domain(owner) => owner.publish_empty(empty),
            Self::Cluster(owner) => owner.publish_empty(empty),
        }
    }

    fn mend(&self) {
        self.publish_empty(false);
        match self {
            Self::Domain(owner) => {
                owner.withdraw_extra();
                owner.publish_raw(None);
            }
            Self::Cluster(owner) => owner.withdraw_extra(),
        }
    }
}
