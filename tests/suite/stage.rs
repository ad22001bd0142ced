//! A running product over a pretend world, with a clock that tests move.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign::app::{App, Records, Start};
use countersign::clock::{Clock, Lifetime, ManualClock, SystemClock, Timestamp};
use countersign::config::Environment;
use countersign::entropy::SystemEntropy;
use countersign::world::cluster::{PretendCluster, TokenAsk};
use countersign::world::forge::Forge;
use countersign::world::{SHARED_ISSUER, ScratchDirectory, Surroundings, World, WorldSettings};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::evidence;

/// The assertion type of JWT-SVIDs.
pub const JWT_SPIFFE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
/// The assertion type of federated JWTs.
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// The resource of the standard configuration.
pub const ORDERS: &str = "https://orders.example";
/// The workload that the standard rules know.
pub const API: &str = "spiffe://prod.example/ns/shop/sa/api";

/// The product, its sources and its clock. Ends when dropped.
pub struct Stage {
    pub world: World,
    pub clock: ManualClock,
    pub app: Arc<App>,
    pub issuer: String,
    pub directory: ScratchDirectory,
    pub records: RecordLines,
    stop: CancellationToken,
}

/// What the product answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
    pub body: Value,
}

impl Answer {
    /// `error` of the body, or empty.
    pub fn error(&self) -> &str {
        self.body["error"].as_str().unwrap_or_default()
    }

    /// The claims of the access token, or a panic with the whole answer.
    pub fn claims(&self) -> Value {
        let token = self.body["access_token"].as_str().unwrap_or_else(|| panic!("no token: {}", self.text));
        part(token, 1)
    }

    /// The header of the access token.
    pub fn token_header(&self) -> Value {
        part(self.body["access_token"].as_str().unwrap(), 0)
    }
}

/// A decoded part of a compact JWS. Verifies nothing.
pub fn part(token: &str, index: usize) -> Value {
    use base64ct::{Base64UrlUnpadded, Encoding};
    let text = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&Base64UrlUnpadded::decode_vec(text).unwrap()).unwrap()
}

impl Stage {
    /// The standard configuration: trust domain `prod`, clusters `eu1` and `edge-2` by API server, resource `orders`.
    pub async fn standard() -> Self {
        Self::with(standard_config).await
    }

    /// A stage whose configuration is written by `config` from the world and the issuer.
    pub async fn with(config: impl FnOnce(&World, &str) -> String) -> Self {
        evidence::follow_logs();
        // Whole seconds, near the machine's time: certificates of TLS are judged by that.
        let clock = ManualClock::starting_at(Timestamp::from_seconds(SystemClock.now().seconds()));
        let stop = CancellationToken::new();
        let directory = ScratchDirectory::new().unwrap();
        let settings = WorldSettings::in_directory(directory.path());
        let world = World::start(settings, &Surroundings::with_clock(Arc::new(clock.clone())), &stop).await.unwrap();
        world.agent().register([API]);
        let issuer = format!("http://{}", free_address());
        std::fs::write(directory.path().join("countersign.yaml"), config(&world, &issuer)).unwrap();
        let records = RecordLines::default();
        let app = start(directory.path(), &clock, &records).await;
        let stage = Self { world, clock, app, issuer, directory, records, stop };
        stage.keys_known().await;
        stage
    }

    /// Ends the product and starts another on the same folders.
    pub async fn restart(&mut self) {
        self.app.stop().await;
        self.app = start(self.directory.path(), &self.clock, &self.records).await;
    }

    /// Replaces the configuration and lets the product read it.
    pub async fn reconfigure(&self, config: &str) -> countersign::app::Reloaded {
        std::fs::write(self.directory.path().join("countersign.yaml"), config).unwrap();
        self.app.reload().await
    }

    /// Waits until every source has keys.
    pub async fn keys_known(&self) {
        eventually("every source has keys", || self.app.trust().status().iter().all(|source| source.keys > 0)).await;
    }

    /// The cluster with that name.
    pub fn cluster(&self, name: &str) -> &PretendCluster {
        self.world.cluster(name).unwrap()
    }

    /// A good JWT-SVID of the standard workload.
    pub fn svid(&self) -> String {
        self.world.trust_domain().mint(API, &[&self.issuer], Lifetime::from_minutes(5)).unwrap()
    }

    /// A good JWT-SVID that can be spoiled.
    pub fn svid_forge(&self) -> Forge {
        self.world.trust_domain().forge(API, &[&self.issuer], Lifetime::from_minutes(5))
    }

    /// A good token of the pod shop/api in a cluster.
    pub fn pod_token(&self, cluster: &str) -> String {
        self.cluster(cluster).mint(&TokenAsk::new("shop", "api", &self.issuer)).unwrap()
    }

    /// A good pod token that can be spoiled.
    pub fn pod_forge(&self, cluster: &str) -> Forge {
        self.cluster(cluster).forge(&TokenAsk::new("shop", "api", &self.issuer)).unwrap()
    }

    /// Exchanges a JWT-SVID for a token for `orders`.
    pub async fn exchange_svid(&self, svid: &str) -> Answer {
        self.token(&[("client_assertion_type", JWT_SPIFFE), ("client_assertion", svid), ("resource", ORDERS)]).await
    }

    /// Exchanges a Kubernetes token for a token for `orders`.
    pub async fn exchange_pod(&self, token: &str) -> Answer {
        self.token(&[("client_assertion_type", JWT_BEARER), ("client_assertion", token), ("resource", ORDERS)]).await
    }

    /// `POST /token` with `grant_type=client_credentials` and these parameters.
    pub async fn token(&self, parameters: &[(&str, &str)]) -> Answer {
        let mut all = vec![("grant_type", "client_credentials")];
        all.extend(parameters);
        self.form(&all, &[]).await
    }

    /// `POST /token` with exactly these parameters and headers.
    pub async fn form(&self, parameters: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
        self.post("/token", &encode(parameters), headers).await
    }

    /// `POST` with a form body as it is.
    pub async fn post(&self, path: &str, body: &str, headers: &[(&str, &str)]) -> Answer {
        for piece in body.split(['&', '=']) {
            evidence::secret(piece);
        }
        let mut request = client()
            .post(format!("{}{path}", self.issuer))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.send().await.unwrap()).await
    }

    /// Any other request to the public address.
    pub async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = client().request(method, format!("{}{path}", self.issuer));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.send().await.unwrap()).await
    }

    /// A request to the admin address.
    pub async fn admin(&self, path: &str) -> Answer {
        let answer =
            answer(client().get(format!("http://{}{path}", self.app.admin_address())).send().await.unwrap()).await;
        evidence::keep("admin.txt", &answer.text);
        answer
    }

    /// Every record so far: what waited has been written.
    pub fn written(&self) -> Vec<Value> {
        self.app.exchange().recorder().finish();
        self.records.lines()
    }

    /// The record with that reference, once it has been written.
    pub async fn record(&self, reference: &str) -> Value {
        let find = || self.records.lines().into_iter().find(|line| line["ref"] == reference);
        eventually(&format!("the record {reference} is written"), || find().is_some()).await;
        find().unwrap()
    }

    /// The reason in the record of a refusal.
    pub async fn reason(&self, answer: &Answer) -> String {
        let reference = answer.body["error_ref"].as_str().unwrap_or_else(|| panic!("no reference: {}", answer.text));
        self.record(reference).await["reason"].as_str().unwrap_or_default().to_owned()
    }

    /// Moves the clock, and gives the loops that wake up a moment to act.
    pub async fn advance(&self, by: Lifetime) {
        self.clock.advance(by);
        tokio::task::yield_now().await;
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
        let app = Arc::clone(&self.app);
        if let Ok(handle) = tokio::runtime::Handle::try_current() {
            handle.spawn(async move { app.stop().await });
        }
    }
}

async fn start(directory: &Path, clock: &ManualClock, records: &RecordLines) -> Arc<App> {
    let start = Start {
        config: directory.join("countersign.yaml"),
        environment: Environment::default(),
        clock: Arc::new(clock.clone()),
        entropy: Arc::new(SystemEntropy),
        records: Records::Writer(Box::new(records.clone())),
    };
    App::start(start).await.unwrap_or_else(|error| panic!("{error}"))
}

/// The standard configuration as text.
pub fn standard_config(world: &World, issuer: &str) -> String {
    let mut text = format!("{}{}", server_config(issuer), spiffe_source(world));
    for cluster in world.clusters() {
        text.push_str(&cluster_source(cluster));
    }
    text + RESOURCES_AND_RULES
}

/// Issuer, addresses and folders.
pub fn server_config(issuer: &str) -> String {
    let listen = issuer.trim_start_matches("http://");
    format!(
        "issuer: {issuer}\nidentity_domain: id.example\nlisten: {{ address: \"{listen}\" }}\nadmin: {{ address: \"127.0.0.1:0\" }}\n\
         signing: {{ directory: ./keys }}\nstate: {{ directory: ./state }}\ntrust:\n"
    )
}

/// The trust domain by Workload API.
pub fn spiffe_source(world: &World) -> String {
    format!(
        "  - name: prod\n    spiffe: {{ trust_domain: prod.example, workload_api: \"{}\", paths: [\"/ns/{{namespace}}/sa/{{service_account}}\"] }}\n",
        world.agent().address()
    )
}

/// A cluster by its API server.
pub fn cluster_source(cluster: &PretendCluster) -> String {
    let (name, url) = (cluster.name(), cluster.url());
    format!(
        "  - name: {name}\n    groups: [fleet]\n    kubernetes:\n      issuers: [{SHARED_ISSUER}]\n      \
         keys: {{ api_server: {{ url: \"{url}\", ca: {name}-ca.crt, token: {name}-admin.token }} }}\n"
    )
}

/// The CI system by discovery, as `ci`.
pub fn ci_source(world: &World) -> String {
    let (issuer, url) = (world.ci().issuer(), world.ci().url());
    format!(
        "  - name: ci\n    identity: \"spiffe://id.example/ci/github/{{repository_id}}\"\n    oidc:\n      issuers: [\"{issuer}\"]\n      \
         keys: {{ discovery: \"{url}\", ca: ci-ca.crt }}\n      claims: [repository_id, repository_owner_id, ref, ref_protected, environment]\n"
    )
}

/// The login as `login`, whose tokens are for `orders-app`.
pub fn login_subjects(world: &World) -> String {
    let (issuer, url) = (world.login().issuer(), world.login().url());
    format!(
        "subjects:\n  - name: login\n    issuers: [\"{issuer}\"]\n    keys: {{ discovery: \"{url}\", ca: login-ca.crt }}\n    \
         audiences: [orders-app]\n"
    )
}

/// Resources `orders` and `search`, and the rules of the standard configuration.
pub const RESOURCES_AND_RULES: &str = r#"
resources:
  - { name: orders, audience: "https://orders.example", scopes: [read, write], lifetime: 5m, owner: team-commerce }
  - { name: search, audience: "https://search.example", scopes: [find], lifetime: 5m, owner: team-agents, algorithm: RS256, typ: JWT, claims: { azp: orders-app } }
  - { name: vault, audience: "https://vault.example", scopes: [open], lifetime: 1m }
rules:
  - name: the shop may use orders from every cluster
    from: { group: fleet, namespace: shop, service_account: api }
    to: { resource: orders, scopes: [read, write] }
  - name: the shop's SPIFFE workload may use orders
    from: { source: prod, path: /ns/shop/sa/api }
    to: { resource: orders, scopes: [read, write] }
  - name: the shop searches
    from: { source: prod, namespace: shop, service_account: api }
    to: { resource: search, scopes: [find] }
    alias: shop-api
"#;

/// A loopback address that nobody else takes: below the ports that the system gives to outgoing connections, and each once.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        // Processes that test at the same time begin at different places.
        let begin = u16::try_from(std::process::id() % 1000).unwrap() * 12;
        let port = 20_000 + (begin + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if let Ok(free) = TcpListener::bind(("127.0.0.1", port)) {
            return free.local_addr().unwrap();
        }
    }
}

/// A plain client: no proxy, no redirects.
pub fn client() -> reqwest::Client {
    client_builder().timeout(Duration::from_secs(30)).build().unwrap()
}

/// What a plain client is built from.
pub fn client_builder() -> reqwest::ClientBuilder {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().redirect(reqwest::redirect::Policy::none())
}

/// Reads an answer whole and keeps it for the search.
pub async fn answer(response: reqwest::Response) -> Answer {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    match body["access_token"].as_str() {
        Some(token) => evidence::secret(token),
        None => evidence::keep("answers.txt", &text),
    }
    Answer { status, headers, text, body }
}

/// `application/x-www-form-urlencoded`.
pub fn encode(parameters: &[(&str, &str)]) -> String {
    let escape = |text: &str| -> String {
        text.bytes()
            .map(|byte| match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
                other => format!("%{other:02X}"),
            })
            .collect()
    };
    parameters.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect::<Vec<_>>().join("&")
}

/// Waits for a condition, at most ten seconds: what is waited for happens by itself or never.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not happen that {what}");
}

/// Decision records as they are written.
#[derive(Clone, Debug, Default)]
pub struct RecordLines(Arc<Mutex<Vec<u8>>>);

impl RecordLines {
    /// Every whole line so far.
    pub fn lines(&self) -> Vec<Value> {
        let written = self.0.lock().unwrap().clone();
        let text = String::from_utf8(written).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Write for RecordLines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        evidence::keep("records.txt", String::from_utf8_lossy(bytes).trim_end());
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
