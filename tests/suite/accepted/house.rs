//! The product with sources as odd as the standards allow.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64ct::{Base64UrlUnpadded, Encoding};
use countersign::clock::Lifetime;
use countersign::jose::Algorithm;
use countersign::world::World;
use countersign::world::forge::Forge;
use countersign::world::keys::{NamedKey, SigningKey, odd_key};
use countersign::world::spiffe_agent::PretendTrustDomain;
use serde_json::{Value, json};

use crate::stage::{Stage, cluster_source, server_config, spiffe_source};

/// The issuer that cluster eu1 had before (K8S-03).
pub const SECOND_ISSUER: &str = "https://oidc.eu1.example/id";
/// A trust domain that looks like an address (SID-08).
pub const ADDRESS: &str = "127.0.0.1";
/// A trust domain with every character that the standard allows beside letters (SID-03).
pub const ODD: &str = "-a_b..c9";
/// A key id that would be a path, a query and a template if anybody interpreted it (JOSE-21).
const ODD_KID: &str = "../../x'OR'1=1;${kid}%00";

/// A stage and what its sources hold.
pub struct House {
    pub stage: Stage,
    /// Keys of `prod`, one for each algorithm.
    pub prod: BTreeMap<Algorithm, NamedKey>,
    /// Keys of `eu1`.
    pub eu1: BTreeMap<Algorithm, NamedKey>,
    pub address: PretendTrustDomain,
    pub odd: PretendTrustDomain,
    pub longest: PretendTrustDomain,
}

/// What the world holds before the product starts.
struct Sources {
    prod: BTreeMap<Algorithm, NamedKey>,
    eu1: BTreeMap<Algorithm, NamedKey>,
    domains: [PretendTrustDomain; 3],
}

impl House {
    /// Starts everything.
    pub async fn start() -> Self {
        let mut made = None;
        let stage = Stage::with(|world, issuer| {
            made = Some(sources(world));
            config(world, issuer)
        })
        .await;
        let Sources { prod, eu1, domains: [address, odd, longest] } = made.unwrap();
        Self { stage, prod, eu1, address, odd, longest }
    }

    /// A good JWT-SVID of the standard workload, to be made unusual.
    pub fn svid(&self) -> Forge {
        self.stage.svid_forge()
    }

    /// A good token of the standard pod in eu1, to be made unusual.
    pub fn pod(&self) -> Forge {
        self.stage.pod_forge("eu1")
    }

    /// A good JWT-SVID of another trust domain.
    pub fn guest(&self, domain: &PretendTrustDomain, path: &str) -> Forge {
        domain.forge(&format!("spiffe://{}{path}", domain.name()), &[&self.stage.issuer], Lifetime::from_minutes(5))
    }

    /// Now, in seconds, and so many later.
    pub fn in_seconds(&self, seconds: i64) -> i64 {
        use countersign::clock::Clock;
        self.stage.clock.now().seconds() + seconds
    }
}

/// Signs.
pub fn signed(forge: &Forge) -> String {
    forge.sign().unwrap().token()
}

/// Signs by another key, and says so in the header.
pub fn signed_by(forge: Forge, key: &NamedKey) -> String {
    signed(&forge.header("alg", key.algorithm().name()).header("kid", key.kid()).key(key))
}

/// A name of 255 bytes (SID-07).
pub fn longest_domain() -> String {
    format!("{}.example", "d".repeat(255 - ".example".len()))
}

fn sources(world: &World) -> Sources {
    let domain = world.trust_domain();
    let prod = Algorithm::ALL.map(|algorithm| (algorithm, domain.key_of(algorithm).unwrap())).into();
    domain.publish_extra(odd_key());
    let cluster = world.cluster("eu1").unwrap();
    let mut eu1 = BTreeMap::from([(Algorithm::RS256, cluster.active_key())]);
    for algorithm in [Algorithm::ES256, Algorithm::ES384, Algorithm::ES512] {
        eu1.insert(algorithm, cluster.publish_new(algorithm).unwrap());
    }
    for odd in odd_keys() {
        cluster.publish_extra(odd);
    }
    Sources { prod, eu1, domains: domains(world) }
}

/// Keys of which none can be used and none may harm the others (JWK-08, K8S-02, BUN-03).
fn odd_keys() -> [Value; 6] {
    [
        odd_key(),
        json!({ "kty": "EC", "crv": "P-256", "kid": "without-coordinates", "use": "jwt-svid" }),
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }),
        json!({ "kid": "without-type", "use": "sig" }),
        json!({ "kty": "RSA", "kid": "short", "n": "AQ", "e": "AQAB", "use": "jwt-svid" }),
        json!("text"),
    ]
}

fn domains(world: &World) -> [PretendTrustDomain; 3] {
    let surroundings = world.trust_domain().surroundings().clone();
    let longest = longest_domain();
    let made = [ADDRESS, ODD, &longest].map(|name| PretendTrustDomain::new(name, &surroundings).unwrap());
    let [address, odd, longest] = &made;
    address.adopt(NamedKey::new(ODD_KID, Arc::new(SigningKey::generate(Algorithm::ES256).unwrap())));
    // JWK-12: two keys of one name, and the second signs.
    let twin = NamedKey::new(odd.active_key().kid(), Arc::new(SigningKey::generate(Algorithm::ES256).unwrap()));
    odd.adopt(twin);
    odd_keys().into_iter().for_each(|key| odd.publish_extra(key));
    longest.adopt(NamedKey::new("leading-zero", Arc::new(key_with_leading_zero())));
    for (domain, file) in made.iter().zip(["address", "odd", "longest"]) {
        let mut bundle = domain.spiffe_bundle();
        bundle["spiffe_future"] = json!({ "any": ["thing"] });
        for key in bundle["keys"].as_array_mut().unwrap().iter_mut().filter_map(Value::as_object_mut) {
            key.insert("x-note".to_owned(), json!({ "unknown": true }));
            if key.get("use") == Some(&json!("jwt-svid")) {
                key.insert("key_ops".to_owned(), json!(["verify"]));
            }
        }
        std::fs::write(world.directory().join(format!("{file}.json")), bundle.to_string()).unwrap();
    }
    made
}

/// JWK-04: a coordinate keeps its leading zero.
fn key_with_leading_zero() -> SigningKey {
    let leads = |key: &SigningKey| {
        let x = key.public_jwk()["x"].as_str().unwrap();
        Base64UrlUnpadded::decode_vec(x).unwrap()[0] == 0
    };
    std::iter::repeat_with(|| SigningKey::generate(Algorithm::ES256).unwrap()).find(leads).unwrap()
}

fn config(world: &World, issuer: &str) -> String {
    let mut text = server_config(issuer) + &spiffe_source(world);
    for cluster in world.clusters() {
        text.push_str(&cluster_source(cluster));
    }
    let first = "issuers: [https://kubernetes.default.svc.cluster.local]";
    let both = format!("issuers: [https://kubernetes.default.svc.cluster.local, \"{SECOND_ISSUER}\"]");
    text = text.replacen(first, &both, 1);
    for (name, domain) in [("address", ADDRESS), ("odd", ODD), ("longest", &longest_domain())] {
        text.push_str(&format!(
            "  - name: {name}\n    spiffe: {{ trust_domain: \"{domain}\", bundle: {{ file: {name}.json }} }}\n"
        ));
    }
    text + RESOURCES_AND_RULES
}

const RESOURCES_AND_RULES: &str = r#"
resources:
  - { name: orders, audience: "https://orders.example", scopes: [read, write], lifetime: 5m }
  - { name: search, audience: "https://search.example", scopes: [find], lifetime: 5m, algorithm: RS256, typ: JWT, claims: { azp: orders-app } }
  - { name: vault, audience: "urn:example:vault", scopes: [open], lifetime: 1m }
rules:
  - name: the shop may use orders from every cluster
    from: { group: fleet, namespace: shop, service_account: [api, api.v2] }
    to: { resource: orders, scopes: [read, write] }
    default: true
  - name: the shop's SPIFFE workload may use orders
    from: { source: prod, path: [/ns/shop/sa/api, /ns/Shop/sa/API] }
    to: { resource: orders, scopes: [read, write] }
    default: true
  - name: the shop searches
    from: { source: prod, namespace: shop, service_account: api }
    to: { resource: search, scopes: [find] }
    alias: shop-api
  - name: guests may read orders
    from: { source: [address, odd, longest], everyone: true }
    to: { resource: orders, scopes: [read] }
  - name: whoever has a long name may read orders
    from: { source: prod, path: /long/* }
    to: { resource: orders, scopes: [read] }
  - name: one pod opens the vault
    from: { source: eu1, namespace: shop, service_account: keeper, pod: keeper-0, node: node-1 }
    to: { resource: vault, scopes: [open] }
    alias: old-keeper
"#;
