//! Keys that a workload of a cluster pushes: by the feeder alone, once, in order; kept over restarts, and followed over rotations.

mod collisions;
mod dropped;
mod feeder;
mod lost;
mod refused;

use countersign::clock::Lifetime;
use countersign::trust::SourceStatus;
use countersign::world::cluster::{PretendCluster, TokenAsk};
use countersign::world::keys::Algorithm;
use countersign::world::{SHARED_ISSUER, ScratchDirectory};
use futures_util::StreamExt;

use crate::evidence;
use crate::faults::extend;
use crate::stage::{
    Answer, RESOURCES_AND_RULES, Stage, answer, client, cluster_source, eventually, server_config, spiffe_source,
};

/// A stage on which `edge-2` pushes its keys, by `feeder` in `countersign`.
struct Ground {
    stage: Stage,
    first: ScratchDirectory,
}

impl Ground {
    async fn new() -> Self {
        Self::with_server(str::to_owned).await
    }

    /// The same with another server.
    async fn with_server(change: impl FnOnce(&str) -> String) -> Self {
        let first = ScratchDirectory::new().unwrap();
        let file = first.path().join("jwks.json");
        let stage = Stage::with(|world, issuer| {
            let edge = world.cluster("edge-2").unwrap();
            std::fs::write(&file, edge.jwks().to_string()).unwrap();
            format!(
                "{}{}{}  - name: edge-2\n    groups: [fleet]\n    kubernetes:\n      issuers: [{SHARED_ISSUER}]\n      keys: {{ push: \
                 {{ first: \"{}\", by: {{ namespace: countersign, service_account: feeder }} }} }}\n{RESOURCES_AND_RULES}",
                change(&server_config(issuer)),
                spiffe_source(world),
                cluster_source(world.cluster("eu1").unwrap()),
                file.display()
            )
        })
        .await;
        Self { stage, first }
    }

    fn edge(&self) -> &PretendCluster {
        self.stage.cluster("edge-2")
    }

    fn audience(&self) -> String {
        format!("{}/sources/edge-2/keys", self.stage.issuer)
    }

    /// A token of the feeder.
    fn ask(&self) -> TokenAsk {
        TokenAsk::new("countersign", "feeder", &self.audience()).lifetime(Lifetime::from_minutes(15))
    }

    fn feeder(&self) -> String {
        self.edge().mint(&self.ask()).unwrap()
    }

    fn jwks(&self) -> String {
        self.edge().jwks().to_string()
    }

    async fn push(&self, token: &str, body: &str) -> Answer {
        self.put(&[("authorization", &format!("Bearer {token}")), ("content-type", "application/jwk-set+json")], body)
            .await
    }

    async fn put(&self, headers: &[(&str, &str)], body: &str) -> Answer {
        self.send(headers, body.to_owned()).await
    }

    /// Begins a push of 10 MB, and waits for the answer as soon as there is more of it than is read.
    async fn push_of_ten_megabytes(&self, token: &str, jwks: &str) -> Answer {
        let beginning = format!("{jwks}{}", " ".repeat(70_000 - jwks.len()));
        let first = futures_util::stream::iter([Ok::<_, std::io::Error>(beginning)]);
        let body = reqwest::Body::wrap_stream(first.chain(futures_util::stream::pending()));
        let bearer = format!("Bearer {token}");
        let headers =
            [("authorization", bearer.as_str()), ("content-type", "application/json"), ("content-length", "10485760")];
        self.send(&headers, body).await
    }

    async fn send(&self, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Answer {
        let mut request = client().put(self.audience()).body(body);
        for (name, value) in headers {
            evidence::secret(value);
            request = request.header(*name, *value);
        }
        answer(request.send().await.unwrap()).await
    }

    async fn pushed(&self, token: &str) {
        let answer = self.push(token, &self.jwks()).await;
        assert_eq!((answer.status, answer.text.as_str()), (204, ""));
    }

    fn status(&self) -> SourceStatus {
        let all = self.stage.app.trust().status();
        all.into_iter().find(|source| source.name.as_str() == "edge-2").unwrap()
    }

    /// Whether a pod of the cluster gets a token now: 200, or the reason why not.
    async fn pod(&self) -> String {
        self.with(&self.stage.pod_token("edge-2")).await
    }

    /// Whether that pod token gives one.
    async fn with(&self, token: &str) -> String {
        let answer = self.stage.exchange_pod(token).await;
        match answer.status {
            200 => "granted".to_owned(),
            _ => self.stage.reason(&answer).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_replaces_the_keys_and_is_recorded_and_shown() {
    let ground = Ground::new().await;
    assert_eq!(ground.status().last_push, None);
    let old = ground.edge().active_key();
    let token = ground.feeder();
    let new = ground.edge().rotate(Algorithm::ES256).unwrap();
    // Signed by a key that nobody here knows yet.
    assert_eq!(ground.pod().await, "keys_refreshing", "eu1 has the same issuer, and was asked a moment ago");
    ground.pushed(&token).await;
    assert_eq!(ground.pod().await, "granted");
    let last = ground.status().last_push.unwrap();
    assert_eq!(last.by, "spiffe://id.example/k8s/edge-2/ns/countersign/sa/feeder");
    assert_eq!(last.key_ids, [old.kid(), new.kid()]);
    let find = || {
        let lines = ground.stage.records.lines();
        lines.into_iter().find(|line| line["grant_type"] == "push")
    };
    eventually("the push is recorded", || find().is_some()).await;
    let record = find().unwrap();
    assert_eq!((&record["outcome"], &record["source"]), (&"allow".into(), &"edge-2".into()), "{record}");
    assert_eq!(record["id"], last.by);
    assert_eq!(record["push"]["keys"].as_array().unwrap().len(), 2, "{record}");
    assert_eq!(record["key"]["id"], old.kid(), "the key that vouched for the new ones");
    // The next is verified by the new key, and takes the old one away.
    ground.edge().withdraw(old.kid()).unwrap();
    ground.pushed(&ground.feeder()).await;
    assert_eq!(ground.status().last_push.unwrap().key_ids, [new.kid()]);
    assert_eq!(ground.pod().await, "granted");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pushed_outlives_a_restart_and_is_newer_than_the_first_keys() {
    let mut ground = Ground::new().await;
    let (early, token) = (ground.feeder(), ground.feeder());
    ground.stage.advance(Lifetime::from_seconds(60)).await;
    let late = ground.feeder();
    ground.pushed(&token).await;
    ground.edge().rotate(Algorithm::ES256).unwrap();
    ground.pushed(&late).await;
    ground.stage.restart().await;
    assert_eq!(ground.pod().await, "granted", "the first keys do not come back");
    assert_eq!(ground.status().keys, 2);
    let before = ground.status();
    assert_eq!(before.last_push.as_ref().unwrap().key_ids.len(), 2);
    let jwks = ground.jwks();
    for (name, token, reason) in [("replayed", &late, "already_used"), ("stale", &early, "token_too_old")] {
        let answer = ground.push(token, &jwks).await;
        assert_eq!(ground.stage.reason(&answer).await, reason, "{name} after a restart");
        assert_eq!(ground.status().last_push, before.last_push, "{name}");
    }
    ground.pushed(&ground.feeder()).await;
    // An operator's word comes after it: other first keys take the place of what was pushed.
    let pushed = ground.edge().active_key();
    ground.edge().rotate(Algorithm::ES256).unwrap();
    ground.edge().withdraw(pushed.kid()).unwrap();
    std::fs::write(ground.first.path().join("jwks.json"), ground.jwks()).unwrap();
    ground.stage.advance(Lifetime::from_seconds(6)).await;
    let now = ground.edge().active_key();
    eventually("the other first keys are taken", || ground.status().refreshes_ok > 1).await;
    assert_eq!(ground.pod().await, "granted", "{}", now.kid());
    ground.pushed(&ground.feeder()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn max_stale_is_a_limit_for_pushed_keys_too() {
    let mut ground = Ground::new().await;
    ground.pushed(&ground.feeder()).await;
    ground.stage.advance(Lifetime::from_hours(23)).await;
    // A restart does not make them younger.
    ground.stage.restart().await;
    assert_eq!(ground.pod().await, "granted");
    ground.stage.advance(Lifetime::from_minutes(59)).await;
    ground.pushed(&ground.feeder()).await;
    ground.stage.advance(Lifetime::from_minutes(24 * 60 + 1)).await;
    assert_eq!(ground.pod().await, "keys_stale");
    let answer = ground.push(&ground.feeder(), &ground.jwks()).await;
    assert_eq!((answer.status, ground.stage.reason(&answer).await.as_str()), (503, "keys_stale"));
    // The way back, as the documents say: an operator lets the last keys serve a little longer, and the feeder does the rest.
    assert_eq!(extend(&ground.stage, "edge-2", "1h").await.status, 200);
    ground.pushed(&ground.feeder()).await;
    ground.stage.advance(Lifetime::from_hours(23)).await;
    assert_eq!(ground.pod().await, "granted", "the push counts for max_stale, and not for the hour");
}
