//! The compact form, the header, algorithms and signatures.

use base64ct::{Base64, Encoding};
use serde_json::json;

use super::ground::Ground;
use super::keyring::{SHARED_SECRET, encode, es256};
use super::run::{CLIENT, Row, refuse, row};

#[tokio::test(flavor = "multi_thread")]
async fn compact_forms() {
    refuse(&Ground::new().await, FORMS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_and_algorithms() {
    refuse(&Ground::new().await, HEADERS).await;
    refuse(&Ground::new().await, SIGNATURES).await;
}

/// The last character of the signature, with the spare bits set that canonical base64url leaves zero.
fn with_spare_bits(token: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (start, last) = token.split_at(token.len() - 1);
    let at = ALPHABET.iter().position(|letter| *letter == last.as_bytes()[0]).unwrap();
    format!("{start}{}", char::from(ALPHABET[at + 1]))
}

const FORMS: &[Row] = &[
    row("JOSE-08 two parts", "credential_malformed", CLIENT, |g| {
        let svid = g.stage.svid();
        g.svid_text(svid.rsplit_once('.').unwrap().0)
    }),
    row("JOSE-08 a dot behind it", "credential_malformed", CLIENT, |g| g.svid_text(&format!("{}.", g.stage.svid()))),
    row("JOSE-08 four parts", "credential_malformed", CLIENT, |g| g.svid_text(&format!("{}.AA", g.stage.svid()))),
    row("JOSE-08 a dot before it", "credential_malformed", CLIENT, |g| g.svid_text(&format!(".{}", g.stage.svid()))),
    row("JOSE-08 padding", "credential_malformed", CLIENT, |g| g.svid_text(&format!("{}==", g.stage.svid()))),
    row("JOSE-08 the alphabet of base64", "credential_malformed", CLIENT, |g| {
        let mut forged = g.stage.svid_forge().claim("x", "???>>>ÿÿÿ").sign().unwrap();
        assert!(forged.claims.contains(['-', '_']));
        forged.claims = forged.claims.replace('-', "+").replace('_', "/");
        g.svid_text(&forged.token())
    }),
    row("JOSE-08 a new line inside", "credential_malformed", CLIENT, |g| {
        g.svid_text(&g.stage.svid().replacen('.', "\n.", 1))
    }),
    row("JOSE-08 a space before it", "credential_malformed", CLIENT, |g| g.svid_text(&format!(" {}", g.stage.svid()))),
    row("JOSE-08 Bearer before it", "credential_malformed", CLIENT, |g| {
        g.svid_text(&format!("Bearer {}", g.stage.svid()))
    }),
    row("JOSE-08 a NUL behind it", "credential_malformed", CLIENT, |g| g.svid_text(&format!("{}\0", g.stage.svid()))),
    row("JOSE-08 a letter that is not ASCII", "credential_malformed", CLIENT, |g| {
        g.svid_text(&g.stage.svid().replacen('e', "е", 1))
    }),
    row("JOSE-08 only dots", "credential_malformed", CLIENT, |g| g.svid_text("..")),
    row("JOSE-08 an empty header", "credential_malformed", CLIENT, |g| {
        let svid = g.stage.svid();
        g.svid_text(&svid[svid.find('.').unwrap()..])
    }),
    row("JOSE-08 a text that is no token", "credential_malformed", CLIENT, |g| {
        g.svid_text("/var/run/secrets/tokens/token")
    }),
    row("JOSE-08 PEM", "credential_malformed", CLIENT, |g| {
        g.svid_text("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----")
    }),
    row("JOSE-09 spare bits that are not zero", "credential_malformed", CLIENT, |g| {
        g.svid_text(&with_spare_bits(&g.stage.svid()))
    }),
    row("JOSE-10 five parts, as a JWE", "credential_malformed", CLIENT, |g| {
        let header = encode(br#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#);
        g.svid_text(&format!("{header}.AAAA.AAAA.AAAA.AAAA"))
    }),
    row("JOSE-10 three parts and enc", "algorithm_refused", CLIENT, |g| g.svid(|t| t.header("enc", "A256GCM"))),
    row("JOSE-22 the claims of another token", "signature_invalid", CLIENT, |g| {
        let mut good = g.stage.svid_forge().sign().unwrap();
        good.claims = g.stage.svid_forge().claim("jti", "x").sign().unwrap().claims;
        g.svid_text(&good.token())
    }),
    row("JOSE-22 the header of another token", "signature_invalid", CLIENT, |g| {
        let mut good = g.stage.svid_forge().sign().unwrap();
        good.header = g.stage.svid_forge().header("x", "y").sign().unwrap().header;
        g.svid_text(&good.token())
    }),
    row("JOSE-22 JOSE-08 a compact token with a part in the JSON form", "credential_malformed", CLIENT, |g| {
        let mut good = g.stage.svid_forge().sign().unwrap();
        good.signature = format!("{{\"signature\":\"{}\"}}", good.signature);
        g.svid_text(&good.token())
    }),
];

const HEADERS: &[Row] = &[
    row("JOSE-01 alg none", "algorithm_refused", CLIENT, |g| {
        g.svid_text(&g.stage.svid_forge().header("alg", "none").unsigned().token())
    }),
    row("JOSE-01 alg None", "algorithm_refused", CLIENT, |g| {
        g.svid_text(&g.stage.svid_forge().header("alg", "None").unsigned().token())
    }),
    row("JOSE-01 alg NONE", "algorithm_refused", CLIENT, |g| {
        g.svid_text(&g.stage.svid_forge().header("alg", "NONE").unsigned().token())
    }),
    row("JOSE-01 alg nOnE with a signature", "algorithm_refused", CLIENT, |g| g.svid(|t| t.header("alg", "nOnE"))),
    row("JOSE-01 no alg", "algorithm_refused", CLIENT, |g| g.svid(|t| t.without_header("alg"))),
    row("JOSE-01 an empty alg", "algorithm_refused", CLIENT, |g| g.svid(|t| t.header("alg", ""))),
    row("JOSE-01 alg is a list", "credential_malformed", CLIENT, |g| g.svid(|t| t.header("alg", json!(["ES256"])))),
    row("JOSE-03 es256 in lower case", "algorithm_refused", CLIENT, |g| g.svid(|t| t.header("alg", "es256"))),
    row("JOSE-03 white space behind ES256", "algorithm_refused", CLIENT, |g| g.svid(|t| t.header("alg", "ES256 "))),
    row("JSV-02 EdDSA", "algorithm_refused", CLIENT, |g| g.svid(|t| t.header("alg", "EdDSA"))),
    row("JSV-02 Ed25519", "algorithm_refused", CLIENT, |g| g.svid(|t| t.header("alg", "Ed25519"))),
    row("JSV-02 ES256K", "algorithm_refused", CLIENT, |g| g.svid(|t| t.header("alg", "ES256K"))),
    row("JSV-02 HS384", "algorithm_refused", CLIENT, |g| g.svid(|t| t.header("alg", "HS384"))),
    row("JSV-02 HS512", "algorithm_refused", CLIENT, |g| g.svid(|t| t.header("alg", "HS512"))),
    row("JSV-02 ML-DSA-65", "algorithm_refused", CLIENT, |g| g.svid(|t| t.header("alg", "ML-DSA-65"))),
    row("CA-12 JOSE-02 HS256 keyed by the text of the public JWK", "algorithm_refused", CLIENT, |g| {
        let key = serde_json::Value::Object(g.stage.world.trust_domain().active_key().public_jwk()).to_string();
        g.svid_text(&g.stage.svid_forge().header("alg", "HS256").hmac_sha256(key.as_bytes()).token())
    }),
    row("CA-12 JOSE-02 HS256 keyed by the DER of the public key", "algorithm_refused", CLIENT, |g| {
        g.svid_text(&g.stage.svid_forge().header("alg", "HS256").hmac_sha256(&spki(g)).token())
    }),
    row("CA-12 JOSE-02 HS256 keyed by the PEM of the public key", "algorithm_refused", CLIENT, |g| {
        let pem =
            format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", Base64::encode_string(&spki(g)));
        g.svid_text(&g.stage.svid_forge().header("alg", "HS256").hmac_sha256(pem.as_bytes()).token())
    }),
    row("JOSE-02 HS256 by a shared secret that a key set published", "algorithm_refused", CLIENT, |g| {
        let forge = g.file_forge(super::ground::KEYRING, &es256("fit")).header("kid", "shared").header("alg", "HS256");
        g.pod_text(&forge.hmac_sha256(SHARED_SECRET).token())
    }),
    row("JOSE-04 JSV-05 crit names exp", "algorithm_refused", CLIENT, |g| {
        g.svid(|t| t.header("crit", json!(["exp"])).header("exp", 1))
    }),
    row("JOSE-04 crit is empty", "algorithm_refused", CLIENT, |g| g.svid(|t| t.header("crit", json!([])))),
    row("JOSE-04 crit is text", "algorithm_refused", CLIENT, |g| g.svid(|t| t.header("crit", "b64"))),
    row("JOSE-04 crit names alg", "algorithm_refused", CLIENT, |g| g.svid(|t| t.header("crit", json!(["alg"])))),
    row("JOSE-04 crit names what is not there", "algorithm_refused", CLIENT, |g| {
        g.svid(|t| t.header("crit", json!(["x"])))
    }),
    row("JOSE-05 JSV-05 b64 is false, and critical", "algorithm_refused", CLIENT, |g| {
        g.svid(|t| t.header("b64", false).header("crit", json!(["b64"])))
    }),
    row("JOSE-05 b64 is false", "algorithm_refused", CLIENT, |g| g.svid(|t| t.header("b64", false))),
    row("JOSE-06 JSV-05 signed by the jwk that it carries", "algorithm_refused", CLIENT, |g| {
        let own = es256("own");
        g.svid(|t| t.header("kid", "own").header("jwk", serde_json::Value::Object(own.public_jwk())).key(&own))
    }),
    row("JOSE-06 JSV-05 BCJ-07 jku, and nobody calls it", "algorithm_refused", CLIENT, |g| {
        let url = g.trap_url();
        g.svid(|t| t.header("jku", url).header("kid", "own").key(&es256("own")))
    }),
    row("JOSE-06 JSV-05 BCJ-07 x5u, and nobody calls it", "algorithm_refused", CLIENT, |g| {
        let url = g.trap_url();
        g.svid(|t| t.header("x5u", url))
    }),
    row("JOSE-06 JSV-05 x5c", "algorithm_refused", CLIENT, |g| g.svid(|t| t.header("x5c", json!(["MIIB"])))),
    row("JOSE-06 x5t", "algorithm_refused", CLIENT, |g| g.svid(|t| t.header("x5t", "AAAA"))),
    row("JOSE-06 x5t#S256", "algorithm_refused", CLIENT, |g| g.svid(|t| t.header("x5t#S256", "AAAA"))),
    row("JOSE-06 a null jku", "algorithm_refused", CLIENT, |g| g.svid(|t| t.header("jku", json!(null)))),
    row("JOSE-12 BCJ-10 typ AT+JWT", "credential_malformed", CLIENT, |g| g.svid(|t| t.header("typ", "AT+JWT"))),
    row("JOSE-12 BCJ-10 typ application/at+jwt", "credential_malformed", CLIENT, |g| {
        g.svid(|t| t.header("typ", "application/at+jwt"))
    }),
    row("JOSE-12 BCJ-10 typ text/jwt", "credential_malformed", CLIENT, |g| g.svid(|t| t.header("typ", "text/jwt"))),
    row("CA-13 BCJ-10 a pod token of typ at+jwt", "credential_malformed", CLIENT, |g| {
        g.pod(|t| t.header("typ", "at+jwt"))
    }),
    row("CA-13 BCJ-10 a pod token of typ dpop+jwt", "credential_malformed", CLIENT, |g| {
        g.pod(|t| t.header("typ", "dpop+jwt"))
    }),
    row("CA-13 BCJ-10 a pod token of typ JOSE", "credential_malformed", CLIENT, |g| g.pod(|t| t.header("typ", "JOSE"))),
    row("BCJ-10 a typ that nobody knows", "credential_malformed", CLIENT, |g| g.svid(|t| t.header("typ", "x"))),
    row("JOSE-21 kid is a path", "key_unknown", CLIENT, |g| g.svid(|t| t.header("kid", "../../../../dev/null"))),
    row("JOSE-21 kid is a query", "key_unknown", CLIENT, |g| g.svid(|t| t.header("kid", "' OR 1=1 --"))),
    row("JOSE-21 kid is a template", "key_unknown", CLIENT, |g| g.svid(|t| t.header("kid", "{{7*7}}${jndi:ldap://x}"))),
    row("JOSE-21 a NUL in kid", "credential_malformed", CLIENT, |g| g.svid(|t| t.header("kid", "a\0b"))),
    row("JOSE-21 AUD-06 a new line in kid", "credential_malformed", CLIENT, |g| {
        g.svid(|t| t.header("kid", "a\n{\"outcome\":\"allow\"}"))
    }),
    row("JOSE-21 kid is a number", "credential_malformed", CLIENT, |g| g.svid(|t| t.header("kid", 7))),
    row("JOSE-21 kid is empty", "credential_malformed", CLIENT, |g| g.svid(|t| t.header("kid", ""))),
    row("JOSE-23 cty JWT", "algorithm_refused", CLIENT, |g| g.svid(|t| t.header("cty", "JWT"))),
    row("JOSE-23 cty application/jwt", "algorithm_refused", CLIENT, |g| g.svid(|t| t.header("cty", "application/JWT"))),
    row("JOSE-24 JSV-05 zip", "algorithm_refused", CLIENT, |g| g.svid(|t| t.header("zip", "DEF"))),
    row("BCJ-11 PBES2", "algorithm_refused", CLIENT, |g| {
        g.svid(|t| t.header("alg", "PBES2-HS256+A128KW").header("p2c", 1_000_000))
    }),
];

/// The DER of the trust domain's P-256 key: a fixed start, then the point.
fn spki(ground: &Ground) -> Vec<u8> {
    const START: &[u8] = &[
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
        0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
    ];
    let jwk = ground.stage.world.trust_domain().active_key().public_jwk();
    let part = |name: &str| base64ct::Base64UrlUnpadded::decode_vec(jwk[name].as_str().unwrap()).unwrap();
    [START, &part("x"), &part("y")].concat()
}

const SIGNATURES: &[Row] = &[
    row("CA-12 no signature", "signature_invalid", CLIENT, |g| g.svid_text(&g.stage.svid_forge().unsigned().token())),
    row("CA-12 one bit of the signature", "signature_invalid", CLIENT, |g| {
        let good = g.stage.svid_forge().sign().unwrap();
        let mut bytes = good.signature_bytes();
        bytes[10] ^= 1;
        g.svid_text(&good.with_signature(&bytes).token())
    }),
    row("JOSE-16 a signature in DER", "signature_invalid", CLIENT, |g| {
        g.svid_text(&g.stage.svid_forge().sign_as_der().unwrap().token())
    }),
    row("JOSE-16 a byte more", "signature_invalid", CLIENT, |g| {
        let good = g.stage.svid_forge().sign().unwrap();
        let bytes = [good.signature_bytes(), vec![0]].concat();
        g.svid_text(&good.with_signature(&bytes).token())
    }),
    row("JOSE-16 a byte less", "signature_invalid", CLIENT, |g| {
        let good = g.stage.svid_forge().sign().unwrap();
        let mut bytes = good.signature_bytes();
        bytes.pop();
        g.svid_text(&good.with_signature(&bytes).token())
    }),
    row("JWK-18 JOSE-16 a signature of zeros", "signature_invalid", CLIENT, |g| {
        g.svid_text(&g.stage.svid_forge().sign().unwrap().with_signature(&[0; 64]).token())
    }),
    row("JWK-18 r is zero", "signature_invalid", CLIENT, |g| {
        let good = g.stage.svid_forge().sign().unwrap();
        let mut bytes = good.signature_bytes();
        bytes[..32].fill(0);
        g.svid_text(&good.with_signature(&bytes).token())
    }),
    row("JWK-18 s is zero", "signature_invalid", CLIENT, |g| {
        let good = g.stage.svid_forge().sign().unwrap();
        let mut bytes = good.signature_bytes();
        bytes[32..].fill(0);
        g.svid_text(&good.with_signature(&bytes).token())
    }),
    row("JOSE-17 an ES384 signature called ES256", "signature_invalid", CLIENT, |g| {
        g.svid(|t| t.key(&super::keyring::key("p384", countersign::world::keys::Algorithm::ES384)))
    }),
];
