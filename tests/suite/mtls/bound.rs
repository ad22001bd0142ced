//! Tokens that are bound to the certificate of the connection (RFC 8705 §3).

use aws_lc_rs::digest::{SHA256, digest};
use base64ct::{Base64UrlUnpadded, Encoding};
use countersign::clock::{Clock, Lifetime};
use countersign::config::{self, Environment};
use countersign::exchange::{Generation, GenerationId};
use countersign::policy::{Policy, PolicyInput, Require};
use countersign::world::x509::Certified;

use super::ground::{Ground, PARTNER, alone, ask};
use crate::stage::{API, Answer, JWT_SPIFFE, ORDERS};

/// From now on tokens for `orders` are bound.
fn require_binding(ground: &Ground) {
    let path = ground.stage.directory.path().join("countersign.yaml");
    let mut loaded = config::load(&path, &Environment::default()).unwrap().configuration;
    let orders = loaded.resources.iter_mut().find(|resource| resource.name.as_str() == "orders").unwrap();
    orders.require = Require::Bound;
    let input = PolicyInput {
        issuer: &loaded.issuer,
        identity_domain: &loaded.identity_domain,
        sources: &loaded.sources,
        subjects: &loaded.subjects,
        resources: &loaded.resources,
        rules: &loaded.rules,
        tests: &loaded.tests,
    };
    let policy = Policy::compile(&input).0.unwrap();
    ground.stage.app.exchange().replace(Generation::new(
        GenerationId::from_hash(&loaded.hash),
        loaded.issuer.clone(),
        loaded.identity_domain.clone(),
        ground.stage.app.trust().apply(&loaded.sources),
        policy,
        loaded.limits,
        loaded.grants.clone(),
    ));
}

fn x5t(leaf: &Certified) -> String {
    Base64UrlUnpadded::encode_string(digest(&SHA256, leaf.der()).as_ref())
}

/// A request with a JWT-SVID on a connection with this certificate.
async fn with_jwt(ground: &Ground, leaf: Option<&Certified>) -> Answer {
    let svid = ground.prod().mint(API, &[&ground.issuer], Lifetime::from_minutes(5)).unwrap();
    crate::evidence::secret(&svid);
    let explicit = [("client_assertion_type", JWT_SPIFFE), ("client_assertion", svid.as_str()), ("resource", ORDERS)];
    ground.connect(leaf.map(alone)).await.token(&explicit, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn mtl_04_mtl_09_a_bound_token_names_the_certificate_and_ends_with_it() {
    let ground = Ground::new().await;
    require_binding(&ground);
    let mut params = ground.params(API);
    let ends = ground.stage.clock.now().plus(Lifetime::from_minutes(2));
    params.not_after = time::OffsetDateTime::from_unix_timestamp(ends.seconds()).unwrap();
    let short = ground.prod().issue_x509(&params).unwrap();
    let answer = ask(&mut ground.connect(Some(alone(&short))).await, API).await;
    assert_eq!(answer.claims()["cnf"]["x5t#S256"], x5t(&short), "MTL-04");
    assert_eq!(answer.claims()["exp"], ends.seconds(), "MTL-09: the resource allows five minutes");
    // Beside an explicit credential the certificate of the connection binds, whoever issued it: its key was proven.
    for leaf in [&short, &ground.partner.issue_x509(&params).unwrap(), &ground.servers.issue(&params).unwrap()] {
        let answer = with_jwt(&ground, Some(leaf)).await;
        assert_eq!(answer.claims()["cnf"]["x5t#S256"], x5t(leaf));
        assert_eq!(answer.claims()["exp"], ends.seconds(), "MTL-09");
    }
    let answer = with_jwt(&ground, None).await;
    assert_eq!((answer.status, ground.stage.reason(&answer).await.as_str()), (400, "binding_required"));
    // A certificate that is over binds nothing.
    let mut over = ground.params(PARTNER);
    over.not_before = time::OffsetDateTime::from_unix_timestamp(ends.seconds() - 7200).unwrap();
    over.not_after = time::OffsetDateTime::from_unix_timestamp(ends.seconds() - 3600).unwrap();
    let answer = with_jwt(&ground, Some(&ground.partner.issue_x509(&over).unwrap())).await;
    assert_eq!(ground.stage.reason(&answer).await, "binding_required");
}
