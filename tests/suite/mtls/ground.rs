//! The product over TLS, with a partner's trust domain beside our own.

use std::net::{IpAddr, Ipv4Addr};

use countersign::clock::{Clock, Lifetime, SystemClock};
use countersign::world::World;
use countersign::world::spiffe_agent::PretendTrustDomain;
use countersign::world::x509::{CertificateAuthority, Certified, svid_params};
use rcgen::CertificateParams;
use rustls::version::TLS13;

use super::client::{Connection, Identity};
use crate::stage::{API, Answer, ORDERS, Stage, eventually, standard_config};

/// The workload of the partner's trust domain.
pub const PARTNER: &str = "spiffe://partner.example/ns/shop/sa/api";
/// How long an X.509-SVID lives here.
pub const LIFE: Lifetime = Lifetime::from_hours(1);

pub struct Ground {
    pub stage: Stage,
    pub issuer: String,
    pub partner: PretendTrustDomain,
    pub servers: CertificateAuthority,
}

impl Ground {
    pub async fn new() -> Self {
        Self::with(|text| text).await
    }

    /// With a configuration that `change` makes of the usual one.
    pub async fn with(change: impl FnOnce(String) -> String) -> Self {
        let servers = CertificateAuthority::for_servers("test CA").unwrap();
        let mut partner = None;
        let stage = Stage::with(|world, issuer| {
            let domain = PretendTrustDomain::new("partner.example", world.trust_domain().surroundings()).unwrap();
            world.agent().federate(&domain);
            partner = Some(domain);
            let served = served(&servers);
            std::fs::write(world.directory().join("tls.crt"), served.pem()).unwrap();
            std::fs::write(world.directory().join("tls.key"), served.key_pem().expose()).unwrap();
            // For a source that is a file.
            std::fs::write(world.directory().join("bundle.json"), world.trust_domain().spiffe_bundle().to_string())
                .unwrap();
            change(config(world, issuer))
        })
        .await;
        let issuer = stage.issuer.replacen("http:", "https:", 1);
        let ground = Self { stage, issuer, partner: partner.unwrap(), servers };
        for name in ["prod", "partner"] {
            ground.authorities(name, 1).await;
        }
        ground
    }

    /// Waits until a source has that many X.509 authorities.
    pub async fn authorities(&self, name: &str, count: usize) {
        let of = || self.stage.app.trust().status().into_iter().find(|source| source.name.as_str() == name).unwrap();
        eventually(&format!("{name} has {count} authorities"), || of().authorities == count).await;
    }

    pub fn prod(&self) -> &PretendTrustDomain {
        self.stage.world.trust_domain()
    }

    /// Parameters of a good leaf, to be spoiled.
    pub fn params(&self, id: &str) -> CertificateParams {
        svid_params(id, self.stage.clock.now(), LIFE).unwrap()
    }

    /// A good X.509-SVID of the standard workload.
    pub fn good(&self) -> Identity {
        alone(&self.prod().issue_x509(&self.params(API)).unwrap())
    }

    pub fn roots(&self) -> rustls::RootCertStore {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.servers.der().clone()).unwrap();
        roots
    }

    /// A connection with this identity, TLS 1.3.
    pub async fn connect(&self, identity: Option<Identity>) -> Connection {
        Connection::open(&self.issuer, self.roots(), identity, &TLS13).await.unwrap()
    }

    /// One request with `client_id` on a connection of its own.
    pub async fn ask(&self, identity: Identity, id: &str) -> Answer {
        ask(&mut self.connect(Some(identity)).await, id).await
    }

    /// The good one is granted.
    pub async fn good_is_granted(&self) {
        let answer = self.ask(self.good(), API).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }

    /// The reason in the record of a refusal, whose `error` is `invalid_client`.
    pub async fn reason(&self, answer: &Answer) -> String {
        assert_eq!((answer.status, answer.error()), (400, "invalid_client"), "{}", answer.text);
        self.stage.reason(answer).await
    }
}

/// One request on this connection: no credential, and `client_id`.
pub async fn ask(connection: &mut Connection, id: &str) -> Answer {
    connection.token(&[("client_id", id), ("resource", ORDERS)], &[]).await
}

/// A leaf that its authority signed itself.
pub fn alone(leaf: &Certified) -> Identity {
    Identity { chain: vec![leaf.der().clone()], key: leaf.private_key() }
}

/// A server's certificate for 127.0.0.1 as public authorities make them.
fn served(servers: &CertificateAuthority) -> Certified {
    let mut params = svid_params("spiffe://servers.example/x", SystemClock.now(), Lifetime::from_hours(24)).unwrap();
    params.subject_alt_names = vec![rcgen::SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST))];
    servers.issue(&params).unwrap()
}

fn config(world: &World, issuer: &str) -> String {
    let partner = format!(
        "  - name: partner\n    spiffe: {{ trust_domain: partner.example, workload_api: \"{}\" }}\n",
        world.agent().address()
    );
    let rules = "  - name: the partner may use orders\n    from: { source: partner, path: /ns/shop/sa/api }\n    to: { resource: orders, scopes: [read] }\n";
    standard_config(world, issuer)
        .replacen("issuer: http:", "issuer: https:", 1)
        .replacen("\" }\nadmin:", "\", tls: { certificate: tls.crt, key: tls.key } }\nadmin:", 1)
        .replacen("\nresources:", &format!("{partner}\nresources:"), 1)
        + rules
}
