//! The stage of the table: more sources, keys and rules than the standard one, and good requests to be spoiled.

use std::net::TcpListener;

use countersign::clock::{Clock, Lifetime, Timestamp};
use countersign::world::World;
use countersign::world::cluster::TokenAsk;
use countersign::world::forge::{Forge, valid_kubernetes, valid_svid};
use countersign::world::keys::NamedKey;
use serde_json::Value;

use super::keyring::{es256, keyring, partner, rsa};
use super::request::Request;
use crate::grpc::Client;
use crate::stage::{
    API, JWT_BEARER, JWT_SPIFFE, ORDERS, Stage, ci_source, client, cluster_source, login_subjects, server_config,
    spiffe_source,
};

/// The issuer of the cluster whose keys are odd.
pub const KEYRING: &str = "https://keyring.example";
/// The issuer of the cluster that takes ES256 alone.
pub const STRICT: &str = "https://strict.example";
/// The workload of the partner's trust domain.
pub const PARTNER: &str = "spiffe://partner.example/ns/shop/sa/api";

/// The product with everything that rows need.
pub struct Ground {
    pub stage: Stage,
    pub client: reqwest::Client,
    pub grpc: Client,
    trap: TcpListener,
    /// Our own access token, `at+jwt`.
    pub ours: String,
    /// Our own access token, `JWT`.
    pub ours_as_jwt: String,
}

impl Ground {
    pub async fn new() -> Self {
        Self::with("").await
    }

    /// With further lines in the configuration.
    pub async fn with(lines: &str) -> Self {
        let stage = Stage::with(|world, issuer| config(world, issuer) + lines).await;
        let trap = TcpListener::bind("127.0.0.1:0").unwrap();
        trap.set_nonblocking(true).unwrap();
        let svid = stage.svid();
        let token = |answer: &crate::stage::Answer| answer.body["access_token"].as_str().unwrap_or_default().to_owned();
        let ours = token(&stage.exchange_svid(&svid).await);
        let search = [
            ("client_assertion_type", JWT_SPIFFE),
            ("client_assertion", &svid),
            ("resource", "https://search.example"),
        ];
        let ours_as_jwt = token(&stage.token(&search).await);
        assert!(!ours.is_empty() && !ours_as_jwt.is_empty());
        let grpc = Client::of(&stage.issuer);
        Self { stage, client: client(), grpc, trap, ours, ours_as_jwt }
    }

    /// A URL that nobody may call.
    pub fn trap_url(&self) -> String {
        format!("http://{}/keys", self.trap.local_addr().unwrap())
    }

    /// Whether that URL was left alone.
    pub fn nobody_was_called(&self) -> bool {
        self.trap.accept().is_err()
    }

    pub fn now(&self) -> Timestamp {
        self.stage.clock.now()
    }

    pub fn issuer(&self) -> &str {
        &self.stage.issuer
    }

    /// A good request with this JWT-SVID.
    pub fn svid_text(&self, svid: &str) -> Request {
        Request::form(&[
            ("grant_type", "client_credentials"),
            ("client_assertion_type", JWT_SPIFFE),
            ("client_assertion", svid),
            ("resource", ORDERS),
        ])
    }

    /// A good request with this federated token.
    pub fn pod_text(&self, token: &str) -> Request {
        self.svid_text(token).set("client_assertion_type", JWT_BEARER)
    }

    /// A good request of the SPIFFE workload.
    pub fn good(&self) -> Request {
        self.svid_text(&self.stage.svid())
    }

    /// A good request of the pod in `eu1`.
    pub fn good_pod(&self) -> Request {
        self.pod_text(&self.stage.pod_token("eu1"))
    }

    /// A request whose JWT-SVID is spoiled before it is signed.
    pub fn svid(&self, spoil: impl FnOnce(Forge) -> Forge) -> Request {
        self.svid_text(&spoil(self.stage.svid_forge()).sign().unwrap().token())
    }

    /// A request whose pod token is spoiled before it is signed.
    pub fn pod(&self, spoil: impl FnOnce(Forge) -> Forge) -> Request {
        self.pod_text(&spoil(self.stage.pod_forge("eu1")).sign().unwrap().token())
    }

    /// A pod token that the cluster mints as it is asked.
    pub fn minted(&self, cluster: &str, ask: &TokenAsk) -> Request {
        self.pod_text(&self.stage.cluster(cluster).mint(ask).unwrap())
    }

    /// A good token of the CI job that the rules know.
    pub fn ci_forge(&self) -> Forge {
        let job = serde_json::json!({
            "repository": "org/name", "repository_id": "4711", "repository_owner_id": "1", "ref": "refs/heads/main",
            "head_ref": "", "base_ref": "", "event_name": "push", "environment": "production",
        });
        self.stage.world.ci().forge("repo:org/name:ref:refs/heads/main", self.issuer(), job)
    }

    /// A request whose CI token is spoiled before it is signed.
    pub fn ci(&self, spoil: impl FnOnce(Forge) -> Forge) -> Request {
        self.pod_text(&spoil(self.ci_forge()).sign().unwrap().token())
    }

    /// A good token of a cluster whose keys are in a file, signed by `key`.
    pub fn file_forge(&self, issuer: &str, key: &NamedKey) -> Forge {
        let life = Lifetime::from_minutes(5);
        Forge::new(key, valid_kubernetes(issuer, "shop", "api", &[self.issuer()], self.now(), life))
    }

    /// A request with a token of the cluster `keyring`, signed by `key`.
    pub fn keyring(&self, key: &NamedKey, spoil: impl FnOnce(Forge) -> Forge) -> Request {
        self.pod_text(&spoil(self.file_forge(KEYRING, key)).sign().unwrap().token())
    }

    /// A request with a JWT-SVID of the partner's trust domain, signed by `key`.
    pub fn partner(&self, key: &NamedKey, spoil: impl FnOnce(Forge) -> Forge) -> Request {
        let claims = valid_svid(PARTNER, &[self.issuer()], self.now(), Lifetime::from_minutes(5));
        self.svid_text(&spoil(Forge::new(key, claims)).sign().unwrap().token())
            .set("resource", "https://shared.example")
    }

    /// A JWT-SVID of another workload of our trust domain.
    pub fn workload(&self, path: &str) -> String {
        self.stage.svid_forge().claim("sub", format!("spiffe://prod.example{path}")).sign().unwrap().token()
    }

    /// A token exchange: that workload shows a token of that type, for the resource `stock`.
    pub fn exchange(&self, path: &str, kind: &str, token: &str) -> Request {
        self.svid_text(&self.workload(path))
            .set("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
            .with("subject_token", token)
            .with("subject_token_type", &format!("urn:ietf:params:oauth:token-type:{kind}"))
            .set("resource", "https://stock.example")
    }

    /// A good one: who serves `orders` acts for the shop, by the token that it was called with.
    pub fn good_exchange(&self) -> Request {
        self.exchange("/serves/orders", "access_token", &self.ours)
    }

    /// The same with a JWT-SVID of the shop, spoiled before it is signed.
    pub fn svid_exchange(&self, spoil: impl FnOnce(Forge) -> Forge) -> Request {
        self.exchange("/serves/orders", "jwt", &spoil(self.stage.svid_forge()).sign().unwrap().token())
    }

    /// A token that we would have signed ourselves, had we come to say that.
    pub fn ours_saying(&self, typ: &str, say: impl FnOnce(&mut serde_json::Map<String, Value>)) -> String {
        let mut claims = crate::stage::part(&self.ours, 1).as_object().cloned().unwrap();
        say(&mut claims);
        let ring = self.stage.app.exchange().issuer().ring();
        let key = ring.active(countersign::jose::Algorithm::ES256, self.now()).unwrap();
        key.signing_key().seal(typ, &claims).unwrap().into_text().expose().clone()
    }

    /// A question about a token by the workload that its SVID names.
    pub fn introspection(&self, path: &str, token: &str) -> Request {
        self.svid_text(&self.workload(path))
            .without("grant_type")
            .without("resource")
            .with("token", token)
            .at("/introspect")
    }

    /// The good ones of every source are granted.
    pub async fn good_ones_are_granted(&self, when: &str) {
        let keep = |forge: Forge| forge;
        for (request, sub) in [
            (self.good(), API),
            (self.good_pod(), "spiffe://id.example/k8s/eu1/ns/shop/sa/api"),
            (
                self.minted("edge-2", &TokenAsk::new("shop", "api", self.issuer())),
                "spiffe://id.example/k8s/edge-2/ns/shop/sa/api",
            ),
            (self.keyring(&es256("fit"), keep), "spiffe://id.example/k8s/keyring/ns/shop/sa/api"),
            (self.partner(&es256("partner"), keep), PARTNER),
            (self.ci(keep), "spiffe://id.example/ci/github/4711"),
            (self.good_exchange(), API),
            (self.svid_exchange(keep), API),
        ] {
            let answer = request.send(&self.client, self.issuer()).await;
            assert_eq!(answer.status, 200, "{sub} {when} the rows: {}", answer.text);
            assert_eq!(answer.claims()["sub"], sub, "K8S-22");
        }
    }
}

fn config(world: &World, issuer: &str) -> String {
    let write =
        |name: &str, document: &Value| std::fs::write(world.directory().join(name), document.to_string()).unwrap();
    write("keyring.json", &keyring());
    // The same name as a key of `keyring`, for another key; and the RSA key, which this source does not take.
    let mut fit = es256("strict").public_jwk();
    fit.insert("kid".to_owned(), "fit".into());
    write("strict.json", &serde_json::json!({ "keys": [fit, rsa("rsa-256", rsa_algorithm()).public_jwk()] }));
    write("twin.json", &serde_json::json!({ "keys": [es256("twin").public_jwk()] }));
    write("partner.json", &partner(world.trust_domain().active_key().kid()));
    let eu1 = world.cluster("eu1").unwrap();
    let pinned = eu1.forge(&TokenAsk::new("shop", "pinned", issuer)).unwrap().claims_bytes();
    let pinned: Value = serde_json::from_slice(&pinned).unwrap();
    let uid = pinned["kubernetes.io"]["serviceaccount"]["uid"].as_str().unwrap();
    let mut text = format!("{}{}", server_config(issuer), spiffe_source(world));
    for cluster in world.clusters() {
        text.push_str(&cluster_source(cluster));
    }
    text.push_str(FILE_SOURCES);
    text.push_str(&ci_source(world));
    text.push_str(&login_subjects(world));
    text.push_str(&RESOURCES_AND_RULES.replace("{uid}", uid));
    text
}

const fn rsa_algorithm() -> countersign::world::keys::Algorithm {
    countersign::world::keys::Algorithm::RS256
}

const FILE_SOURCES: &str = r#"
  - name: partner
    spiffe: { trust_domain: partner.example, bundle: { file: partner.json }, paths: ["/ns/{namespace}/sa/{service_account}"] }
  - name: keyring
    kubernetes: { issuers: ["https://keyring.example", "kubernetes/serviceaccount"], keys: { file: keyring.json } }
    max_life: 48h
  - name: strict
    algorithms: [ES256]
    kubernetes: { issuers: ["https://strict.example"], keys: { file: strict.json } }
  - name: twin
    identity: "spiffe://id.example/twin/{team}"
    oidc: { issuers: ["https://keyring.example"], keys: { file: twin.json }, claims: [team] }
"#;

const RESOURCES_AND_RULES: &str = r#"
resources:
  - { name: orders, audience: "https://orders.example", scopes: [read, write], lifetime: 5m, owner: team-commerce, served_by: { source: prod, path: /serves/orders } }
  - { name: search, audience: "https://search.example", scopes: [find], lifetime: 5m, algorithm: RS256, typ: JWT }
  - { name: stock, audience: "https://stock.example", scopes: [read, write, count], lifetime: 5m, served_by: { source: prod, path: /serves/stock } }
  - { name: books, audience: "https://books.example", scopes: [read, write], lifetime: 5m, served_by: { source: prod, path: /serves/books } }
  - { name: inbox, audience: "spiffe://prod.example/serves/inbox", scopes: [read], lifetime: 2m }
  - { name: vault, audience: "https://vault.example", scopes: [open], lifetime: 1m }
  - { name: safe, audience: "https://safe.example", scopes: [open], lifetime: 5m, require: bound }
  - { name: shared, audience: "https://shared.example", scopes: [look], lifetime: 5m }
rules:
  - name: the shop may use orders from every cluster
    from: { source: [eu1, edge-2, keyring, strict], namespace: shop, service_account: api }
    to: { resource: orders, scopes: [read, write] }
  - name: the shop's SPIFFE workload may use orders
    from: { source: prod, path: /ns/shop/sa/api }
    to: { resource: orders, scopes: [read, write] }
  - name: the shop searches
    from: { source: prod, namespace: shop, service_account: api }
    to: { resource: search, scopes: [find] }
    alias: shop-api
  - name: the shop opens the safe
    from: { source: prod, path: /ns/shop/sa/api }
    to: { resource: safe, scopes: [open] }
  - name: some prove a key for orders
    from: { source: prod, path: /proves }
    to: { resource: orders, scopes: [read] }
    require: bound
  - name: the partner looks
    from: { source: partner, path: /ns/* }
    to: { resource: shared, scopes: [look] }
  - name: whoever looks, may look at the vault later
    from: { source: prod, path: /ns/shop/sa/api }
    to: { resource: vault, scopes: [open] }
    mode: observe
  - name: readers read
    from: { source: prod, path: /readers/* }
    to: { resource: orders, scopes: [read] }
  - name: two defaults, one
    from: { source: prod, path: /both }
    to: { resource: orders, scopes: [read] }
    default: true
  - name: two defaults, two
    from: { source: prod, path: /both }
    to: { resource: search, scopes: [find] }
    default: true
  - name: billing of one cluster
    from: { source: eu1, namespace: shop, service_account: billing }
    to: { resource: orders, scopes: [read] }
  - name: one account and no other of its name
    from: { source: eu1, namespace: shop, service_account: pinned, service_account_uid: "{uid}" }
    to: { resource: orders, scopes: [read] }
  - name: merged code of one repository reads orders
    from: { source: ci, repository_id: "4711", ref: refs/heads/main }
    to: { resource: orders, scopes: [read] }
  - name: protected branches of one repository read orders
    from: { source: ci, repository_id: "4711", ref_protected: "true" }
    to: { resource: orders, scopes: [read] }
  - name: the platform that shares its issuer with a cluster
    from: { source: twin, team: [core, "4711"] }
    to: { resource: orders, scopes: [read] }
  - name: the shop reads orders for people
    from: { source: prod, path: /ns/shop/sa/api }
    to: { resource: orders, scopes: [read] }
    on_behalf_of: { subjects: login }
  - name: pods of one node
    from: { source: eu1, namespace: shop, service_account: placed, node: node-1 }
    to: { resource: orders, scopes: [read] }
  - name: orders acts on stock for workloads
    from: { source: prod, path: /serves/orders }
    to: { resource: stock, scopes: [read, write, count] }
    on_behalf_of: { subjects: [prod, fleet], scopes: [read, count] }
  - name: the inbox acts on stock
    from: { source: prod, path: /serves/inbox }
    to: { resource: stock, scopes: [read] }
    on_behalf_of: { subjects: prod }
  - name: stock acts on books
    from: { source: prod, path: /serves/stock }
    to: { resource: books, scopes: [read, write] }
    on_behalf_of: { subjects: prod, depth: 2 }
  - name: books acts on stock, three deep
    from: { source: prod, path: /serves/books }
    to: { resource: stock, scopes: [read] }
    on_behalf_of: { subjects: prod, depth: 3 }
  - name: books acts on orders, two deep
    from: { source: prod, path: /serves/books }
    to: { resource: orders, scopes: [read] }
    on_behalf_of: { subjects: prod, depth: 2 }
  - name: the mask is taken for its subject
    from: { source: prod, path: /serves/mask }
    to: { resource: stock, scopes: [read] }
    on_behalf_of: { subjects: prod, impersonate: true }
  - name: plain rules are for oneself
    from: { source: prod, path: /serves/plain }
    to: { resource: stock, scopes: [read] }
  - name: the shop writes to the inbox
    from: { source: prod, path: /ns/shop/sa/api }
    to: { resource: inbox, scopes: [read] }
"#;
