//! Which keys verify, and for which algorithm.

use countersign::world::keys::Algorithm;

use super::ground::{Ground, STRICT};
use super::keyring::{
    self, PSS_NO_SALT, PSS_SALT_20, PSS_SALT_32, PSS_SHA1_MASK, es256, key, pss_token, rsa, weak_token,
};
use super::run::{CLIENT, Row, refuse, row};

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_clusters() {
    refuse(&Ground::new().await, ROWS).await;
}

const ROWS: &[Row] = &[
    row("JWK-07 a genuine signature by an RSA key of 1024 bits", "key_unknown", CLIENT, |g| g.pod_text(&weak_token())),
    row("JWK-19 an RSA key of 16384 bits", "key_unknown", CLIENT, |g| {
        g.keyring(&es256("fit"), |t| t.header("kid", "huge").header("alg", "RS256"))
    }),
    row("JWK-19 an RSA key with an even exponent", "key_unknown", CLIENT, |g| {
        g.keyring(&es256("fit"), |t| t.header("kid", "even").header("alg", "RS256"))
    }),
    row("JWK-19 an RSA key with the exponent 1", "key_unknown", CLIENT, |g| {
        g.keyring(&es256("fit"), |t| t.header("kid", "one").header("alg", "RS256"))
    }),
    row("JWK-18 a point off the curve", "key_unknown", CLIENT, |g| g.keyring(&es256("off-curve"), |t| t)),
    row("JWK-18 the point at infinity", "key_unknown", CLIENT, |g| g.keyring(&es256("infinity"), |t| t)),
    row("JWK-04 a coordinate that is too short", "key_unknown", CLIENT, |g| g.keyring(&es256("short"), |t| t)),
    row("JWK-10 a key for encryption", "key_unknown", CLIENT, |g| g.keyring(&es256("enc"), |t| t)),
    row("JWK-10 a key that may only sign", "key_unknown", CLIENT, |g| g.keyring(&es256("sign-only"), |t| t)),
    row("JWK-10 use and key_ops contradict each other", "key_unknown", CLIENT, |g| g.keyring(&es256("at-odds"), |t| t)),
    row("JWK-08 a key with its private member", "key_unknown", CLIENT, |g| g.keyring(&es256("private"), |t| t)),
    row("JWK-08 K8S-02 a key of a type that nobody knows", "key_unknown", CLIENT, |g| {
        g.keyring(&es256("fit"), |t| t.header("kid", "ml-dsa"))
    }),
    row("JWK-08 an Ed25519 key", "key_unknown", CLIENT, |g| g.keyring(&es256("fit"), |t| t.header("kid", "ed25519"))),
    row("JSV-02 EdDSA by an Ed25519 key", "algorithm_refused", CLIENT, |g| {
        g.keyring(&es256("fit"), |t| t.header("kid", "ed25519").header("alg", "EdDSA"))
    }),
    row("JWK-11 BCJ-02 PS256 by a key for RS256", "algorithm_refused", CLIENT, |g| {
        g.keyring(&rsa("rsa-256", Algorithm::PS256), |t| t)
    }),
    row("JWK-11 BCJ-02 RS512 by a key for RS256", "algorithm_refused", CLIENT, |g| {
        g.keyring(&rsa("rsa-256", Algorithm::RS512), |t| t)
    }),
    row("JWK-11 ES256 by name, RSA by key", "algorithm_refused", CLIENT, |g| {
        g.keyring(&es256("fit"), |t| t.header("kid", "rsa-256"))
    }),
    row("JWK-11 RS256 by name, P-256 by key", "algorithm_refused", CLIENT, |g| {
        g.keyring(&rsa("fit", Algorithm::RS256), |t| t)
    }),
    row("JOSE-17 ES256 by a P-384 key", "algorithm_refused", CLIENT, |g| {
        g.keyring(&key("p384", Algorithm::ES384), |t| t.header("alg", "ES256"))
    }),
    row("JOSE-17 ES512 by a P-384 key", "algorithm_refused", CLIENT, |g| {
        g.keyring(&key("p384", Algorithm::ES384), |t| t.header("alg", "ES512"))
    }),
    row("JOSE-18 PS256 called RS256", "signature_invalid", CLIENT, |g| {
        g.keyring(&rsa("rsa-any", Algorithm::PS256), |t| t.header("alg", "RS256"))
    }),
    row(
        "JOSE-18 a salt as long as the hash is taken, and only the audience is wrong",
        "audience_mismatch",
        CLIENT,
        |g| g.pod_text(&pss_token(PSS_SALT_32)),
    ),
    row("JOSE-18 no salt", "signature_invalid", CLIENT, |g| g.pod_text(&pss_token(PSS_NO_SALT))),
    row("JOSE-18 a salt of 20 bytes", "signature_invalid", CLIENT, |g| g.pod_text(&pss_token(PSS_SALT_20))),
    row("JOSE-18 a mask made by SHA-1", "signature_invalid", CLIENT, |g| g.pod_text(&pss_token(PSS_SHA1_MASK))),
    row("JWK-12 a kid of several keys, signed by none of them", "signature_invalid", CLIENT, |g| {
        g.keyring(&es256("stranger"), |t| t.header("kid", "twice"))
    }),
    row("BCJ-01 the source takes ES256 alone, and the RSA key is its own", "algorithm_refused", CLIENT, |g| {
        let forge = g.file_forge(STRICT, &rsa("rsa-256", Algorithm::RS256));
        g.pod_text(&forge.sign().unwrap().token())
    }),
    row("BCJ-04 the issuer of one cluster, a key that only another has", "key_unknown", CLIENT, |g| {
        let forge = g.file_forge(STRICT, &es256("chatty"));
        g.pod_text(&forge.sign().unwrap().token())
    }),
    row(
        "K8S-09 BCJ-04 the kid of one cluster, signed by another of the same issuer",
        "signature_invalid",
        CLIENT,
        |g| {
            let kid = g.stage.cluster("eu1").active_key().kid().to_owned();
            let key = g.stage.cluster("edge-2").active_key();
            g.pod(|t| t.key(&key).header("kid", kid))
        },
    ),
    row("K8S-01 signed by a trust domain's key", "key_unknown", CLIENT, |g| {
        let key = g.stage.world.trust_domain().active_key();
        g.keyring(&key, |t| t)
    }),
    row("K8S-01 one bit of a pod token's signature", "signature_invalid", CLIENT, |g| {
        let good = g.stage.pod_forge("eu1").sign().unwrap();
        let mut bytes = good.signature_bytes();
        bytes[100] ^= 1;
        g.pod_text(&good.with_signature(&bytes).token())
    }),
    row("JWK-11 HS256 under the name of a public key", "algorithm_refused", CLIENT, |g| {
        let forge = g.file_forge(super::ground::KEYRING, &es256("fit")).header("alg", "HS256");
        g.pod_text(&forge.hmac_sha256(keyring::SHARED_SECRET).token())
    }),
];

/// Keys that the API server takes and does not publish are no keys here; and strangers cannot make us ask for more.
#[tokio::test(flavor = "multi_thread")]
async fn hidden_keys_k8s_15_and_unknown_key_ids_jwk_13() {
    use countersign::clock::Lifetime;
    use countersign::world::cluster::JWKS_PATH;

    let ground = Ground::new().await;
    let cluster = ground.stage.cluster("eu1");
    let hidden = cluster.active_key();
    cluster.rotate(Algorithm::ES256).unwrap();
    cluster.hide(hidden.kid()).unwrap();
    // A token by the new key makes us look again; the set that comes has no hidden key.
    let mut tries = 0;
    while ground.good_pod().send(&ground.client, ground.issuer()).await.status != 200 {
        tries += 1;
        assert!(tries < 10, "the new key is not found");
        ground.stage.advance(Lifetime::from_seconds(31)).await;
    }
    ground.stage.advance(Lifetime::from_seconds(31)).await;
    let before = cluster.requests(JWKS_PATH);
    for number in 0..200 {
        let token = ground.stage.pod_forge("eu1").header("kid", format!("stranger-{number}")).sign().unwrap().token();
        let answer = ground.pod_text(&token).send(&ground.client, ground.issuer()).await;
        assert!(matches!(answer.error(), "invalid_client" | "temporarily_unavailable"), "{}", answer.text);
        assert!(answer.body.get("access_token").is_none());
        if answer.status == 503 {
            assert!(answer.headers.contains_key("retry-after"), "TOK-29");
        }
    }
    assert!(cluster.requests(JWKS_PATH) <= before + 1, "{} fetches", cluster.requests(JWKS_PATH) - before);
    let token =
        ground.stage.pod_forge("eu1").key(&hidden).header("alg", "RS256").header("kid", hidden.kid()).sign().unwrap();
    for tries in 0.. {
        ground.stage.advance(Lifetime::from_seconds(31)).await;
        let answer = ground.pod_text(&token.token()).send(&ground.client, ground.issuer()).await;
        // A fetch that takes over a second is answered by 503: ask once more.
        if answer.status == 400 {
            assert_eq!(
                (answer.error(), ground.stage.reason(&answer).await.as_str()),
                ("invalid_client", "key_unknown")
            );
            break;
        }
        assert!(answer.status == 503 && tries < 10, "{}", answer.text);
    }
    ground.good_ones_are_granted("after").await;
}
