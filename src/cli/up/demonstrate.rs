//! The three exchanges of `up`, through the real doors, and what to try next.
//!
//! Never prints a token that could be used.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use super::super::masked::{claims, masked};
use super::super::output::{aside, line};
use super::super::{Exit, http};
use crate::secret::Secret;
use crate::trust::fetch_jwt_svid;
use crate::world::World;
use crate::world::cluster::PretendCluster;

const RESOURCE: &str = "https://orders.example";
const JWT_SPIFFE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What runs, and where.
pub(super) struct Place<'a> {
    pub(super) world: &'a World,
    pub(super) issuer: String,
    pub(super) config: PathBuf,
}

/// One workload in the trust domain, and the same pod in both clusters.
pub(super) fn populate(world: &World) {
    let workload = format!("spiffe://{}/ns/shop/sa/api", world.trust_domain().name());
    world.agent().register([workload.as_str()]);
    for cluster in world.clusters() {
        cluster.create_service_account("shop", "api");
        cluster.create_pod("shop", "api-0", "api", "node-1");
    }
}

/// Makes the exchanges; with the records at hand it tells about each.
pub(super) async fn exchanges(
    place: &Place<'_>,
    mut decisions: Option<&mut UnboundedReceiver<Vec<u8>>>,
) -> anyhow::Result<Exit> {
    let mut exit = Exit::Ok;
    let svid = fetch_jwt_svid(&place.world.agent().address(), &place.issuer, None).await;
    let svid = match svid {
        Ok(svid) => svid,
        Err(why) => {
            aside(why.to_string());
            return Ok(Exit::NoIdentity);
        }
    };
    let mut shown = vec![("a JWT-SVID from the Workload API socket".to_owned(), JWT_SPIFFE, svid)];
    for cluster in place.world.clusters() {
        let token =
            pod_token(place, cluster).await.with_context(|| format!("TokenRequest at cluster {}", cluster.name()))?;
        shown.push((format!("the pod's token from cluster {}", cluster.name()), JWT_BEARER, token));
    }
    for (number, (what, kind, credential)) in shown.into_iter().enumerate() {
        let answer = exchange(&place.issuer, kind, &credential).await?;
        let record = match &mut decisions {
            Some(decisions) => decisions.recv().await,
            None => None,
        };
        match answer {
            Answer::Token(token, body) => {
                if let Some(record) = record {
                    tell_token(number + 1, &what, &token, &body, &serde_json::from_slice(&record)?)?;
                }
            }
            Answer::Refused(body) => {
                aside(format!("{}  {what} was refused: {body}", number + 1));
                exit = Exit::Problem;
            }
        }
    }
    Ok(exit)
}

enum Answer {
    Token(Secret<String>, Value),
    Refused(Value),
}

async fn exchange(issuer: &str, kind: &str, credential: &Secret<String>) -> anyhow::Result<Answer> {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_assertion_type", kind),
        ("client_assertion", credential.expose()),
        ("resource", RESOURCE),
    ];
    let response = http::client(None)?
        .build()?
        .post(format!("{issuer}/token"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(http::form(&form))
        .send()
        .await
        .context("POST /token")?;
    let text = response.text().await.context("reading the answer")?;
    let mut body: Value = serde_json::from_str(&text).context("the answer is no JSON")?;
    match body.get_mut("access_token").map(Value::take) {
        Some(Value::String(token)) => Ok(Answer::Token(Secret::new("access token", token), body)),
        _ => Ok(Answer::Refused(body)),
    }
}

/// Asks an API server for the pod's projected token, as the kubelet does.
async fn pod_token(place: &Place<'_>, cluster: &PretendCluster) -> anyhow::Result<Secret<String>> {
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {
            "audiences": [place.issuer],
            "expirationSeconds": 3600,
            "boundObjectRef": { "kind": "Pod", "apiVersion": "v1", "name": "api-0" },
        },
    });
    let admin = Secret::new("admin token", std::fs::read_to_string(place.world.admin_token_file(cluster.name()))?);
    let response = http::client(Some(&place.world.ca_file(cluster.name())))?
        .build()?
        .post(format!("{}/api/v1/namespaces/shop/serviceaccounts/api/token", cluster.url()))
        .header("authorization", format!("Bearer {}", admin.expose().trim()))
        .header("content-type", "application/json")
        .body(request.to_string())
        .send()
        .await?;
    let body: Value = serde_json::from_str(&response.text().await?)?;
    match body.pointer("/status/token").and_then(Value::as_str) {
        Some(token) => Ok(Secret::new("service-account token", token.to_owned())),
        None => bail!("no token in the answer: {}", body.get("message").unwrap_or(&Value::Null)),
    }
}

fn tell_token(number: usize, what: &str, token: &Secret<String>, body: &Value, record: &Value) -> anyhow::Result<()> {
    let claims = claims(token).context("the access token has no claims")?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
    line(format!("\n{number}  {what}"));
    line(format!("   came in as   {}", text("sub")));
    let fact = |pointer: &str| record.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
    let source = (text("source"), text("kind"));
    line(format!(
        "   vouched by   source {} ({}), key {} {}",
        source.0,
        source.1,
        fact("/key/id"),
        fact("/key/algorithm")
    ));
    line(format!("   decided by   rule {:?}", fact("/rules/0")));
    line(format!("   may have     {} on {}", text("scope"), text("aud")));
    line(format!("   came out     {}", masked(token.expose())));
    line(format!(
        "   for          {} s, come back after {} s",
        number_of(body, "expires_in"),
        number_of(body, "refresh_in")
    ));
    for row in format!("{claims:#}").lines() {
        line(format!("   {row}"));
    }
    Ok(())
}

fn number_of(body: &Value, name: &str) -> String {
    body.get(name).map_or_else(|| "-".to_owned(), Value::to_string)
}

impl Place<'_> {
    /// What runs where.
    pub(super) fn introduce(&self, admin: SocketAddr) {
        let clusters: Vec<String> =
            self.world.clusters().iter().map(|cluster| format!("{} at {}", cluster.name(), cluster.url())).collect();
        line(format!("issuer        {}", self.issuer));
        line(format!("configuration {}", self.config.display()));
        line(format!("health        http://{admin}/readyz"));
        line(format!(
            "pretend       SPIFFE trust domain {} at {}",
            self.world.trust_domain().name(),
            self.world.agent().address()
        ));
        line(format!("pretend       clusters {}; both say iss={}", clusters.join(", "), crate::world::SHARED_ISSUER));
    }

    /// What to copy into a shell.
    pub(super) fn say_next(&self, records: &Path) {
        let Some(cluster) = self.world.clusters().first() else { return };
        let (name, issuer) = (cluster.name(), &self.issuer);
        line("\nTry it yourself: ask the cluster for the pod's token, then exchange it.\n");
        line(format!(
            "TOKEN=$(curl -s --cacert '{ca}' -H \"Authorization: Bearer $(cat '{admin}')\" \\
  -H 'Content-Type: application/json' -d '{{\"spec\":{{\"audiences\":[\"{issuer}\"],\"expirationSeconds\":3600}}}}' \\
  {url}/api/v1/namespaces/shop/serviceaccounts/api/token | sed -n 's/.*\"token\": *\"\\([^\"]*\\)\".*/\\1/p')
curl -s {issuer}/token -d grant_type=client_credentials -d resource={RESOURCE} \\
  -d client_assertion_type={JWT_BEARER} --data-urlencode client_assertion=\"$TOKEN\"
curl -s {issuer}/.well-known/openid-configuration
curl -s {issuer}/jwks",
            ca = self.world.ca_file(name).display(),
            admin = self.world.admin_token_file(name).display(),
            url = cluster.url(),
        ));
        line(format!("\nOne line for each decision: {}", records.display()));
    }
}
