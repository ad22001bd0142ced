//! The pretend world, the product's configuration, and both servers over them.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use countersign::clock::Lifetime;
use countersign::world::{SHARED_ISSUER, ScratchDirectory, Surroundings, World, WorldSettings};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::floor::Told;
use crate::loader::Connection;
use crate::server::Server;

/// The product as it is built for this run.
pub const PRODUCT: &str = env!("CARGO_BIN_EXE_countersign");

/// The workload that asks.
const API: &str = "spiffe://prod.example/ns/shop/sa/api";

/// What a request is beside its credential.
const PARAMETERS: &str = "grant_type=client_credentials&client_assertion_type=\
    urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-spiffe&resource=https%3A%2F%2Forders.example&client_assertion=";

/// A multi-threaded runtime; 0 threads means one for each core, as the product has.
pub fn runtime(threads: usize) -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if threads > 0 {
        builder.worker_threads(threads);
    }
    builder.enable_all().build().unwrap()
}

/// Bytes of the product's binary.
pub fn product_size() -> u64 {
    std::fs::metadata(PRODUCT).unwrap().len()
}

/// A world in this process, and a folder for the product.
pub struct Stage {
    world: World,
    directory: ScratchDirectory,
    public: SocketAddr,
    admin: SocketAddr,
    stop: CancellationToken,
}

impl Stage {
    pub async fn start() -> Self {
        let stop = CancellationToken::new();
        let directory = ScratchDirectory::new().unwrap();
        let settings = WorldSettings::in_directory(directory.path());
        let world = World::start(settings, &Surroundings::system(), &stop).await.unwrap();
        world.agent().register([API]);
        let stage = Self { world, directory, public: free_address(), admin: free_address(), stop };
        std::fs::write(stage.path("countersign.yaml"), stage.configuration()).unwrap();
        stage
    }

    /// Starts the product and waits until it is ready and has given a token. Its records go to a file, as in production.
    pub fn product(&self) -> Server {
        let append = |name: &str| Stdio::from(File::options().create(true).append(true).open(self.path(name)).unwrap());
        let mut command = Command::new(PRODUCT);
        command.arg("serve").arg("--config").arg(self.path("countersign.yaml"));
        command.stdout(append("records.jsonl")).stderr(append("product.log"));
        let server = Server::start(&mut command, self.public, self.admin, "/readyz");
        self.answer_of(&server);
        server
    }

    /// Starts the floor: it answers what the product answers.
    pub fn floor(&self, product: &Server) -> Server {
        let answer = self.answer_of(product);
        let token = answer.split('"').find(|part| part.starts_with("ey")).unwrap();
        let (before, after) = answer.split_once(token).unwrap();
        let bundle: Value = serde_json::from_slice(&self.world.trust_domain().jwt_bundle()).unwrap();
        let member = |name: &str| bundle["keys"][0][name].as_str().unwrap().to_owned();
        let told = Told {
            address: free_address(),
            x: member("x"),
            y: member("y"),
            signing_input: token.rsplit_once('.').unwrap().0.to_owned(),
            before: before.to_owned(),
            after: after.to_owned(),
        };
        std::fs::write(self.path("floor.json"), serde_json::to_vec(&told).unwrap()).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("floor").arg(self.path("floor.json"));
        let server = Server::start(&mut command, told.address, told.address, "/readyz");
        assert_eq!(self.answer_of(&server).len(), answer.len(), "both answer as many bytes");
        server
    }

    /// How long `countersign explain` takes as a whole process, in milliseconds, for decisions spread over the newest 100,000.
    #[expect(clippy::disallowed_methods, reason = "a measurement measures real time")]
    pub fn explain_times(&self, asked: usize) -> Vec<f64> {
        let records = std::fs::read_to_string(self.path("records.jsonl")).unwrap();
        let newest: Vec<&str> = records.lines().rev().take(100_000).collect();
        let chosen = newest.iter().step_by((newest.len() / asked).max(1)).take(asked);
        chosen
            .map(|line| {
                let record: Value = serde_json::from_str(line).unwrap();
                let began = std::time::Instant::now();
                let explained = Command::new(PRODUCT)
                    .args(["explain", record["ref"].as_str().unwrap(), "--state"])
                    .arg(self.path("state"))
                    .output()
                    .unwrap();
                let took = began.elapsed().as_secs_f64() * 1000.0;
                assert!(explained.status.success(), "{}", String::from_utf8_lossy(&explained.stderr));
                took
            })
            .collect()
    }

    /// Bytes of kept decisions.
    pub fn journal_size(&self) -> u64 {
        let files = std::fs::read_dir(self.path("state/decisions")).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    }

    /// A new JWT-SVID of the workload for the product.
    pub fn svid(&self) -> String {
        self.world.trust_domain().mint(API, &[&self.issuer()], Lifetime::from_minutes(30)).unwrap()
    }

    /// So many new ones.
    pub fn svids(&self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.svid()).collect()
    }

    /// The requests that show these.
    pub fn requests(&self, svids: &[String]) -> Vec<Vec<u8>> {
        svids.iter().map(|svid| self.request(svid)).collect()
    }

    /// The bytes of a request that shows `svid`.
    fn request(&self, svid: &str) -> Vec<u8> {
        format!(
            "POST /token HTTP/1.1\r\nhost: {}\r\nuser-agent: bench\r\naccept: application/json\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{PARAMETERS}{svid}",
            self.public,
            PARAMETERS.len() + svid.len()
        )
        .into_bytes()
    }

    /// Lines that the product has recorded.
    pub fn record_lines(&self) -> usize {
        std::fs::read(self.path("records.jsonl")).unwrap().iter().filter(|byte| **byte == b'\n').count()
    }

    fn answer_of(&self, server: &Server) -> String {
        let mut connection = Connection::open(server.address());
        let answer = connection.ask(&self.request(&self.svid()));
        assert!(answer.text().starts_with("HTTP/1.1 200 "), "no token: {}", answer.text());
        String::from_utf8(answer.body().to_vec()).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::join(self.directory.path(), name)
    }

    fn issuer(&self) -> String {
        format!("http://{}", self.public)
    }

    /// One trust domain by Workload API, two clusters by API server, three resources and four rules.
    fn configuration(&self) -> String {
        let (issuer, public, admin) = (self.issuer(), self.public, self.admin);
        let agent = self.world.agent().address();
        let clusters: String = self
            .world
            .clusters()
            .iter()
            .map(|cluster| {
                let (name, url) = (cluster.name(), cluster.url());
                format!(
                    "  - {{ name: {name}, groups: [fleet], kubernetes: {{ issuers: [{SHARED_ISSUER}], keys: {{ api_server: \
                     {{ url: \"{url}\", ca: {name}-ca.crt, token: {name}-admin.token }} }} }} }}\n"
                )
            })
            .collect();
        format!(
            r#"issuer: {issuer}
identity_domain: id.example
listen: {{ address: "{public}" }}
admin: {{ address: "{admin}" }}
signing: {{ directory: ./keys }}
state: {{ directory: ./state }}
trust:
  - name: prod
    spiffe: {{ trust_domain: prod.example, workload_api: "{agent}", paths: ["/ns/{{namespace}}/sa/{{service_account}}"] }}
{clusters}
resources:
  - {{ name: orders, audience: "https://orders.example", scopes: [read, write], lifetime: 5m }}
  - {{ name: search, audience: "https://search.example", scopes: [find], lifetime: 5m }}
  - {{ name: vault, audience: "https://vault.example", scopes: [open], lifetime: 1m }}
rules:
  - name: the shop may use orders from every cluster
    from: {{ group: fleet, namespace: shop, service_account: api }}
    to: {{ resource: orders, scopes: [read, write] }}
  - name: the shop's SPIFFE workload may use orders
    from: {{ source: prod, path: /ns/shop/sa/api }}
    to: {{ resource: orders, scopes: [read, write] }}
  - name: the shop searches
    from: {{ source: prod, namespace: shop, service_account: api }}
    to: {{ resource: search, scopes: [find] }}
  - name: the vault opens for its own
    from: {{ source: prod, path: /ns/vault/sa/api }}
    to: {{ resource: vault, scopes: [open] }}
"#
        )
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A loopback address that nobody has at this moment.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
