//! Proofs of possession, opened and judged.

use countersign::credential::CompactJws;
use countersign::jose::open_proof;
use countersign::world::forge::Forge;
use countersign::world::keys::Algorithm;

use super::{Target, fuzz};
use crate::cases::dpop::{bare, proof_by};
use crate::cases::keyring::{es256, key, rsa};

/// What opens was signed whole: header, claims and signature are those of a genuine proof, and the key is the one in it.
#[test]
fn a_proof_opens_only_as_it_was_signed() {
    let keys = [es256("mine"), key("mine-384", Algorithm::ES384), rsa("mine-rsa", Algorithm::RS256)];
    let sign = |forge: Forge| forge.sign().unwrap().token();
    let genuine: Vec<String> =
        keys.iter().map(|key| sign(proof_by(key, "https://id.example", 1_790_000_000))).collect();
    let samples = genuine.iter().cloned().chain([
        sign(proof_by(&keys[0], "https://id.example", 0).header("jwk", bare(&keys[1]))),
        proof_by(&keys[0], "https://id.example", 0).unsigned().token(),
    ]);
    let target = Target {
        name: "dpop_proof",
        samples: samples.map(String::into_bytes).collect(),
        words: &[".", "=", "AA", "e30", "eyJ", "ImRwb3Arand0Ig", "Imp3ayI6", "ImFsZyI6", "Im5vbmUi", "_", "-"],
        longest: 4096,
    };
    fuzz(target, |input| {
        let Some(jws) = String::from_utf8(input.to_vec()).ok().and_then(|text| CompactJws::parse(text).ok()) else {
            return "no JWS".to_owned();
        };
        match open_proof(&jws) {
            // An ECDSA signature has a second valid form, so what was signed is compared, and not the whole text.
            Ok(opened) => {
                let signed = |text: &String| text.rsplit_once('.').unwrap().0.as_bytes() == jws.signing_input();
                let Some(at) = genuine.iter().position(signed) else { panic!("nobody signed this: {opened:?}") };
                assert_eq!(opened.algorithm, keys[at].algorithm());
                format!("opened {at}")
            }
            Err(fault) => fault.to_string().chars().take(40).collect(),
        }
    });
}
