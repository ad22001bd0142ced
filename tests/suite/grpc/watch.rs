//! Streams of tokens: in time, by the newest state, and with the reason when they end.

use std::time::Duration;

use countersign::app::Reloaded;
use countersign::clock::{Clock, Lifetime};
use countersign::issue::NewKey;
use countersign::wire::grpc::v1;
use countersign::wire::grpc::v1::watch_response::Message;
use countersign::world::cluster::TokenAsk;
use countersign::world::keys::Algorithm;
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::{Call, Client, Told};
use crate::evidence;
use crate::stage::{Stage, part, standard_config};

/// One open stream.
pub struct Open {
    pub sender: Sender<v1::WatchRequest>,
    pub answers: Streaming<v1::WatchResponse>,
}

/// The first message.
pub fn first(call: &Call) -> v1::WatchRequest {
    v1::WatchRequest { message: Some(v1::watch_request::Message::Exchange(Box::new(call.message.clone()))) }
}

/// A later message.
fn fresh(credential: v1::fresh_credential::Credential) -> v1::WatchRequest {
    let fresh = v1::FreshCredential { credential: Some(credential) };
    v1::WatchRequest { message: Some(v1::watch_request::Message::FreshCredential(fresh)) }
}

fn fresh_svid(svid: &str) -> v1::WatchRequest {
    evidence::secret(svid);
    fresh(v1::fresh_credential::Credential::JwtSvid(svid.to_owned()))
}

impl Open {
    /// Opens a stream; the first message is under way.
    pub async fn new(client: &Client, call: &Call) -> Self {
        Self::with(client, call, first(call)).await
    }

    async fn with(client: &Client, call: &Call, message: v1::WatchRequest) -> Self {
        let (sender, messages) = channel(4);
        sender.send(message).await.unwrap();
        let request = call.request(ReceiverStream::new(messages));
        let answers = client.0.clone().watch(request).await.unwrap().into_inner();
        Self { sender, answers }
    }

    /// What comes next, or how it ended.
    pub async fn next(&mut self) -> Result<Message, Status> {
        let next = tokio::time::timeout(Duration::from_secs(20), self.answers.message()).await;
        let next = next.unwrap_or_else(|_| panic!("nothing comes"))?;
        Ok(next.and_then(|next| next.message).unwrap_or_else(|| panic!("an end without a reason")))
    }

    /// The next token.
    pub async fn token(&mut self) -> v1::ExchangeResponse {
        match self.next().await {
            Ok(Message::Token(token)) => {
                evidence::secret(&token.access_token);
                token
            }
            other => panic!("{other:?} instead of a token"),
        }
    }

    /// The reason of its end.
    async fn end(&mut self) -> (Code, String) {
        match self.next().await {
            Err(status) => (status.code(), Told::of(&status).map(|told| told.reason).unwrap_or_default()),
            Ok(other) => panic!("{other:?} instead of the end"),
        }
    }

    /// Whether nothing comes for a moment.
    async fn is_silent(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(200), self.answers.message()).await.is_err()
    }
}

fn pod(stage: &Stage, life: Lifetime) -> Call {
    let ask = TokenAsk::new("shop", "api", &stage.issuer).lifetime(life);
    Call::pod(&stage.cluster("eu1").mint(&ask).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_token_comes_before_the_last_one_dies() {
    let stage = Stage::standard().await;
    let client = Client::of(&stage.issuer);
    let mut open = Open::new(&client, &pod(&stage, Lifetime::from_hours(1))).await;
    let one = open.token().await;
    stage.advance(Lifetime::from_seconds(239)).await;
    assert!(open.is_silent().await, "not before it is due");
    stage.advance(Lifetime::from_seconds(1)).await;
    let two = open.token().await;
    assert_ne!(one.access_token, two.access_token);
    assert_eq!(two.expires_at.unwrap().seconds - one.expires_at.unwrap().seconds, 240);
    let records = stage.written();
    assert_eq!(records.len(), 2, "each token is a decision");
    assert!(records.iter().all(|record| record["transport"] == "grpc" && record["outcome"] == "allow"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_credential_is_asked_for_in_time() {
    let stage = Stage::standard().await;
    let client = Client::of(&stage.issuer);
    let began = stage.clock.now().seconds();
    let mut open = Open::new(&client, &Call::svid(&stage.svid())).await;
    open.token().await;
    stage.advance(Lifetime::from_seconds(120)).await;
    let Message::CredentialNeeded(needed) = open.next().await.unwrap() else { panic!() };
    assert_eq!(needed.by.unwrap().seconds, began + 300);
    open.sender.send(fresh_svid(&stage.svid())).await.unwrap();
    assert_eq!(open.token().await.expires_at.unwrap().seconds, began + 420);
    // Nobody answers the next time: it ends with its credential, and says so.
    stage.advance(Lifetime::from_seconds(120)).await;
    assert!(matches!(open.next().await.unwrap(), Message::CredentialNeeded(_)));
    stage.advance(Lifetime::from_seconds(180)).await;
    assert_eq!(open.end().await, (Code::Unauthenticated, "TOKEN_EXPIRED".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn grp_05_a_fresh_credential_is_of_the_same_identity() {
    let stage = Stage::standard().await;
    let client = Client::of(&stage.issuer);
    let other = stage.world.trust_domain();
    let other =
        other.mint("spiffe://prod.example/ns/shop/sa/other", &[&stage.issuer], Lifetime::from_minutes(5)).unwrap();
    let pod_token = stage.pod_token("eu1");
    evidence::secret(&pod_token);
    let exchange_again = first(&Call::svid(&stage.svid()));
    let cases = [
        (fresh_svid(&other), Code::Unauthenticated, "CLIENT_ID_MISMATCH"),
        (fresh(v1::fresh_credential::Credential::FederatedJwt(pod_token)), Code::Unauthenticated, "CLIENT_ID_MISMATCH"),
        (fresh_svid("x"), Code::Unauthenticated, "CREDENTIAL_MALFORMED"),
        (fresh_svid(""), Code::Unauthenticated, "CREDENTIAL_MISSING"),
        (exchange_again, Code::InvalidArgument, "MALFORMED_REQUEST"),
        (v1::WatchRequest::default(), Code::InvalidArgument, "MALFORMED_REQUEST"),
    ];
    for (message, code, reason) in cases {
        let mut open = Open::new(&client, &Call::svid(&stage.svid())).await;
        open.token().await;
        open.sender.send(message).await.unwrap();
        assert_eq!(open.end().await, (code, reason.to_owned()));
        assert_eq!(stage.written().last().unwrap()["reason"], reason.to_lowercase());
    }
    // What comes first is an exchange, without a proof that is good for one token.
    let call = Call::svid(&stage.svid());
    let mut proof = call.message.clone();
    proof.dpop_proof = "a.b.c".to_owned();
    let proof = v1::WatchRequest { message: Some(v1::watch_request::Message::Exchange(Box::new(proof))) };
    for message in [fresh_svid(&stage.svid()), proof] {
        let mut open = Open::with(&client, &call, message).await;
        assert_eq!(open.end().await, (Code::InvalidArgument, "MALFORMED_REQUEST".to_owned()));
    }
    // The metadata authenticates the first exchange, a field every later one.
    let bearer = Call::of(None).authorization(&format!("Bearer {}", stage.svid()));
    let mut open = Open::new(&client, &bearer).await;
    open.token().await;
    open.sender.send(fresh_svid(&stage.svid())).await.unwrap();
    open.token().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grp_01_a_changed_policy_reaches_a_stream_and_a_refusal_ends_it() {
    let stage = Stage::standard().await;
    let client = Client::of(&stage.issuer);
    let good = standard_config(&stage.world, &stage.issuer);
    let mut open = Open::new(&client, &Call::svid(&stage.svid())).await;
    assert_eq!(open.token().await.scopes, ["read", "write"]);
    let narrower = good.replace(
        "from: { source: prod, path: /ns/shop/sa/api }\n    to: { resource: orders, scopes: [read, write] }",
        "from: { source: prod, path: /ns/shop/sa/api }\n    to: { resource: orders, scopes: [read] }",
    );
    assert!(matches!(stage.reconfigure(&narrower).await, Reloaded::Taken { .. }));
    assert_eq!(open.token().await.scopes, ["read"]);
    let none = good.replace("path: /ns/shop/sa/api", "path: /ns/shop/sa/other");
    assert!(matches!(stage.reconfigure(&none).await, Reloaded::Taken { .. }));
    assert_eq!(open.end().await, (Code::PermissionDenied, "NOT_GRANTED".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_signing_key_reaches_a_stream() {
    let stage = Stage::standard().await;
    let client = Client::of(&stage.issuer);
    let mut open = Open::new(&client, &pod(&stage, Lifetime::from_hours(1))).await;
    let before = open.token().await;
    let key =
        NewKey::make(Algorithm::ES256, Lifetime::ZERO, stage.clock.now().plus(Lifetime::from_seconds(1))).unwrap();
    key.write(&stage.directory.path().join("keys").join(&key.name)).unwrap();
    let kid = |token: &v1::ExchangeResponse| part(&token.access_token, 0)["kid"].clone();
    let after = tokio::spawn(async move { open.token().await });
    for _ in 0..40 {
        stage.advance(Lifetime::from_seconds(2)).await;
        tokio::time::sleep(Duration::from_millis(25)).await;
        if after.is_finished() {
            break;
        }
    }
    let after = after.await.unwrap();
    assert_eq!(kid(&after), key.key_id.to_string());
    assert_ne!(kid(&before), kid(&after));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_waited_for_while_the_token_is_good() {
    let stage = Stage::with(|world, issuer| standard_config(world, issuer) + "limits: { per_identity: 1/m }\n").await;
    let client = Client::of(&stage.issuer);
    let mut open = Open::new(&client, &Call::svid(&stage.svid())).await;
    open.token().await;
    open.sender.send(fresh_svid(&stage.svid())).await.unwrap();
    assert!(open.is_silent().await, "rate_limited does not end it");
    assert_eq!(stage.written().last().unwrap()["reason"], "rate_limited");
    stage.advance(Lifetime::from_seconds(61)).await;
    open.token().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_takes_nothing_finds_the_newest_state() {
    let stage = Stage::standard().await;
    let good = standard_config(&stage.world, &stage.issuer);
    // A window that the first frames fill: nothing more can be sent until the reader goes on.
    let channel =
        tonic::transport::Endpoint::from_shared(stage.issuer.clone()).unwrap().initial_stream_window_size(1024);
    let client = Client(v1::token_service_client::TokenServiceClient::new(channel.connect_lazy()));
    let mut open = Open::new(&client, &pod(&stage, Lifetime::from_hours(1))).await;
    open.token().await;
    let before = stage.written().len();
    for turn in 0..60 {
        assert!(matches!(stage.reconfigure(&format!("{good}# {turn}\n")).await, Reloaded::Taken { .. }));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let made = stage.written().len() - before;
    assert!(made < 30, "{made} tokens were made for a reader that took none");
    let none = good.replace("group: fleet", "group: fleet, node: none");
    assert!(matches!(stage.reconfigure(&none).await, Reloaded::Taken { .. }));
    let mut taken = 0;
    let end = loop {
        match open.next().await {
            Ok(_) => taken += 1,
            Err(status) => break status,
        }
    };
    assert_eq!(Told::of(&end).unwrap().reason, "NOT_GRANTED");
    assert!(taken <= made + 1, "{taken} of {made}");
}

#[tokio::test(flavor = "multi_thread")]
async fn grp_08_a_stream_ends_with_the_process_and_with_the_callers_deadline() {
    let stage = Stage::standard().await;
    let client = Client::of(&stage.issuer);
    let call = Call::svid(&stage.svid());
    let mut short = {
        let (sender, messages) = channel(4);
        sender.send(first(&call)).await.unwrap();
        let mut request = call.request(ReceiverStream::new(messages));
        request.metadata_mut().insert("grpc-timeout", "400m".parse().unwrap());
        Open { sender, answers: client.0.clone().watch(request).await.unwrap().into_inner() }
    };
    short.token().await;
    assert_eq!(short.end().await.0, Code::DeadlineExceeded);
    let mut open = Open::new(&client, &call).await;
    open.token().await;
    let app = stage.app.clone();
    let stopping = tokio::spawn(async move { app.stop().await });
    assert_eq!(open.end().await, (Code::Unavailable, "DRAINING".to_owned()));
    drop((open, short, client));
    assert_eq!(stopping.await.unwrap(), countersign::lifecycle::Drained::Whole);
}
