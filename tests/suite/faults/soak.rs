//! Rotation without end, under load: of a trust domain by stream, of a cluster by fetches, and of our own keys, all at once.
//!
//! The clock is moved, so that eight days pass in seconds. No valid token is ever refused, no withdrawn key is ever taken after
//! the next message of the stream or one refresh interval, and whoever caches our key set as we allow it knows every key in time.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign::clock::{Clock, Lifetime};
use countersign::credential::CompactJws;
use countersign::identity::{KeyId, TrustDomain};
use countersign::jose::{Candidates, Header, KeyPurpose, KeySet, UnverifiedClaims, open};
use countersign::world::World;
use countersign::world::cluster::TokenAsk;
use countersign::world::keys::{Algorithm, NamedKey};
use serde_json::Value;
use tokio::sync::RwLock;

use super::{status, within};
use crate::stage::{
    API, JWT_BEARER, JWT_SPIFFE, ORDERS, Stage, client, cluster_source, encode, part, server_config, spiffe_source,
};

/// Of the trust domain's and the cluster's keys, and of ours.
const ROTATIONS: usize = 200;
/// With the time below it is the hour after which our own keys rotate, and more than any refresh interval.
const MOST_OF_AN_HOUR: Lifetime = Lifetime::from_minutes(55);
/// Just under the `max-age` of our own key set.
const A_CACHED_COPY: Lifetime = Lifetime::from_seconds(299);
/// Longer than any wait of the soak: no token here ever ends by itself.
const LONG: Lifetime = Lifetime::from_hours(4);

/// What changes from step to step. Who exchanges holds it for reading, so that no clock moves under a request.
struct Now {
    svid_key: NamedKey,
    pod_key: NamedKey,
    /// Our key set as a verifier has it that cached it as it may.
    cached: KeySet,
}

/// Keys that sign no more, and tokens that they signed.
struct Replaced {
    svid_key: NamedKey,
    pod_key: NamedKey,
    svid: String,
    pod: String,
}

struct Soak {
    stage: Stage,
    client: reqwest::Client,
    now: RwLock<Now>,
    over: AtomicBool,
    granted: AtomicUsize,
    /// The ids of our own keys that have signed.
    ours: Mutex<BTreeSet<String>>,
}

fn config(world: &World, issuer: &str) -> String {
    let server = server_config(issuer).replace("directory: ./keys", "directory: ./keys, rotate: 1h");
    let eu1 = cluster_source(world.cluster("eu1").unwrap());
    format!(
        "{server}{}{eu1}resources:\n  - {{ name: orders, audience: \"{ORDERS}\", scopes: [read], lifetime: 5m }}\nrules:\n  \
         - {{ name: pods, from: {{ source: eu1, namespace: shop, service_account: api }}, to: {{ resource: orders, scopes: [read] }} }}\n  \
         - {{ name: svids, from: {{ source: prod, path: /ns/shop/sa/api }}, to: {{ resource: orders, scopes: [read] }} }}\n",
        spiffe_source(world)
    )
}

impl Soak {
    async fn start() -> Self {
        let stage = Stage::with(config).await;
        let eu1 = stage.cluster("eu1");
        // The first key is RSA, which takes long to make and to use in a test build.
        let first = eu1.active_key();
        let pod_key = eu1.publish_new(Algorithm::ES256).unwrap();
        eu1.withdraw(first.kid()).unwrap();
        super::next_attempt(&stage, "eu1").await;
        let svid_key = stage.world.trust_domain().active_key();
        let cached = key_set(&stage).await;
        Self {
            stage,
            client: client(),
            now: RwLock::new(Now { svid_key, pod_key, cached }),
            over: AtomicBool::new(false),
            granted: AtomicUsize::new(0),
            ours: Mutex::default(),
        }
    }

    fn svid(&self, key: &NamedKey) -> String {
        let forge = self.stage.world.trust_domain().forge(API, &[&self.stage.issuer], LONG);
        signed(forge, key)
    }

    fn pod_token(&self, key: &NamedKey) -> String {
        let ask = TokenAsk { lifetime: LONG, ..TokenAsk::new("shop", "api", &self.stage.issuer) };
        signed(self.stage.cluster("eu1").forge(&ask).unwrap(), key)
    }

    /// The status and body of an answer. Nothing of it is kept: there are too many.
    async fn exchange(&self, assertion_type: &str, assertion: &str) -> (u16, Value) {
        let body = encode(&[
            ("grant_type", "client_credentials"),
            ("client_assertion_type", assertion_type),
            ("client_assertion", assertion),
            ("resource", ORDERS),
        ]);
        let url = format!("{}/token", self.stage.issuer);
        let request = self.client.post(url).header("content-type", "application/x-www-form-urlencoded").body(body);
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap())
    }

    /// A valid credential: granted, and our token is one that a verifier knows.
    async fn is_granted(&self, now: &Now, assertion_type: &str, assertion: &str) {
        let (status, body) = self.exchange(assertion_type, assertion).await;
        assert_eq!(status, 200, "a valid token was refused: {body}");
        let token = body["access_token"].as_str().unwrap();
        let jws = CompactJws::parse(token.to_owned()).unwrap();
        let header = Header::read(&jws).unwrap();
        let key_id = part(token, 0)["kid"].as_str().unwrap().to_owned();
        let Candidates::Try(fitting) = now.cached.candidates(&header) else {
            panic!("JWK-17: nobody knows {key_id} yet")
        };
        open(&jws, &header, UnverifiedClaims::read(&jws).unwrap(), &fitting[0]).unwrap();
        self.ours.lock().unwrap().insert(key_id);
        self.granted.fetch_add(1, Ordering::Relaxed);
    }

    /// Callers who come again and again.
    async fn load(&self) {
        while !self.over.load(Ordering::Relaxed) {
            let now = self.now.read().await;
            self.is_granted(&now, JWT_SPIFFE, &self.svid(&now.svid_key)).await;
            self.is_granted(&now, JWT_BEARER, &self.pod_token(&now.pod_key)).await;
            drop(now);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Our own keys are looked after at this very moment, whatever else the machine does: nothing may be planned by a clock that
    /// has moved on by an hour meanwhile.
    async fn own_keys_are_settled(&self) {
        let ring = Arc::clone(self.stage.app.exchange().issuer().ring());
        let at = self.stage.clock.now();
        tokio::task::spawn_blocking(move || ring.rotate_if_due(at)).await.unwrap().unwrap();
    }

    /// Lets more than one refresh interval pass, and our key set be cached for as long as it may.
    async fn an_hour_passes(&self) {
        let stage = &self.stage;
        let asked = status(stage, "eu1").refreshes_ok;
        let mut now = self.now.write().await;
        stage.clock.advance(MOST_OF_AN_HOUR);
        now.cached = key_set(stage).await;
        drop(now);
        let answered = || {
            let eu1 = status(stage, "eu1");
            assert_eq!(eu1.last_error, None, "nothing is wrong with it");
            eu1.refreshes_ok > asked && eu1.next_attempt.is_some()
        };
        within(10, "eu1 is asked", answered).await;
        self.own_keys_are_settled().await;
        let now = self.now.write().await;
        stage.clock.advance(A_CACHED_COPY);
        drop(now);
        self.own_keys_are_settled().await;
        // Or an attempt of this moment could end after the next key is there, and pass for one that has read it.
        super::settled(stage, "eu1").await;
    }

    /// One rotation of both: a new key is published and the one before the present one withdrawn, then the new one is used.
    async fn rotate(&self, before: Option<Replaced>) -> Replaced {
        let (domain, eu1) = (self.stage.world.trust_domain(), self.stage.cluster("eu1"));
        let (svid_key, pod_key) =
            (domain.publish_new(Algorithm::ES256).unwrap(), eu1.publish_new(Algorithm::ES256).unwrap());
        if let Some(before) = &before {
            domain.withdraw(before.svid_key.kid()).unwrap();
            eu1.withdraw(before.pod_key.kid()).unwrap();
        }
        self.message_has_come(svid_key.kid()).await;
        if let Some(before) = &before {
            let (late, body) = self.exchange(JWT_SPIFFE, &before.svid).await;
            assert_eq!((late, &body["error"]), (400, &"invalid_client".into()), "a withdrawn key was taken: {body}");
        }
        self.an_hour_passes().await;
        assert_eq!(status(&self.stage, "eu1").keys, 2, "the cluster is followed");
        if let Some(before) = &before {
            let (late, body) = self.exchange(JWT_BEARER, &before.pod).await;
            // Or 503, if the source may not be asked for an unknown key at this moment.
            assert!(matches!(late, 400 | 503), "a withdrawn key was taken: {body}");
        }
        let mut now = self.now.write().await;
        let (svid, pod) = (self.svid(&now.svid_key), self.pod_token(&now.pod_key));
        let svid_key = std::mem::replace(&mut now.svid_key, svid_key);
        let pod_key = std::mem::replace(&mut now.pod_key, pod_key);
        self.is_granted(&now, JWT_SPIFFE, &svid).await;
        self.is_granted(&now, JWT_BEARER, &pod).await;
        Replaced { svid_key, pod_key, svid, pod }
    }

    /// The stream has brought the bundle with that key, and without the withdrawn one.
    async fn message_has_come(&self, key_id: &str) {
        let key_id = KeyId::parse(key_id).unwrap();
        let view = self.stage.app.exchange().generation();
        let sources = view.trust().of_trust_domain(&TrustDomain::parse("prod.example").unwrap());
        let knows = || {
            sources[0]
                .keys_at(self.stage.clock.now())
                .is_ok_and(|now| now.set.keys().len() == 2 && now.set.knows(&key_id))
        };
        within(10, "the message has come", knows).await;
    }

    async fn until_all_have_rotated(&self) {
        let (mut rotations, mut replaced) = (0, None);
        while rotations < ROTATIONS || self.ours.lock().unwrap().len() <= ROTATIONS {
            replaced = Some(self.rotate(replaced).await);
            rotations += 1;
            assert!(
                rotations < 2 * ROTATIONS,
                "our own keys do not keep pace: {} so far",
                self.ours.lock().unwrap().len()
            );
        }
        self.over.store(true, Ordering::Relaxed);
    }
}

fn signed(forge: countersign::world::forge::Forge, key: &NamedKey) -> String {
    forge.key(key).header("kid", key.kid()).header("alg", "ES256").sign().unwrap().token()
}

async fn key_set(stage: &Stage) -> KeySet {
    let document = stage.request("GET", "/jwks", &[]).await;
    KeySet::parse(document.text.as_bytes(), KeyPurpose::JwkSet).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_17_two_hundred_rotations_on_all_sides_refuse_no_valid_token_and_take_no_withdrawn_key() {
    let soak = Arc::new(Soak::start().await);
    let callers: Vec<_> = (0..2)
        .map(|_| {
            let soak = Arc::clone(&soak);
            tokio::spawn(async move { soak.load().await })
        })
        .collect();
    let rotating = soak.until_all_have_rotated();
    tokio::pin!(rotating);
    let mut callers = futures_util::future::join_all(callers);
    tokio::select! {
        () = &mut rotating => {}
        ended = &mut callers => panic!("the callers ended: {ended:?}"),
    }
    for ended in callers.await {
        ended.unwrap();
    }
    let (granted, ours) = (soak.granted.load(Ordering::Relaxed), soak.ours.lock().unwrap().len());
    assert!(granted > 4 * ROTATIONS && ours > ROTATIONS, "{granted} grants by {ours} keys of ours");
    let published = key_set(&soak.stage).await.keys().len();
    assert!(published < 60, "our old keys leave the set: {published}");
}
