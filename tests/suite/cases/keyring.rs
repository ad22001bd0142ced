//! Keys of the table, good and odd, and the key sets in which sources publish them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64ct::{Base64UrlUnpadded, Encoding};
use countersign::jose::{SigningKey, parse_object};
use countersign::world::keys::{Algorithm, NamedKey};
use serde_json::{Map, Value, json};

/// A key under that name; the same one at every call.
pub fn key(kid: &str, algorithm: Algorithm) -> NamedKey {
    static MADE: Mutex<BTreeMap<String, NamedKey>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap();
    let make = || NamedKey::new(kid, Arc::new(SigningKey::generate(algorithm).unwrap()));
    made.entry(format!("{kid} {algorithm}")).or_insert_with(make).clone()
}

/// The one RSA key of the table, under any name and for any algorithm: making one takes long.
pub fn rsa(kid: &str, algorithm: Algorithm) -> NamedKey {
    let text = key("rsa", Algorithm::RS256).key().to_private_jwk().unwrap();
    let mut jwk: Map<String, Value> = serde_json::from_str(text.expose()).unwrap();
    jwk.insert("alg".to_owned(), json!(algorithm.name()));
    let jwk = parse_object(Value::Object(jwk).to_string().as_bytes()).unwrap();
    NamedKey::new(kid, Arc::new(SigningKey::from_private_jwk(&jwk).unwrap()))
}

/// A P-256 key for the usual rows.
pub fn es256(kid: &str) -> NamedKey {
    key(kid, Algorithm::ES256)
}

/// What the cluster `keyring` publishes.
pub fn keyring() -> Value {
    let off_curve = changed(&es256("off-curve"), "y", json!(encode(&[7; 32])));
    let short = changed(&es256("short"), "x", json!(encode(&[7; 31])));
    let mut private = es256("private").public_jwk();
    private.insert("d".to_owned(), json!(encode(&[7; 32])));
    json!({ "keys": [
        es256("fit").public_jwk(),
        changed(&es256("chatty"), "foo", json!({ "bar": [1] })),
        bare(&rsa("rsa-any", Algorithm::RS256)),
        rsa("rsa-256", Algorithm::RS256).public_jwk(),
        changed(&es256("enc"), "use", json!("enc")),
        changed(&es256("sign-only"), "key_ops", json!(["sign"])),
        changed(&es256("at-odds"), "key_ops", json!(["encrypt"])),
        off_curve,
        short,
        changed(&es256("infinity"), "x", json!(encode(&[0; 32]))),
        private,
        key("p384", Algorithm::ES384).public_jwk(),
        es256("twice").public_jwk(),
        key("twice", Algorithm::ES384).public_jwk(),
        changed(&es256("twice-second"), "kid", json!("twice")),
        { "kty": "oct", "kid": "shared", "k": encode(SHARED_SECRET) },
        { "kty": "AKP", "kid": "ml-dsa", "alg": "ML-DSA-65", "pub": "AAECAw" },
        { "kty": "OKP", "kid": "ed25519", "crv": "Ed25519", "x": encode(&[9; 32]) },
        { "kty": "RSA", "kid": "weak-1024", "n": WEAK_N, "e": "AQAB" },
        { "kty": "RSA", "kid": "huge", "n": encode(&[0xff; 2048]), "e": "AQAB" },
        { "kty": "RSA", "kid": "even", "n": PSS_N, "e": encode(&[1, 0, 0]) },
        { "kty": "RSA", "kid": "one", "n": PSS_N, "e": encode(&[1]) },
        { "kty": "RSA", "kid": "pss", "n": PSS_N, "e": "AQAB" },
    ]})
}

/// What the trust domain `partner` publishes: a SPIFFE bundle document.
pub fn partner(kid_of_prod: &str) -> Value {
    let used = |key: &NamedKey, text: &str| changed(key, "use", json!(text));
    json!({
        "spiffe_sequence": 7, "spiffe_refresh_hint": "300", "foo": { "bar": [] },
        "keys": [
            used(&es256("partner"), "jwt-svid"),
            used(&es256("partner-second"), "jwt-svid"),
            used(&es256(kid_of_prod), "jwt-svid"),
            used(&es256("wit"), "wit-svid"),
            used(&rsa("x509", Algorithm::RS256), "x509-svid"),
            used(&es256("upper"), "JWT-SVID"),
            used(&es256("sig"), "sig"),
            bare(&es256("useless")),
            used(&es256("typeless"), "jwt-svid").as_object().map(|jwk| {
                let mut jwk = jwk.clone();
                jwk.remove("kty");
                jwk
            }).unwrap(),
            used(&es256("kidless"), "jwt-svid").as_object().map(|jwk| {
                let mut jwk = jwk.clone();
                jwk.remove("kid");
                jwk
            }).unwrap(),
            { "kty": "AKP", "kid": "ml-dsa", "use": "jwt-svid", "pub": "AAECAw" },
        ],
    })
}

/// A published key with one member changed.
fn changed(key: &NamedKey, member: &str, value: Value) -> Value {
    let mut jwk = key.public_jwk();
    jwk.insert(member.to_owned(), value);
    Value::Object(jwk)
}

/// A published key that says neither what it is for nor which algorithm.
fn bare(key: &NamedKey) -> Value {
    let mut jwk = key.public_jwk();
    jwk.remove("use");
    jwk.remove("alg");
    Value::Object(jwk)
}

pub fn encode(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

/// A symmetric key that a set published by mistake.
pub const SHARED_SECRET: &[u8] = b"thirty-two bytes of known secret";

/// The claims of the tokens below, which were signed once, outside: good but for audience and times, which are looked at later.
const FIXED: &str = r#"{"iss":"https://keyring.example","sub":"system:serviceaccount:shop:api","aud":["https://id.example"],"exp":4102444800,"iat":1790000000,"kubernetes.io":{"namespace":"shop","serviceaccount":{"name":"api","uid":"u"}}}"#;

/// A token with a genuine RS256 signature by an RSA key of 1024 bits.
pub fn weak_token() -> String {
    let header = r#"{"alg":"RS256","kid":"weak-1024"}"#;
    format!("{}.{}.{WEAK_SIGNATURE}", encode(header.as_bytes()), encode(FIXED.as_bytes()))
}

/// A token with a PS256 signature whose parameters are as named.
pub fn pss_token(signature: &str) -> String {
    let header = r#"{"alg":"PS256","kid":"pss"}"#;
    format!("{}.{}.{signature}", encode(header.as_bytes()), encode(FIXED.as_bytes()))
}

/// The modulus of an RSA key of 1024 bits.
pub const WEAK_N: &str = "v0N5UIfr3SkNv7fKEFZ1FZlxsfX47GA6LGxA1qNfWHN3yflzSrXpgZ96aQa-ZGwKTywX0NYtSFB_vgbEIhl506lIHuM0vyCXTRtcq0vFId-6CHtUOLdRpdAV78oLXcWzo50_pF6BVRnKVEX6dUwhDE3G5Jo75FsmzrgPrRwzftc";
const WEAK_SIGNATURE: &str = "BZURm_OtuJJhM1MFfLi3R_l2ucrx57vBIf9cbvShh-MbhHJ2JHLYfCyoSc74KE_Toc8U6RjsYFpKUzbAwJ_fhm2kUe7LzhG8oTg90bW85BN5p-3DKaF-xlkchcjxRWy-Fx2FjZuJbhHWXz6uI8QRFGBqqnBnqyKC0E4FoiSZWSE";
const PSS_N: &str = "sfsJOqHrO3oKAgCyEeEekP-ZYoI9kdIUDQ0VYD0Z07yqqlX4ay9JH-DorVoaxaHkOOoKJa-1MbBpIfdc82ZOkMoYNCxaidKj2l9zxOadtOpW1Z_abbtjaX8coWOuK9LSiMy6THYcH5lxFk-smUqMD0e7MEmAqXZ2D1FAmukUYsZCQZBMpZ90f9QzrM3TIe9EIEzkZ_Jy-nTM6BWE20iA9CMmUfcds9t-x9BMAXE7xAnMSxtUsb65loyC3sRb6BNdTsLqRRLfm0PEHyH2ju2s34hovVJb80DKyTxJd0h4Op8hHcKNOZ2x4OFkvAyb0zTlQClBJQm6ey1vhMcfmYeIkw";
/// No salt at all.
pub const PSS_NO_SALT: &str = "RxnpJQom2GlYesYBqUHUKtY-ruKrJXBCRBliC0Xe8LI_fAUtt9CkGqkrUuthcKwB-eZ0RYa7R51bFPXipSWkHbLNUowv8fA-s2qpE1fFjqGToxyim9uwn0Sme2t6S5VLEC9h1Ws2VfnhDk6qOxHWj1oa5v4uDgQ1vt2xTVzwjicSs8wmYZzpSnxMwIkPZmAVesHI0NqVpKAGI78hAg9OMg2lQZ1PZmQ7Y3uoEZg6BcPQlbDo9_km5wQv1Ef0ZLAA4H9ibVp7M0iqRlhxuDoXoxQw8MEvfMk79BJwT34i1JCajPKbIVMkVaQrQ8Iu8clKgZmMFhx-L1gkYNRhrhACJA";
/// A salt of 20 bytes, as SHA-1 would have.
pub const PSS_SALT_20: &str = "kV9BJLqzL60lWOYf2FzbwAwEKwNuegq8bfbh8VcP1vDVLI348ur61xryrG9myv7T0SP7AUKU18KMKRQ-GIgwK-LPWRQ4m82jd3Hup12IRFLHbEtj4bsCdlTs9DwLz-pkw0XWLBaJDYggelHwLj2AevIYyyplYw4FFXJLDM3J4s9q7gU8JU5VU2V2E77TBgmLpAO46_qYOlBOy2ANqG7NkEKw0rXOjS7oqcXbuGEkZFG-Df2NwgZFnOPyZVZZuBw6HLaq5Rt3MfjedJMT53uwOkXJdzWBrn4dvVKx0HxUqzR7jkXECPN_OeuYX4jGOnD8kugpSlTHucDXBiQiXykF_Q";
/// A salt as long as the hash: the right one.
pub const PSS_SALT_32: &str = "r9RDkXhMPKIzyf99m2hFEetRTk4WCZx0HffIobV6ao3JzKTWanyt08t7Tjf1idZYEi8UdB79JUaQB3AZFIYdRlq3cs2RvKwgHQUGNLxclMIIqi83Bw9DOw8DmxG93yoz7cjdlYnN32X4xVK9TOLb9fMFHF9Ezltf8mXmw_RSPNLuFaXCMNKmATkEQkmEo6TknXYDDGxAF--U_ZAuWnFobA020g4iQ2Q1ZzHtfmL5JeongsnB54r6bu2b2ADSjfcMHcd3BEDZg66ddK4JmiuFLF060B8tzSXlfwsftErgb1mFLNaNKcbM3PB8LhrqPHBi1gNg7esEUd4HhJOH5fFeKA";
/// The right salt, and a mask made by SHA-1.
pub const PSS_SHA1_MASK: &str = "fPtfKW4Hlh2uvsAPNmFwQRXbcwURk752LVNChoDT-2jKNlPM7YGoKK0FXJ_vwNaFLsAD4WBX7t7dvG9_874JeS9Cw7aK-rlxoDe5esCMpax4M3nlIyY6qyB0Du4-jQ-U-nTkaqUVH_7PdM9W5vgz-hPj8PaJL9qUP6mkgRan_Q1kiR6u3KCMv0Amw0c30KOgDoxsQGnOUUzRm8D3yxXboGbiCV34yrRdHRT_PpoL4CSliF9sumwNHgza-b6IEvUlNugAuBb75l9Jm23B7oKzALsiCv3SMd7f_nqMM0LEIJ1S_-yrGMU5-8Uu63CBNh4wSHKmSrTmZLIRTyna72C5IA";
