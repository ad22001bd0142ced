//! Two processes on one folder of signing keys, and one that is killed under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::Value;
use tokio::sync::Mutex;

use super::served::Town;
use crate::stage::{eventually, free_address, part};

/// Verifies an ES256 token by a key set, as a resource server would, with no code of the product.
fn verifies(token: &str, jwks: &Value) -> bool {
    let kid = &part(token, 0)["kid"];
    let Some(jwk) = jwks["keys"].as_array().unwrap().iter().find(|jwk| jwk["kid"] == *kid) else { return false };
    let decode = |text: &str| Base64UrlUnpadded::decode_vec(text).unwrap();
    let point = [vec![4], decode(jwk["x"].as_str().unwrap()), decode(jwk["y"].as_str().unwrap())].concat();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed.as_bytes(), &decode(signature)).is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_on_one_key_folder_are_one_issuer() {
    let town = Town::new().await;
    let elsewhere = free_address().to_string();
    // Both at once: they agree on the first key of an empty folder.
    let (a, b) = tokio::join!(town.serve("a"), town.serve_at("b", &elsewhere));
    let (of_a, of_b) = (a.jwks().await, b.jwks().await);
    assert_eq!(of_a, of_b, "identical key sets by construction (design §7)");
    for (from, other) in [(&a, &of_b), (&b, &of_a)] {
        let answer = town.exchange_svid(from, &town.svid()).await.unwrap();
        let token = answer.body["access_token"].as_str().unwrap();
        assert!(verifies(token, other), "{other}");
        assert_eq!(answer.claims()["iss"], town.issuer);
    }
    // A signature that was changed verifies nowhere: the check above checks something.
    let answer = town.exchange_svid(&a, &town.svid()).await.unwrap();
    let (rest, _) = answer.body["access_token"].as_str().unwrap().rsplit_once('.').unwrap();
    assert!(!verifies(&format!("{rest}.{}", Base64UrlUnpadded::encode_string(&[7; 64])), &of_a));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_under_load_it_comes_back_with_its_keys_and_whole_records() {
    let town = Arc::new(Town::new().await);
    let elsewhere = free_address().to_string();
    let a = Arc::new(Mutex::new(town.serve("a").await));
    let b = town.serve_at("b", &elsewhere).await;
    let before = b.jwks().await;
    let (over, tokens) = (Arc::new(AtomicBool::new(false)), Arc::new(std::sync::Mutex::new(Vec::<String>::new())));
    let public = a.lock().await.public.clone();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (town, over, tokens, public) =
                (Arc::clone(&town), Arc::clone(&over), Arc::clone(&tokens), public.clone());
            tokio::spawn(async move {
                let at = super::served::Process::new("client", town.directory.path().join("none"), &public, "");
                while !over.load(Ordering::SeqCst) {
                    // A refused connection is what a kill looks like; an answer is always a token.
                    let Ok(answer) = town.exchange_svid(&at, &town.svid()).await else {
                        tokio::task::yield_now().await;
                        continue;
                    };
                    assert_eq!(answer.status, 200, "last good keys serve at once (JWK-15): {}", answer.text);
                    tokens.lock().unwrap().push(answer.body["access_token"].as_str().unwrap().to_owned());
                }
            })
        })
        .collect();
    for round in 1..=3 {
        let enough = tokens.lock().unwrap().len() + 100;
        eventually("tokens are issued", || tokens.lock().unwrap().len() > enough).await;
        let mut process = a.lock().await;
        process.signal("KILL");
        let status = process.ended(5).await;
        assert!(!status.success());
        let whole = process.records();
        assert!(whole.len() >= 50 * round, "round {round}: every line is whole, also the last");
        process.start();
        process.ready().await;
        assert_eq!(process.jwks().await, before, "the same keys");
    }
    let enough = tokens.lock().unwrap().len() + 20;
    eventually("tokens are issued again", || tokens.lock().unwrap().len() > enough).await;
    over.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    let (of_a, of_b) = (a.lock().await.jwks().await, b.jwks().await);
    let tokens = tokens.lock().unwrap().clone();
    assert!(tokens.len() > 300);
    for token in &tokens {
        assert!(verifies(token, &of_a) && verifies(token, &of_b), "earlier tokens still verify");
    }
    let errors = a.lock().await.errors();
    assert!(!errors.contains("panicked"), "{errors}");
}
