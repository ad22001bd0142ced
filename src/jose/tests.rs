//! What the keys and signatures of this module promise.

use serde_json::{Map, json};

use super::*;
use crate::credential::CompactJws;

fn sealed_by(key: &SigningKey) -> CompactJws {
    let mut claims = Map::new();
    claims.insert("sub".to_owned(), json!("spiffe://td/a"));
    let sealed = key.seal("JWT", &claims).unwrap();
    assert!(key.is_confirmed(&sealed) || key.algorithm() == Algorithm::ES512);
    CompactJws::parse(sealed.into_text().expose().clone()).unwrap()
}

fn opens(jws: &CompactJws, set: &KeySet) -> Result<String, String> {
    let header = Header::read(jws).map_err(|fault| fault.to_string())?;
    let Candidates::Try(keys) = set.candidates(&header) else { return Err("no key".to_owned()) };
    let claims = UnverifiedClaims::read(jws).map_err(|fault| fault.to_string())?;
    let claims = open(jws, &header, claims, &keys[0]).map_err(|(invalid, _)| invalid.to_string())?;
    Ok(claims.text("sub").unwrap().to_owned())
}

fn set_of(jwks: &[serde_json::Value]) -> KeySet {
    KeySet::parse(json!({ "keys": jwks }).to_string().as_bytes(), KeyPurpose::JwkSet).unwrap()
}

#[test]
fn jsv_02_all_nine_algorithms_sign_and_open() {
    for algorithm in Algorithm::ALL {
        let key = SigningKey::generate(algorithm).unwrap();
        let jws = sealed_by(&key);
        let set = set_of(&[json!(key.public_jwk())]);
        assert_eq!(opens(&jws, &set).as_deref(), Ok("spiffe://td/a"), "{algorithm}");
        let other = SigningKey::generate(algorithm).unwrap();
        let mut jwk = other.public_jwk().clone();
        jwk.insert("kid".to_owned(), json!(key.key_id().as_str()));
        assert_eq!(opens(&jws, &set_of(&[json!(jwk)])), Err("the signature does not verify".to_owned()), "{algorithm}");
    }
}

#[test]
fn private_keys_survive_their_text_and_debug_hides_them() {
    for algorithm in [Algorithm::ES256, Algorithm::ES384, Algorithm::ES512, Algorithm::RS256] {
        let key = SigningKey::generate(algorithm).unwrap();
        let text = key.to_private_jwk().unwrap();
        let again = SigningKey::from_private_jwk(&parse_object(text.expose().as_bytes()).unwrap()).unwrap();
        assert_eq!(again.public_jwk(), key.public_jwk());
        assert_eq!(opens(&sealed_by(&again), &set_of(&[json!(key.public_jwk())])).as_deref(), Ok("spiffe://td/a"));
        let private = parse_object(text.expose().as_bytes()).unwrap().text("d").unwrap().to_owned();
        assert!(!format!("{again:?} {text:?}").contains(&private));
        assert!(!json!(key.public_jwk()).to_string().contains(&private), "JWK-02");
    }
}

#[test]
fn jwk_08_odd_keys_cost_nobody_else() {
    let good = SigningKey::generate(Algorithm::ES256).unwrap();
    let set = set_of(&[
        json!({ "kty": "AKP", "alg": "ML-DSA-65", "pub": "AA" }),
        json!({ "kty": "oct", "k": "AA" }),
        json!("text"),
        json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" }),
        json!({ "kty": "RSA", "n": "AQ", "e": "AQAB" }),
        json!({ "kty": "EC", "crv": "P-256", "x": "A".repeat(43), "y": "A".repeat(43) }),
        json!(good.public_jwk()),
    ]);
    assert_eq!(set.keys().len(), 1);
    assert_eq!(set.skipped().len(), 6);
    assert_eq!(opens(&sealed_by(&good), &set).as_deref(), Ok("spiffe://td/a"));
}

#[test]
fn jwk_10_and_jsv_11_use_decides_what_a_key_is_for() {
    let key = SigningKey::generate(Algorithm::ES256).unwrap();
    let usable = |purpose: KeyPurpose, change: &dyn Fn(&mut PublicJwk)| {
        let mut jwk = key.public_jwk().clone();
        jwk.remove("use");
        change(&mut jwk);
        KeySet::parse(json!({ "keys": [jwk] }).to_string().as_bytes(), purpose).unwrap().keys().len() == 1
    };
    let using = |text: &'static str| move |jwk: &mut PublicJwk| drop(jwk.insert("use".to_owned(), json!(text)));
    assert!(usable(KeyPurpose::SpiffeBundle, &using("jwt-svid")));
    assert!(!usable(KeyPurpose::SpiffeBundle, &|_| {}));
    for other in ["JWT-SVID", "x509-svid", "wit-svid", "sig"] {
        assert!(!usable(KeyPurpose::SpiffeBundle, &using(other)), "{other}");
    }
    let skipped = |using: &str| {
        let bundle = json!({ "keys": [{ "use": using, "kty": "EC", "x5c": ["AA"] }] }).to_string();
        KeySet::parse(bundle.as_bytes(), KeyPurpose::SpiffeBundle).unwrap().skipped().len()
    };
    assert_eq!((skipped("x509-svid"), skipped("X509-SVID")), (0, 1), "certificates are no odd keys");
    assert!(usable(KeyPurpose::WorkloadApi, &|_| {}), "JSV-12");
    assert!(!usable(KeyPurpose::WorkloadApi, &using("wit-svid")));
    assert!(usable(KeyPurpose::JwkSet, &using("sig")));
    assert!(!usable(KeyPurpose::JwkSet, &using("enc")));
    let operations =
        |list: serde_json::Value| move |jwk: &mut PublicJwk| drop(jwk.insert("key_ops".to_owned(), list.clone()));
    assert!(usable(KeyPurpose::JwkSet, &operations(json!(["verify"]))));
    assert!(!usable(KeyPurpose::JwkSet, &operations(json!(["sign"]))));
}

#[test]
fn last_good_sets_survive_their_text() {
    let keys: Vec<_> = [Algorithm::ES256, Algorithm::RS256].map(|a| SigningKey::generate(a).unwrap()).into();
    let set = set_of(&keys.iter().map(|key| json!(key.public_jwk())).collect::<Vec<_>>());
    let again = KeySet::parse(set.to_document().as_bytes(), KeyPurpose::JwkSet).unwrap();
    for key in &keys {
        assert!(opens(&sealed_by(key), &again).is_ok());
    }
    let thumbprints = |set: &KeySet| set.keys().iter().map(|key| key.thumbprint().clone()).collect::<Vec<_>>();
    assert_eq!(thumbprints(&set), thumbprints(&again));
}

#[test]
fn jose_18_pss_salts_have_the_length_of_the_hash() {
    // RFC 7518 §3.5; the library's own parameter set is checked by a signature with an empty salt made outside.
    let key = SigningKey::generate(Algorithm::PS256).unwrap();
    let jws = sealed_by(&key);
    assert_eq!(jws.signature().len(), 256);
    assert!(opens(&jws, &set_of(&[json!(key.public_jwk())])).is_ok());
}

#[test]
fn bun_01_a_document_without_keys_is_no_set_and_an_empty_one_is() {
    for text in ["{}", r#"{"keys":null}"#, r#"{"keys":{}}"#, r#"{"Keys":[]}"#, "[]", ""] {
        assert!(KeySet::parse(text.as_bytes(), KeyPurpose::SpiffeBundle).is_err(), "{text}");
    }
    let set = KeySet::parse(br#"{"keys":[]}"#, KeyPurpose::SpiffeBundle).unwrap();
    assert!(set.keys().is_empty());
}

#[test]
fn a_set_has_at_most_500_keys() {
    let set = |count: usize| format!(r#"{{"keys":[{}]}}"#, vec!["{}"; count].join(","));
    assert!(KeySet::parse(set(500).as_bytes(), KeyPurpose::JwkSet).is_ok());
    assert_eq!(KeySet::parse(set(501).as_bytes(), KeyPurpose::JwkSet).err(), Some(KeySetFault::TooMany));
}
