//! One call, one answer: credentials, limits, health, reflection.

use std::time::Duration;

use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::call::channel;
use super::{Call, Client, Told};
use crate::stage::{API, ORDERS, Stage, answer, client, part, standard_config};

#[tokio::test(flavor = "multi_thread")]
async fn grp_01_a_token_over_grpc_is_the_token_over_http() {
    let stage = Stage::standard().await;
    let grpc = Client::of(&stage.issuer);
    for (call, sub) in [
        (Call::svid(&stage.svid()), API),
        (Call::pod(&stage.pod_token("eu1")), "spiffe://id.example/k8s/eu1/ns/shop/sa/api"),
    ] {
        let issued = grpc.exchange(&call).await.unwrap();
        let claims = part(&issued.access_token, 1);
        assert_eq!(
            (&claims["sub"], &claims["aud"], &claims["scope"]),
            (&sub.into(), &ORDERS.into(), &"read write".into())
        );
        assert_eq!((issued.token_type.as_str(), issued.scopes.join(" ").as_str()), ("Bearer", "read write"));
        assert_eq!(issued.expires_at.map(|at| at.seconds), claims["exp"].as_i64());
        assert_eq!((issued.expires_in.unwrap().seconds, issued.refresh_in.unwrap().seconds), (300, 240));
        assert_eq!(issued.issued_token_type, "urn:ietf:params:oauth:token-type:access_token");
    }
    let records = stage.written();
    assert!(records.iter().all(|record| record["transport"] == "grpc" && record["outcome"] == "allow"), "{records:?}");
    assert_eq!(records.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn grp_04_max_lifetime_shortens_and_never_lengthens() {
    let stage = Stage::standard().await;
    let grpc = Client::of(&stage.issuer);
    let life = async |seconds: i64, nanos: i32| {
        let mut call = Call::svid(&stage.svid());
        call.message.max_lifetime = Some(prost_types::Duration { seconds, nanos });
        grpc.exchange(&call).await.map(|issued| issued.expires_in.unwrap().seconds)
    };
    assert_eq!(life(60, 0).await.unwrap(), 60);
    assert_eq!(life(60, 999_999_999).await.unwrap(), 60);
    assert_eq!(life(i64::MAX, 0).await.unwrap(), 300);
    for (seconds, nanos) in [(0, 0), (0, 999_999_999), (-60, 0), (60, -1)] {
        let status = life(seconds, nanos).await.unwrap_err();
        assert_eq!(Told::of(&status).unwrap().reason, "MALFORMED_REQUEST", "{seconds} {nanos}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grp_05_grp_06_one_credential_in_one_place() {
    let stage = Stage::standard().await;
    let grpc = Client::of(&stage.issuer);
    let svid = stage.svid();
    let bearer = format!("Bearer {svid}");
    let issued = grpc.exchange(&Call::of(None).authorization(&bearer)).await.unwrap();
    assert_eq!(part(&issued.access_token, 1)["sub"], API);
    let lower = grpc.exchange(&Call::of(None).authorization(&format!("bearer {svid}"))).await;
    assert!(lower.is_ok(), "schemes have no case");
    let refused = [
        (Call::svid(&svid).authorization(&bearer), Code::InvalidArgument, "CREDENTIAL_AMBIGUOUS"),
        (Call::pod(&stage.pod_token("eu1")).authorization(&bearer), Code::InvalidArgument, "CREDENTIAL_AMBIGUOUS"),
        (Call::svid(&svid).authorization("Basic YTpi"), Code::InvalidArgument, "CREDENTIAL_AMBIGUOUS"),
        (Call::of(None).authorization("Basic YTpi"), Code::Unauthenticated, "ASSERTION_TYPE_UNSUPPORTED"),
        (Call::of(None).authorization("Bearer x"), Code::Unauthenticated, "CREDENTIAL_MALFORMED"),
        // A pod token is no JWT-SVID, wherever it stands.
        (
            Call::of(None).authorization(&format!("Bearer {}", stage.pod_token("eu1"))),
            Code::Unauthenticated,
            "SUBJECT_INVALID",
        ),
        (Call::of(None), Code::Unauthenticated, "CREDENTIAL_MISSING"),
    ];
    for (call, code, reason) in refused {
        let status = grpc.exchange(&call).await.unwrap_err();
        assert_eq!((status.code(), Told::of(&status).unwrap().reason.as_str()), (code, reason));
    }
    // Metadata that speaks of a certificate is not read: the connection has none.
    let mut request = Call::of(None).request(Call::of(None).message);
    request.metadata_mut().insert("x-forwarded-client-cert", format!("URI={API}").parse().unwrap());
    let status = grpc.0.clone().exchange(request).await.unwrap_err();
    assert_eq!(Told::of(&status).unwrap().reason, "CREDENTIAL_MISSING");
}

/// A message in its frame.
fn framed(message: &[u8]) -> Vec<u8> {
    [&[0], &u32::try_from(message.len()).unwrap().to_be_bytes()[..], message].concat()
}

/// A field of a message that nobody knows, of so many bytes as a whole.
fn unknown_field(length: usize) -> Vec<u8> {
    // Number 1000, bytes: two bytes of key, three of length.
    let content = length - 5;
    let varint = [(content & 0x7f) as u8 | 0x80, (content >> 7 & 0x7f) as u8 | 0x80, (content >> 14) as u8];
    [&[0xc2, 0x3e], &varint[..], &vec![b'x'; content]].concat()
}

/// A gRPC request by hand, over HTTP/2: status and reason of the answer.
async fn by_hand(stage: &Stage, body: Vec<u8>, headers: &[(&str, &str)]) -> (String, String) {
    let http2 =
        crate::stage::client_builder().http2_prior_knowledge().timeout(Duration::from_secs(15)).build().unwrap();
    let mut request = http2
        .post(format!("{}/countersign.v1.TokenService/Exchange", stage.issuer))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = answer(request.send().await.unwrap()).await;
    let status = tonic::Status::from_header_map(&answer.headers);
    let reason = status.as_ref().and_then(Told::of).map(|told| told.reason);
    (status.map(|status| format!("{:?}", status.code())).unwrap_or_default(), reason.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn grp_08_what_is_no_message_is_refused_with_a_record() {
    let stage = Stage::standard().await;
    let good = prost::Message::encode_to_vec(&Call::svid(&stage.svid()).message);
    let fits = [good.clone(), unknown_field(64 * 1024 - good.len())].concat();
    let over = [good.clone(), unknown_field(64 * 1024 + 1 - good.len())].concat();
    let compressed = [&[1], &framed(&good)[1..]].concat();
    let invalid = ("InvalidArgument".to_owned(), "MALFORMED_REQUEST".to_owned());
    let large = ("InvalidArgument".to_owned(), "REQUEST_TOO_LARGE".to_owned());
    let granted = (String::new(), String::new());
    let cases = [
        ("a message of 64 KiB", framed(&fits), granted.clone()),
        ("a byte more", framed(&over), large.clone()),
        ("a length of 4 GiB", vec![0, 0xff, 0xff, 0xff, 0xff], large),
        ("no message", Vec::new(), invalid.clone()),
        ("two messages", [framed(&good), framed(&good)].concat(), invalid.clone()),
        ("compressed", compressed, invalid.clone()),
        ("no protobuf", framed(b"\xff\xff"), invalid.clone()),
        ("a text that is no UTF-8", framed(b"\x1a\x01\xff"), invalid),
    ];
    for (name, body, wanted) in cases {
        let before = stage.written().len();
        assert_eq!(by_hand(&stage, body, &[]).await, wanted, "{name}");
        let records = stage.written();
        assert_eq!(records.len(), before + 1, "{name}");
        let (transport, reason) =
            (&records[before]["transport"], records[before]["reason"].as_str().unwrap_or_default());
        assert_eq!((transport, reason.to_uppercase()), (&"grpc".into(), wanted.1), "{name}");
    }
    // Half a message, and then the end: its sender is gone.
    let half = framed(&good)[..100].to_vec();
    assert_eq!(by_hand(&stage, half, &[]).await.0, "Cancelled");
    assert_eq!(stage.written().last().unwrap()["outcome"], "dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn grp_08_a_message_that_never_ends_has_a_deadline() {
    let stage = Stage::standard().await;
    let (sender, waiting) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
    sender.send(Ok(vec![0, 0, 0])).await.unwrap();
    let http2 = crate::stage::client_builder().http2_prior_knowledge().build().unwrap();
    let request = http2
        .post(format!("{}/countersign.v1.TokenService/Exchange", stage.issuer))
        .header("content-type", "application/grpc")
        .header("grpc-timeout", "300m")
        .body(reqwest::Body::wrap_stream(tokio_stream::wrappers::ReceiverStream::new(waiting)));
    let status = tonic::Status::from_header_map(request.send().await.unwrap().headers()).unwrap();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    drop(sender);
    assert_eq!(stage.written().last().unwrap()["outcome"], "dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn grp_07_health_and_reflection() {
    let stage = Stage::standard().await;
    stage.app.ready().await;
    let mut health = HealthClient::new(channel(&stage.issuer));
    for service in ["", "countersign.v1.TokenService"] {
        let ask = || HealthCheckRequest { service: service.to_owned() };
        let mut status = 0;
        for _ in 0..200 {
            status = health.check(ask()).await.unwrap().into_inner().status;
            if status == 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(status, 1, "{service:?} serves");
    }
    let unknown = health.check(HealthCheckRequest { service: "x".to_owned() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let listed = services(&stage).await.unwrap();
    for service in ["countersign.v1.TokenService", "grpc.health.v1.Health"] {
        assert!(listed.iter().any(|name| name == service), "{listed:?}");
    }
    let without = Stage::with(|world, issuer| standard_config(world, issuer) + "grpc: { reflection: false }\n").await;
    assert_eq!(services(&without).await.unwrap_err().code(), Code::Unimplemented);
}

/// The services that reflection lists.
async fn services(stage: &Stage) -> Result<Vec<String>, tonic::Status> {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let ask = tonic_reflection::pb::v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(channel(&stage.issuer));
    let mut answers = client.server_reflection_info(tokio_stream::once(ask)).await?.into_inner();
    match answers.message().await?.and_then(|answer| answer.message_response) {
        Some(MessageResponse::ListServicesResponse(list)) => Ok(list.service.into_iter().map(|one| one.name).collect()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_that_are_not_there_say_so() {
    let stage = Stage::standard().await;
    let posted = client()
        .post(format!("{}/countersign.v1.TokenService/Other", stage.issuer))
        .header("content-type", "application/grpc")
        .send();
    let posted = posted.await.unwrap();
    assert_eq!((posted.status().as_u16(), posted.headers()["grpc-status"].to_str().unwrap()), (200, "12"));
    let got = client().get(format!("{}/countersign.v1.TokenService/Exchange", stage.issuer)).send().await.unwrap();
    assert_eq!(got.status(), 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn grp_09_no_status_or_trailer_has_a_token() {
    let stage = Stage::standard().await;
    let grpc = Client::of(&stage.issuer);
    let svid = stage.svid();
    let spoiled = format!("{svid}x");
    let mut calls = vec![Call::svid(&spoiled), Call::pod(&svid), Call::svid(&stage.pod_token("eu1"))];
    let mut in_wrong_fields = Call::svid(&svid);
    in_wrong_fields.message.client_id.clone_from(&svid);
    calls.push(in_wrong_fields);
    for call in calls {
        let status = grpc.exchange(&call).await.unwrap_err();
        let told =
            format!("{:?} {:?} {}", status.metadata(), String::from_utf8_lossy(status.details()), status.message());
        for token in [&svid, &spoiled] {
            let signature = token.rsplit('.').next().unwrap();
            assert!(!told.contains(signature), "{told}");
        }
    }
}
