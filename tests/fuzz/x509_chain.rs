//! The certificates of a connection, as the verifier judges them after the handshake.

use std::sync::Arc;

use countersign::clock::{Clock, Lifetime};
use countersign::credential::{PeerChain, Shown};
use countersign::verify::Evidence;

use super::{Target, fuzz};
use crate::stage::{API, Stage};

/// A chain is taken only for the identity that its authority signed.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain_is_taken_only_as_it_was_issued() {
    let stage = Stage::standard().await;
    let domain = stage.world.trust_domain();
    let leaf = domain.x509_svid(API, Lifetime::from_hours(1)).unwrap().der().to_vec();
    let other =
        domain.x509_svid("spiffe://prod.example/ns/shop/sa/other", Lifetime::from_hours(1)).unwrap().der().to_vec();
    let authority = domain.x509_bundle();
    let target = Target {
        name: "x509_chain",
        samples: vec![together(&[&leaf]), together(&[&leaf, &authority]), together(&[&other, &leaf])],
        words: &[
            "spiffe://",
            "spiffe://prod.example/admin",
            "spiffe://other.example/a",
            "\x06\x03U\x1d\x11",
            "\x06\x03U\x1d\x13",
            "\x06\x03U\x1d\x0f",
            "\x01\x01\u{7f}",
            "\x30\x03\x01\x01",
            "\x05\x00",
            "\x02\x01\x00",
            "\x00\x00",
            "\x01\x00",
        ],
        longest: 16 * 1024,
    };
    let genuine = [API.to_owned(), "spiffe://prod.example/ns/shop/sa/other".to_owned()];
    let (generation, at) = (stage.app.exchange().generation(), stage.clock.now());
    let runtime = tokio::runtime::Handle::current();
    let work = move || {
        let verifier = generation.verifier(at);
        let good = Shown::X509Svid(Arc::new(PeerChain(vec![leaf.clone()])));
        let taken = runtime.block_on(verifier.verify(&good, &mut Evidence::default()));
        assert!(taken.is_ok(), "{taken:?}");
        fuzz(target, |input| {
            let chain = apart(input);
            let Some(first) = chain.first().cloned() else { return "no chain".to_owned() };
            let shown = Shown::X509Svid(Arc::new(PeerChain(chain)));
            let mut evidence = Evidence::default();
            match runtime.block_on(verifier.verify(&shown, &mut evidence)) {
                Ok(verified) => {
                    let id = verified.identity().id.to_string();
                    assert!(genuine.contains(&id), "{id} was never issued");
                    assert!([&leaf, &other].contains(&&first), "another certificate of {id} was never issued");
                    format!("taken as {id}")
                }
                Err(refusal) => {
                    assert_ne!(refusal.reason().code(), "internal", "{}", refusal.to_operator());
                    let words: String =
                        refusal.to_operator().chars().filter(char::is_ascii_lowercase).take(24).collect();
                    format!("{} {words}", refusal.reason())
                }
            }
        });
    };
    tokio::task::spawn_blocking(work).await.unwrap();
}

/// Each certificate after its length in two bytes.
fn together(chain: &[&[u8]]) -> Vec<u8> {
    chain.iter().flat_map(|der| [&(der.len() as u16).to_be_bytes(), *der].concat()).collect()
}

fn apart(mut input: &[u8]) -> Vec<Vec<u8>> {
    let mut chain = Vec::new();
    while let [high, low, rest @ ..] = input {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        chain.push(rest[..length].to_vec());
        input = &rest[length..];
    }
    chain
}
