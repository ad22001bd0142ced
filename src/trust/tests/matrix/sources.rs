//! One source of each column, and how it is spoiled and mended.

use std::sync::atomic::Ordering;

use tokio::net::TcpSocket;

use super::super::*;
use super::beside::{Flow, Nobody};
use super::owner::{Owner, authorities_of, keys_of};
use super::ways::{Way, of_cluster, of_domain, stop, ten_megabytes};
use super::{Column, Fault};
use crate::jose::{KeyPurpose, KeySet};
use crate::trust::{NotTaken, Push};
use crate::world::cluster::{ClusterSettings, PretendCluster};
use crate::world::keys::NamedKey;
use crate::world::spiffe_agent::{PretendTrustDomain, Rpc, WorkloadApi};
use crate::world::{Behaviour, Surroundings};

const PROD: &str = "prod.example";
const DELAY: Lifetime = Lifetime::from_seconds(5);

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
    /// The port of a cluster that is down.
    held_port: Option<TcpSocket>,
}

impl Subject {
    /// Starts the source and waits for its first attempt. All is well, unless the fault is one of the start.
    pub(super) async fn of(column: Column, fault: Fault) -> Self {
        let stand = Stand::new();
        let surroundings = Surroundings::with_clock(Arc::new(stand.clock.clone()));
        let nobody = Nobody::listen().await;
        let down = fault == Fault::DownAtStart;
        let mut held_port = None;
        let (owner, way, keys) = match column {
            Column::WorkloadApi | Column::BundleWeb | Column::BundleSpiffe | Column::File => {
                let trust_domain = PretendTrustDomain::new(PROD, &surroundings).unwrap();
                let (way, keys) = of_domain(&stand, column, &trust_domain, down).await;
                if let (Way::Bundles(served), true) = (&way, down) {
                    held_port = served.stop().await;
                }
                (Owner::Domain(trust_domain), way, domain("it", PROD, keys))
            }
            Column::Discovery | Column::JwksUrl | Column::ApiServer | Column::Push => {
                let mut settings = ClusterSettings::new("it", ISSUER);
                settings.algorithm = Algorithm::ES256;
                let pretend = PretendCluster::start(settings, &surroundings, &stand.stop).await.unwrap();
                let (way, keys) = of_cluster(&stand, column, &pretend, down);
                if down {
                    held_port = stop(&pretend).await;
                }
                (Owner::Cluster(pretend), way, cluster("it", keys))
            }
        };
        let view = stand.trust.apply(&[keys]);
        stand.trust.first_attempts().await;
        let old = owner.active_key();
        let subject = Self { source: source(&view, "it"), stand, owner, way, nobody, old, earlier_calls: 0, held_port };
        if fault == Fault::RolledBack {
            subject.owner.add_authority();
            subject.rotate().await;
            subject.one_attempt(fault).await;
            until("the rotation is followed", || subject.held() == Some(subject.published())).await;
        }
        if subject.is_asked_by_https() {
            until("asleep", || subject.status().next_attempt.is_some()).await;
        }
        subject
    }

    /// What the source publishes now.
    pub(super) fn published(&self) -> BTreeSet<String> {
        self.named_by(&self.owner.document())
    }

    /// What it published before the rotation.
    pub(super) fn published_before(&self) -> BTreeSet<String> {
        let Way::Bundles(served) = &self.way else { panic!("only bundles are numbered") };
        self.named_by(&served.old())
    }

    /// Keys, and of whole bundles the X.509 authorities too. An agent's come by a stream of their own.
    fn named_by(&self, document: &Value) -> BTreeSet<String> {
        let mut names = keys_of(document);
        if self.has_whole_bundles() {
            names.append(&mut authorities_of(document));
        }
        names
    }

    /// What we hold; nothing when nothing may be used.
    pub(super) fn held(&self) -> Option<BTreeSet<String>> {
        self.held_at(self.stand.now())
    }

    /// What may be used of it at that time.
    pub(super) fn held_at(&self, at: Timestamp) -> Option<BTreeSet<String>> {
        let keys = key_ids(&self.source, at);
        let authorities = self.source.authorities_at(at).ok().filter(|_| self.has_whole_bundles());
        if keys.is_none() && authorities.is_none() {
            return None;
        }
        let all = authorities.iter().flat_map(|held| held.all());
        Some(keys.into_iter().flatten().chain(all.map(|one| one.fingerprint().to_owned())).collect())
    }

    const fn has_whole_bundles(&self) -> bool {
        matches!((&self.owner, &self.way), (Owner::Domain(_), Way::Bundles(_) | Way::File(_)))
    }

    const fn is_asked_by_https(&self) -> bool {
        matches!(self.way, Way::Https { .. } | Way::Bundles(_))
    }

    pub(super) fn status(&self) -> SourceStatus {
        self.stand.status("it")
    }

    pub(super) fn is_well(&self) -> bool {
        self.status().last_error.is_none()
    }

    /// Waits for a condition that the machine brings about.
    pub(super) async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        assert!(came(holds).await, "never: {what}; {:?}", self.status());
    }

    /// How often the source was asked: requests over https, calls of an agent. Reading a file asks nobody.
    pub(super) fn requests(&self) -> u64 {
        match (&self.way, &self.owner) {
            (Way::Agent { api, .. }, _) => self.earlier_calls + api.calls(Rpc::FetchJwtBundles),
            (Way::Https { .. }, Owner::Cluster(cluster)) => cluster.all_requests(),
            (Way::Bundles(served), _) => served.requests(),
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
                self.rotate().await;
            }
            Fault::Empty => self.owner.publish_empty(true),
            Fault::Rotated => {
                self.owner.add_authority();
                self.owner.withdraw_authorities();
                self.rotate().await;
            }
            Fault::RolledBack => {
                if let Way::Bundles(served) = &self.way {
                    return served.replay();
                }
                self.owner.roll_back(&self.old);
                if let Way::Push(_) = self.way {
                    assert_eq!(
                        self.push(&self.old, &[]).await,
                        Err(NotTaken::KeyGone),
                        "a withdrawn key pushes nothing"
                    );
                }
            }
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
                Fault::DownLater => self.held_port = stop(cluster).await,
                Fault::OtherAuthority => {
                    let other = crate::world::x509::CertificateAuthority::for_servers("other").unwrap();
                    drop(self.stand.write("ca.crt", other.pem()));
                }
                _ => cluster.behave(path, behaviour),
            },
            (Way::Bundles(served), _) => match fault {
                Fault::DownLater => self.held_port = served.stop().await,
                Fault::WrongIssuer => served.be_another(),
                Fault::OtherAuthority => served.be_vouched_for_by_another(),
                _ => served.behave(behaviour),
            },
            (Way::Agent { api, line }, Owner::Domain(domain)) => match fault {
                Fault::DownLater => api.stop().await,
                Fault::Slow => line.set(Flow::Late),
                Fault::Hangs => {
                    line.set(Flow::Stalled);
                    until("nothing passes", || !line.passes()).await;
                }
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
            // Whoever pushes comes no more.
            (Way::Push(_), _) => assert_eq!(fault, Fault::DownLater),
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
            (Way::Agent { .. } | Way::Push(_), _) => {}
            (_, Fault::Slow) => {
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
        if let (Way::Push(_), Fault::RolledBack) = (&self.way, fault) {
            // First keys that were taken once are not taken again: the cluster moves on.
            self.owner.rotate();
        }
        match (&mut self.way, &self.owner) {
            (Way::Https { .. }, Owner::Cluster(cluster)) => {
                cluster.behave_well();
                self.held_port = None;
                cluster.start_again().await.unwrap();
                drop(self.stand.write("ca.crt", cluster.ca_pem()));
            }
            (Way::Bundles(served), _) => {
                self.held_port = None;
                served.mend(fault).await;
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
            (Way::Push(first), Owner::Cluster(cluster)) => drop(std::fs::write(first, cluster.jwks().to_string())),
            _ => {}
        }
        self.write();
    }

    /// Waits until the source is well and holds what is published, from attempt to attempt.
    pub(super) async fn healed(&self, about: &str) {
        let truth = self.published();
        let healed = || self.is_well() && self.held().as_ref() == Some(&truth);
        if let Way::Push(_) = self.way {
            let looked_at = || {
                self.stand.clock.advance(Lifetime::from_seconds(5));
                healed()
            };
            return until(&format!("{about}: healed"), looked_at).await;
        }
        self.stand.through_attempts("it", &format!("{about}: healed"), healed).await;
    }

    async fn rotate(&self) {
        let old = self.owner.active_key();
        self.owner.rotate();
        self.write();
        if let Way::Push(_) = self.way {
            // The new key comes by the old one's word, and takes the old one away by its own.
            self.push(&old, &[&old]).await.unwrap();
            self.push(&self.owner.active_key(), &[]).await.unwrap();
        }
    }

    /// Pushes what is published and these keys, with a token by `key`.
    async fn push(&self, key: &NamedKey, also: &[&NamedKey]) -> Result<(), NotTaken> {
        let Owner::Cluster(cluster) = &self.owner else { panic!("clusters alone push") };
        let mut document = cluster.jwks();
        let keys = document.get_mut("keys").and_then(Value::as_array_mut).unwrap();
        keys.extend(also.iter().map(|key| Value::Object(key.public_jwk())));
        let set = KeySet::parse(document.to_string().as_bytes(), KeyPurpose::JwkSet).unwrap();
        let verified_by = set.keys().iter().find(|one| one.key_id().is_some_and(|id| id.as_str() == key.kid()));
        let verified_by = verified_by.unwrap().thumbprint().clone();
        let push = Push::new(set, verified_by, self.stand.now(), "spiffe://id.example/feeder".to_owned()).unwrap();
        self.source.take(push).await
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
