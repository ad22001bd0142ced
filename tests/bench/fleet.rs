//! Fifty sources in one process, twenty of them clusters with one issuer string: what an exchange costs beside one source, and what junk does.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use countersign::clock::Lifetime;
use countersign::world::cluster::{ClusterSettings, JWKS_PATH, PretendCluster, TokenAsk};
use countersign::world::keys::Algorithm;
use countersign::world::spiffe_agent::{PretendTrustDomain, WorkloadApi};
use countersign::world::{SHARED_ISSUER, ScratchDirectory, Surroundings};
use tokio_util::sync::CancellationToken;

use crate::loader::Connection;
use crate::server::Server;
use crate::stage::{PRODUCT, free_address};

/// Clusters with one issuer string, each with keys of its own behind a URL.
const CLUSTERS: usize = 20;
/// Trust domains by bundle file.
const DOMAINS: usize = 14;
/// OIDC issuers by file.
const ISSUERS: usize = 15;
/// With the trust domain by Workload API.
pub const SOURCES: usize = 1 + CLUSTERS + DOMAINS + ISSUERS;
/// What every credential here is for.
const AUDIENCE: &str = "https://bench.example";
const JWT_BEARER: &str = "jwt-bearer";
const JWT_SPIFFE: &str = "jwt-spiffe";

/// Junk key ids a second, in all, and for how long.
const JUNK_A_SECOND: usize = 1000;
const SECONDS: u64 = 60;

/// All sources, in this process.
pub struct Fleet {
    directory: ScratchDirectory,
    clusters: Vec<PretendCluster>,
    agent: WorkloadApi,
    domains: Vec<PretendTrustDomain>,
    stop: CancellationToken,
}

impl Fleet {
    pub async fn start() -> Self {
        let (stop, surroundings) = (CancellationToken::new(), Surroundings::system());
        let directory = ScratchDirectory::new().unwrap();
        let mut clusters = Vec::new();
        for index in 0..CLUSTERS {
            let mut settings = ClusterSettings::new(&format!("c{index}"), SHARED_ISSUER);
            settings.algorithm = Algorithm::ES256;
            let cluster = PretendCluster::start(settings, &surroundings, &stop).await.unwrap();
            std::fs::write(directory.path().join(format!("c{index}.crt")), cluster.ca_pem()).unwrap();
            clusters.push(cluster);
        }
        let domain = |name: &str| PretendTrustDomain::new(name, &surroundings).unwrap();
        let agent =
            WorkloadApi::start(directory.path().join("agent.sock"), &domain("prod.example"), &stop).await.unwrap();
        let domains: Vec<_> = (0..DOMAINS).map(|index| domain(&format!("d{index}.example"))).collect();
        for domain in &domains {
            std::fs::write(directory.path().join(domain.name()), domain.spiffe_bundle().to_string()).unwrap();
        }
        for index in 0..ISSUERS {
            let keys = domain(&format!("keys-of-{index}")).jwt_bundle();
            std::fs::write(directory.path().join(format!("o{index}.json")), keys).unwrap();
        }
        Self { directory, clusters, agent, domains, stop }
    }

    /// A product that has them all.
    pub fn product_of_all(&self) -> Server {
        let prod = format!(
            "  - {{ name: prod, audiences: [{AUDIENCE}], spiffe: {{ trust_domain: prod.example, workload_api: \"{}\" }} }}\n",
            self.agent.address()
        );
        let domains = self.domains.iter().enumerate().map(|(index, domain)| {
            let name = domain.name();
            format!("  - {{ name: d{index}, audiences: [{AUDIENCE}], spiffe: {{ trust_domain: {name}, bundle: {{ file: {name} }} }} }}\n")
        });
        let issuers = (0..ISSUERS).map(|index| {
            format!(
                "  - {{ name: o{index}, audiences: [{AUDIENCE}], identity: \"spiffe://id.example/o{index}/{{job}}\", oidc: {{ \
                 issuers: [\"https://o{index}.example\"], keys: {{ file: o{index}.json }}, claims: [job] }} }}\n"
            )
        });
        let clusters = (0..CLUSTERS).map(|index| self.cluster_source(index));
        let sources: String = std::iter::once(prod).chain(domains).chain(issuers).chain(clusters).collect();
        self.product("all", &sources)
    }

    /// A product that has the last cluster alone: in the other product it is tried last.
    pub fn product_of_one(&self) -> Server {
        self.product("one", &self.cluster_source(CLUSTERS - 1))
    }

    fn cluster_source(&self, index: usize) -> String {
        let url = self.clusters[index].url();
        format!(
            "  - {{ name: c{index}, groups: [fleet], audiences: [{AUDIENCE}], kubernetes: {{ issuers: [{SHARED_ISSUER}], keys: {{ \
             url: \"{url}{JWKS_PATH}\", ca: c{index}.crt }} }} }}\n"
        )
    }

    fn product(&self, name: &str, sources: &str) -> Server {
        let (public, admin) = (free_address(), free_address());
        let config = format!(
            r#"issuer: http://{public}
identity_domain: id.example
listen: {{ address: "{public}" }}
admin: {{ address: "{admin}" }}
signing: {{ directory: ./keys-{name} }}
state: {{ directory: ./state-{name} }}
trust:
{sources}
resources:
  - {{ name: orders, audience: "https://orders.example", scopes: [read], lifetime: 5m }}
rules:
  - {{ name: shops, from: {{ group: fleet, namespace: shop, service_account: api }}, to: {{ resource: orders, scopes: [read] }} }}
"#
        );
        let path = self.path(&format!("{name}.yaml"));
        std::fs::write(&path, config).unwrap();
        let output = |what: &str| Stdio::from(std::fs::File::create(self.path(&format!("{name}.{what}"))).unwrap());
        let mut command = Command::new(PRODUCT);
        command.arg("serve").arg("--config").arg(path).stdout(output("jsonl")).stderr(output("log"));
        let server = Server::start(&mut command, public, admin, "/readyz");
        // Ready means that every first attempt is over; now every source must have answered.
        assert_eq!(ask(&mut Connection::open(public), &self.good(CLUSTERS - 1)), 200, "{name} gives no token");
        server
    }

    /// Requests by pods of the last cluster.
    pub fn requests(&self, count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|_| self.good(CLUSTERS - 1)).collect()
    }

    fn good(&self, cluster: usize) -> Vec<u8> {
        request(JWT_BEARER, &self.clusters[cluster].mint(&TokenAsk::new("shop", "api", AUDIENCE)).unwrap())
    }

    /// A credential that could be of the source with that number, under a key id that nobody has.
    fn junk(&self, number: usize) -> Vec<u8> {
        let lifetime = Lifetime::from_minutes(5);
        let kid = format!("junk-{number}");
        let domain =
            |domain: &PretendTrustDomain| domain.forge(&format!("spiffe://{}/x", domain.name()), &[AUDIENCE], lifetime);
        let (kind, forge) = match number % SOURCES {
            0 => (JWT_SPIFFE, domain(self.agent.domain())),
            index if index <= DOMAINS => (JWT_SPIFFE, domain(&self.domains[index - 1])),
            index => {
                let forge = self.clusters[0].forge(&TokenAsk::new("shop", "api", AUDIENCE)).unwrap();
                let issuer = index - 1 - DOMAINS;
                (
                    JWT_BEARER,
                    if issuer < ISSUERS { forge.claim("iss", format!("https://o{issuer}.example")) } else { forge },
                )
            }
        };
        request(kind, &forge.header("kid", kid).unsigned().with_signature(&[7; 64]).token())
    }

    /// Drives a minute of junk, spread over every source, beside callers of every cluster.
    #[expect(clippy::disallowed_methods, reason = "a measurement measures real time")]
    pub fn drive_junk(&self) {
        let product = self.product_of_all();
        let before: Vec<u64> = self.clusters.iter().map(|cluster| cluster.requests(JWKS_PATH)).collect();
        let (over, good) = (AtomicBool::new(false), AtomicUsize::new(0));
        let (mut took, mut statuses) = (0, std::collections::BTreeMap::<u16, usize>::new());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut connection = Connection::open(product.address());
                while !over.load(Ordering::Relaxed) {
                    let number = good.fetch_add(1, Ordering::Relaxed);
                    let status = ask(&mut connection, &self.good(number % CLUSTERS));
                    assert_eq!(status, 200, "a good caller was refused");
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
            let began = Instant::now();
            for second in 0..SECONDS {
                for status in junk_of_a_second(self, product.address(), second as usize) {
                    *statuses.entry(status).or_default() += 1;
                }
                std::thread::sleep(Duration::from_secs(second + 1).saturating_sub(began.elapsed()));
            }
            took = began.elapsed().as_secs();
            println!("junk: {} in {took} s, answered {statuses:?}", JUNK_A_SECOND * SECONDS as usize);
            over.store(true, Ordering::Relaxed);
        });
        let asked: Vec<u64> =
            self.clusters.iter().zip(before).map(|(cluster, before)| cluster.requests(JWKS_PATH) - before).collect();
        // One an interval, and the regular poll that may fall into this time.
        let bound = took / 30 + 1;
        println!(
            "fetches a cluster: {asked:?}, at most {bound}; {} good callers, all granted",
            good.load(Ordering::Relaxed)
        );
        assert!(took <= SECONDS + 5, "junk came at a lower rate than it should");
        assert!(asked.iter().all(|count| *count <= bound), "over the bound");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A second's junk over several connections: some of it waits for a refresh.
fn junk_of_a_second(fleet: &Fleet, address: SocketAddr, second: usize) -> Vec<u16> {
    const CONNECTIONS: usize = 8;
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..CONNECTIONS)
            .map(|lane| {
                scope.spawn(move || {
                    let mut connection = Connection::open(address);
                    let numbers = (lane..JUNK_A_SECOND).step_by(CONNECTIONS);
                    numbers.map(|n| ask(&mut connection, &fleet.junk(second * JUNK_A_SECOND + n))).collect::<Vec<_>>()
                })
            })
            .collect();
        running.into_iter().flat_map(|lane| lane.join().unwrap()).collect()
    })
}

fn ask(connection: &mut Connection, request: &[u8]) -> u16 {
    let text = connection.ask(request).text();
    text.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status: {text}"))
}

fn request(kind: &str, assertion: &str) -> Vec<u8> {
    let body = format!(
        "grant_type=client_credentials&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3A{kind}\
         &resource=https%3A%2F%2Forders.example&client_assertion={assertion}"
    );
    let length = body.len();
    format!(
        "POST /token HTTP/1.1\r\nhost: bench\r\nuser-agent: bench\r\naccept: application/json\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}
