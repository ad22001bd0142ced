//! Decides where an issuer's keys come from.
//!
//! Must never send a token of ours to an address that it was not given for, and never read the files that it names.

use url::Url;

use super::Desk;
use crate::config::field::Field;
use crate::config::ledger::Said;
use crate::config::net;
use crate::config::place::PlaceId;
use crate::config::raw::{ApiServer, Keys, Push, PushedBy, Text};
use crate::reason::quoted;
use crate::trust::{Endpoint, IssuerKeys, ServiceAccount};

/// The API server as a pod sees it, and what the pod's own mount has for it.
const IN_CLUSTER_URL: &str = "https://kubernetes.default.svc";
const IN_CLUSTER_CA: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
const IN_CLUSTER_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// The keys of an issuer; clusters alone have an API server.
pub(super) fn keys(desk: Desk<'_>, keys: &Field<Keys>, of_cluster: bool, at: PlaceId) -> Option<IssuerKeys> {
    match keys {
        Field::Absent => {
            let hint = match of_cluster {
                true => "in a pod of the cluster itself: keys: { api_server: {} }",
                false => "for example keys: { discovery: https://… }, the issuer's own address",
            };
            desk.ledger.problem(at, Said::new("`keys` is missing").hint(hint));
            None
        }
        Field::Bad => None,
        Field::Given { value, at } => one_way(desk, value, of_cluster, *at),
    }
}

fn one_way(desk: Desk<'_>, raw: &Keys, of_cluster: bool, at: PlaceId) -> Option<IssuerKeys> {
    let ledger = desk.ledger;
    let file = raw.file.try_map(ledger, |text| desk.path(text)).optional();
    let url = raw.url.try_map(ledger, |text| net::key_url(text, true)).optional();
    let discovery = raw.discovery.try_map(ledger, |text| net::key_url(text, false)).optional();
    let api_server = raw.api_server.given().map(|(raw, _)| api_server(desk, raw));
    let push = raw.push.given().and_then(|(raw, at)| push(desk, raw, at));
    let ca = raw.ca.try_map(ledger, |text| desk.path(text)).optional();
    let token = raw.token.try_map(ledger, |text| desk.path(text)).optional();
    let given = [
        ("file", raw.file.is_written()),
        ("url", raw.url.is_written()),
        ("discovery", raw.discovery.is_written()),
        ("api_server", raw.api_server.is_written()),
        ("push", raw.push.is_written()),
    ];
    let given = given.get(..if of_cluster { 5 } else { 3 }).unwrap_or(&given);
    for (key, field) in [("api_server", raw.api_server.is_written()), ("push", raw.push.is_written())] {
        if !of_cluster && field {
            let said = Said::new(format!("`{key}` is for clusters"));
            ledger.problem(at, said.hint("`discovery` asks the issuer itself"));
            return None;
        }
    }
    let one = desk.exactly_one(at, given)?;
    let beside = |key: &str, field: &Text, fits: bool| {
        if field.is_written() && !fits {
            ledger.problem(at, Said::new(format!("`{key}` has no meaning beside `{one}`")));
        }
        fits || !field.is_written()
    };
    let ca_fits = beside("ca", &raw.ca, matches!(one, "url" | "discovery"));
    let token_fits = beside("token", &raw.token, one == "discovery");
    if !(ca_fits && token_fits) {
        return None;
    }
    Some(match one {
        "file" => IssuerKeys::File(file??),
        "url" => IssuerKeys::Url(Endpoint { url: url??, ca: ca?, token: None }),
        "discovery" => IssuerKeys::Discovery(Endpoint { url: discovery??, ca: ca?, token: token? }),
        "push" => push?,
        _ => IssuerKeys::ApiServer(api_server??),
    })
}

fn push(desk: Desk<'_>, raw: &Push, at: PlaceId) -> Option<IssuerKeys> {
    let first = raw.first.try_map(desk.ledger, |text| desk.path(text)).needed(desk.ledger, at, "first");
    let by = raw.by.and_then(|raw, at| pushed_by(desk, raw, at)).needed(desk.ledger, at, "by");
    Some(IssuerKeys::Push { first: first?, by: by? })
}

/// One account, by its exact name: no pattern is read here.
fn pushed_by(desk: Desk<'_>, raw: &PushedBy, at: PlaceId) -> Option<ServiceAccount> {
    let name = |text: &String| match is_kubernetes_name(text) {
        true => Ok(text.clone()),
        false => Err(Said::new(format!("{} is no name that Kubernetes can give", quoted(text)))
            .hint("one exact name: there are no patterns here")),
    };
    let namespace = raw.namespace.try_map(desk.ledger, name).needed(desk.ledger, at, "namespace");
    let account = raw.service_account.try_map(desk.ledger, name).needed(desk.ledger, at, "service_account");
    Some(ServiceAccount { namespace: namespace?, name: account? })
}

/// RFC 1123, as far as it keeps mistakes out: a name that no token can have matches nothing anyway.
fn is_kubernetes_name(text: &str) -> bool {
    (1..=253).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'))
}

/// The API server. The pod's own certificate authority and token go with the pod's own address alone: never is that token sent elsewhere.
fn api_server(desk: Desk<'_>, raw: &ApiServer) -> Option<Endpoint> {
    let url = raw.url.try_map(desk.ledger, |text| net::key_url(text, false)).optional();
    let ca = raw.ca.try_map(desk.ledger, |text| desk.path(text)).optional();
    let token = raw.token.try_map(desk.ledger, |text| desk.path(text)).optional();
    let (url, ca, token) = (url?, ca?, token?);
    Some(match url {
        Some(url) => Endpoint { url, ca, token },
        None => Endpoint {
            url: Url::parse(IN_CLUSTER_URL).ok()?,
            ca: ca.or_else(|| Some(IN_CLUSTER_CA.into())),
            token: token.or_else(|| Some(IN_CLUSTER_TOKEN.into())),
        },
    })
}
