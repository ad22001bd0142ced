//! The floor: the least that any server must do for the same answer.
//!
//! Parses the form, verifies one ES256 signature with a kept key, signs with a kept key, answers the same bytes. It reads no
//! claim, asks no rule and keeps no record: nobody should run it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, ParsedPublicKey};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Form, Router};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Serialize};

/// What the floor is told: where to listen, whose signatures to verify, and what to answer.
#[derive(Serialize, Deserialize)]
pub struct Told {
    pub address: SocketAddr,
    pub x: String,
    pub y: String,
    /// The signing input of a token of the product.
    pub signing_input: String,
    /// The product's answer before and after the token.
    pub before: String,
    pub after: String,
}

struct Floor {
    told: Told,
    verifies: ParsedPublicKey,
    signs: EcdsaKeyPair,
    random: SystemRandom,
}

#[derive(Deserialize)]
struct Parameters {
    client_assertion: String,
}

/// Serves until it is killed.
pub fn serve(told: &Path) {
    let told: Told = serde_json::from_slice(&std::fs::read(told).unwrap()).unwrap();
    let part = |text: &str| Base64UrlUnpadded::decode_vec(text).unwrap();
    let point = [vec![4], part(&told.x), part(&told.y)].concat();
    let address = told.address;
    let floor = Floor {
        verifies: ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).unwrap(),
        signs: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
        random: SystemRandom::new(),
        told,
    };
    let router = Router::new()
        .route("/token", post(token))
        .route("/readyz", get(|| async { "ready" }))
        .with_state(Arc::new(floor));
    crate::stage::runtime(0).block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        axum::serve(listener, router).await.unwrap();
    });
}

async fn token(State(floor): State<Arc<Floor>>, Form(parameters): Form<Parameters>) -> Result<Response, StatusCode> {
    let (input, signature) = parameters.client_assertion.rsplit_once('.').ok_or(StatusCode::BAD_REQUEST)?;
    let signature = Base64UrlUnpadded::decode_vec(signature).map_err(|_refused| StatusCode::BAD_REQUEST)?;
    floor.verifies.verify_sig(input.as_bytes(), &signature).map_err(|_refused| StatusCode::BAD_REQUEST)?;
    let Told { signing_input, before, after, .. } = &floor.told;
    let signed =
        floor.signs.sign(&floor.random, signing_input.as_bytes()).map_err(|_refused| StatusCode::BAD_REQUEST)?;
    let signed = Base64UrlUnpadded::encode_string(signed.as_ref());
    let mut response = Response::new(format!("{before}{signing_input}.{signed}{after}").into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    Ok(response)
}
