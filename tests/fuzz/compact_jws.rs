//! Compact JWS: parts, header, claims and signature.

use base64ct::{Base64UrlUnpadded, Encoding};
use countersign::clock::{Lifetime, Timestamp};
use countersign::credential::CompactJws;
use countersign::jose::{Header, KeyPurpose, KeySet, UnverifiedClaims, open};
use countersign::world::forge::{Forge, valid_kubernetes, valid_svid};
use countersign::world::keys::{Algorithm, NamedKey, SigningKey};
use serde_json::json;

use super::{Target, fuzz};

/// What is read is written back, and only what was signed verifies.
#[test]
fn a_jws_is_read_as_it_is_written_and_verifies_as_it_was_signed() {
    let keys: Vec<NamedKey> = [Algorithm::ES256, Algorithm::ES384]
        .into_iter()
        .map(|algorithm| NamedKey::new(algorithm.name(), SigningKey::generate(algorithm).unwrap().into()))
        .collect();
    let public: Vec<_> = keys.iter().map(NamedKey::public_jwk).collect();
    let set = KeySet::parse(json!({ "keys": public }).to_string().as_bytes(), KeyPurpose::JwkSet).unwrap();
    let (now, life) = (Timestamp::from_seconds(1_790_000_000), Lifetime::from_minutes(5));
    let mut genuine = Vec::new();
    for key in &keys {
        let svid = Forge::new(key, valid_svid("spiffe://prod.example/a", &["https://id.example"], now, life));
        let pod = Forge::new(key, valid_kubernetes("https://k", "shop", "api", &["https://id.example"], now, life));
        genuine.extend([&svid, &pod].map(|forge| forge.sign().unwrap().token()));
        genuine.push(
            svid.without_header("kid")
                .header("typ", "JOSE")
                .claim("x", json!({ "y": [1, 2.5, null] }))
                .sign()
                .unwrap()
                .token(),
        );
    }
    let target = Target {
        name: "compact_jws",
        samples: genuine.iter().map(|token| token.as_bytes().to_vec()).collect(),
        // Whole parts: {"alg":"none"}, {"alg":"ES256"}, {"alg":"HS256","crit":["b64"],"b64":false}, {}, {"a":1,"a":2}
        words: &[
            ".",
            "..",
            "=",
            "+",
            "/",
            "-----BEGIN",
            "eyJhbGciOiJub25lIn0",
            "eyJhbGciOiJFUzI1NiJ9",
            "eyJhbGciOiJIUzI1NiIsImNyaXQiOlsiYjY0Il0sImI2NCI6ZmFsc2V9",
            "e30",
            "eyJhIjoxLCJhIjoyfQ",
            "bnVsbA",
            "W10",
        ],
        longest: 20 * 1024,
    };
    let signed = |token: &str| token.rsplit_once('.').map(|(signed, _)| signed.to_owned()).unwrap_or_default();
    let signed: Vec<String> = genuine.iter().map(|token| signed(token)).collect();
    fuzz(target, |input| {
        let Ok(text) = String::from_utf8(input.to_vec()) else { return "no text".to_owned() };
        let jws = match CompactJws::parse(text.clone()) {
            Ok(jws) => jws,
            Err(why) => return why.to_string(),
        };
        let parts = [jws.header(), jws.payload(), jws.signature()].map(Base64UrlUnpadded::encode_string);
        assert_eq!(parts.join("."), text, "JOSE-09: one spelling");
        assert_eq!(jws.signing_input(), text.rsplit_once('.').unwrap().0.as_bytes());
        let header = match Header::read(&jws) {
            Ok(header) => header,
            Err(why) => return format!("header: {}", without_values(&why.to_string())),
        };
        let read: serde_json::Value = serde_json::from_slice(jws.header()).unwrap();
        assert_eq!(read["alg"], header.algorithm.name());
        assert!(read.get("crit").is_none() && read.get("b64").is_none(), "JOSE-05: {read}");
        let mut verified = 0;
        for key in set.keys() {
            let claims = match UnverifiedClaims::read(&jws) {
                Ok(claims) => claims,
                Err(why) => return format!("claims: {}", without_values(&why.to_string())),
            };
            verified += usize::from(open(&jws, &header, claims, key).is_ok());
        }
        let was_signed = signed.iter().any(|signed| signed.as_bytes() == jws.signing_input());
        assert!(verified == 0 || was_signed, "it verifies, and nobody signed it");
        assert!(verified <= 1);
        format!("read, {verified} verify")
    });
}

/// A message without what it quotes and counts: those are without end.
fn without_values(text: &str) -> String {
    let unquoted: String = text.split('"').step_by(2).collect();
    unquoted.chars().filter(|c| !c.is_ascii_digit()).collect()
}
