//! Where a name leads: once for a call, however its addresses change meanwhile.

use std::io;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpListener;

use super::super::key_endpoint::KeyEndpoint;
use super::super::names::Lookup;
use super::super::origin::Origin;
use super::fetching::Upstream;
use super::*;
use crate::world::cluster::{DISCOVERY_PATH, JWKS_PATH};

/// Gives these answers, one a lookup, and counts how often it was asked.
fn answers(answers: &[&[&str]]) -> (Lookup, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let parse = |texts: &&[&str]| texts.iter().map(|text| text.parse::<IpAddr>().unwrap()).collect::<Vec<_>>();
    let left = Mutex::new(answers.iter().map(parse).rev().collect::<Vec<_>>());
    let lookup: Lookup = Arc::new(move |name| {
        assert_eq!(name, "localhost");
        counted.fetch_add(1, Ordering::SeqCst);
        let next = left.lock().unwrap().pop().ok_or_else(|| io::Error::other("no such name"));
        Box::pin(async move { next })
    });
    (lookup, asked)
}

/// A cluster that is found by name, and somebody else on the same port of 127.0.0.2 who counts visits.
async fn town(stand: &Stand) -> (Upstream, Endpoint, Arc<AtomicUsize>) {
    let upstream = Upstream::start(stand, |_| {}).await;
    let mut endpoint = upstream.endpoint("");
    endpoint.url.set_host(Some("localhost")).unwrap();
    let port = endpoint.url.port().unwrap();
    upstream.cluster.set_jwks_uri(&format!("https://localhost:{port}{JWKS_PATH}"));
    let other = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
    let visits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&visits);
    tokio::spawn(async move {
        while other.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    (upstream, endpoint, visits)
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_14_a_name_that_changes_its_address_leads_nowhere_else_within_a_call() {
    let stand = Stand::new();
    let (upstream, endpoint, visits) = town(&stand).await;
    let issuers = BTreeSet::from([ISSUER.to_owned()]);
    // The second answer would be another machine, and the first names it too, after the good one.
    let (lookup, asked) = answers(&[&["127.0.0.1", "127.0.0.2"], &["127.0.0.1"], &["127.0.0.2"]]);
    let discovery = Origin::Discovery { endpoint, issuers };
    let mut endpoint = KeyEndpoint::with_lookup(&discovery, lookup).unwrap();
    for call in 1..=2 {
        let keys = endpoint.fetch().await.unwrap();
        assert_eq!(keys.keys().len(), 1);
        assert_eq!(asked.load(Ordering::SeqCst), call, "one lookup for discovery and keys together");
        let asked = [DISCOVERY_PATH, JWKS_PATH].map(|path| upstream.cluster.requests(path));
        assert_eq!(asked, [call as u64, call as u64]);
    }
    assert_eq!(visits.load(Ordering::SeqCst), 0, "the keys were asked for where discovery had answered");
    // The name is looked up for every call: one that has moved for good is followed.
    let moved = endpoint.fetch().await.unwrap_err();
    assert!(moved.contains("openid-configuration"), "whoever is there now speaks no TLS: {moved}");
    assert_eq!((asked.load(Ordering::SeqCst), visits.load(Ordering::SeqCst)), (3, 1));
    let gone = endpoint.fetch().await.unwrap_err();
    assert!(gone.contains("no such name"), "{gone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn jwk_14_an_address_needs_no_lookup_and_another_host_is_not_asked() {
    let stand = Stand::new();
    let (upstream, named, _visits) = town(&stand).await;
    let (lookup, asked) = answers(&[]);
    let by_address = Origin::Url(upstream.endpoint(JWKS_PATH));
    KeyEndpoint::with_lookup(&by_address, lookup).unwrap().fetch().await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    let mut outbound = super::super::outbound::Outbound::new(named);
    let elsewhere = upstream.endpoint(JWKS_PATH).url;
    let why = outbound.get_further(&elsewhere).await.unwrap_err();
    assert!(why.contains("only the configured host is asked"), "{why}");
    assert_eq!(upstream.cluster.requests(JWKS_PATH), 1);
}
