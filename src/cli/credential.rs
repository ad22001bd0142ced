//! The credential that a command shows: from a file, from the SPIFFE agent, or from a cluster's TokenRequest.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::Exit;
use super::http;
use super::serve;
use super::surroundings::{Cluster, Surroundings};
use crate::secret::Secret;
use crate::trust::{NoSvid, fetch_jwt_svid};

pub(super) const JWT_SPIFFE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Who the command acts as.
#[derive(Clone, Debug, Args)]
pub(super) struct Who {
    /// The workload: a SPIFFE ID, or <namespace>/<service account>[@<cluster>] [default: the agent's first identity]
    #[arg(long = "as", value_name = "WORKLOAD")]
    workload: Option<String>,
    /// Show the token in this file instead (a projected service-account token, or an SVID)
    #[arg(long, value_name = "FILE", conflicts_with = "workload")]
    assertion_file: Option<PathBuf>,
    /// The SPIFFE agent: unix:/path or tcp://IP:port [default: SPIFFE_ENDPOINT_SOCKET, or that of `up`]
    #[arg(long, value_name = "ADDRESS")]
    workload_api: Option<String>,
    /// The API server for <namespace>/<service account> [default: those of `up`]
    #[arg(long, value_name = "URL", requires = "api_token")]
    api_server: Option<String>,
    /// The certificate authority of the API server
    #[arg(long, value_name = "FILE")]
    api_ca: Option<PathBuf>,
    /// A token that may create tokens of that service account
    #[arg(long, value_name = "FILE")]
    api_token: Option<PathBuf>,
}

/// A credential with how it is declared.
#[derive(Debug)]
pub(super) struct Credential {
    pub(super) assertion_type: &'static str,
    pub(super) token: Secret<String>,
}

/// Why there is no credential, and the exit code that says so.
#[derive(Debug)]
pub(super) struct NoCredential {
    pub(super) exit: Exit,
    pub(super) why: String,
}

impl NoCredential {
    fn new(exit: Exit, why: impl Into<String>) -> Self {
        Self { exit, why: why.into() }
    }
}

impl Who {
    /// Fetches a fresh credential for `issuer`.
    pub(super) async fn credential(
        &self,
        issuer: &str,
        near: Option<&Surroundings>,
    ) -> Result<Credential, NoCredential> {
        if let Some(file) = &self.assertion_file {
            return read_assertion(file);
        }
        match self.workload.as_deref() {
            Some(workload) if !workload.starts_with("spiffe://") => self.of_cluster(workload, issuer, near).await,
            id => self.of_agent(id, issuer, near).await,
        }
    }

    async fn of_agent(
        &self,
        id: Option<&str>,
        issuer: &str,
        near: Option<&Surroundings>,
    ) -> Result<Credential, NoCredential> {
        let endpoint = self
            .workload_api
            .clone()
            .or_else(|| serve::environment().spiffe_endpoint_socket)
            .or_else(|| near.map(|near| near.workload_api.clone()));
        let endpoint = endpoint.ok_or_else(|| {
            NoCredential::new(
                Exit::Usage,
                "no SPIFFE agent is known: name one with --workload-api or SPIFFE_ENDPOINT_SOCKET",
            )
        })?;
        match fetch_jwt_svid(&endpoint, issuer, id).await {
            Ok(token) => Ok(Credential { assertion_type: JWT_SPIFFE, token }),
            Err(NoSvid::Unreachable(why)) => Err(NoCredential::new(Exit::Unreachable, why)),
            Err(NoSvid::NoIdentity(why)) => Err(NoCredential::new(Exit::NoIdentity, why)),
        }
    }

    async fn of_cluster(
        &self,
        workload: &str,
        issuer: &str,
        near: Option<&Surroundings>,
    ) -> Result<Credential, NoCredential> {
        let usage = |why: &str| NoCredential::new(Exit::Usage, why);
        let (account, cluster) =
            workload.split_once('@').map_or((workload, None), |(account, cluster)| (account, Some(cluster)));
        let (namespace, account) = account
            .split_once('/')
            .ok_or_else(|| usage("--as takes a SPIFFE ID, or <namespace>/<service account>[@<cluster>]"))?;
        let cluster = self.cluster(cluster, near).map_err(|why| usage(&why))?;
        let token = request_token(&cluster, namespace, account, issuer).await?;
        Ok(Credential { assertion_type: JWT_BEARER, token })
    }

    fn cluster(&self, name: Option<&str>, near: Option<&Surroundings>) -> Result<Cluster, String> {
        if let (Some(url), Some(token)) = (&self.api_server, &self.api_token) {
            let ca_file = self.api_ca.clone().unwrap_or_default();
            return Ok(Cluster { name: String::new(), url: url.clone(), ca_file, admin_token_file: token.clone() });
        }
        let near = near.ok_or("name the cluster with --api-server, --api-ca and --api-token")?;
        let found = near.clusters.iter().find(|cluster| name.is_none_or(|name| cluster.name == name));
        found.cloned().ok_or_else(|| {
            let names: Vec<&str> = near.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
            format!("`up` has the clusters {}", names.join(", "))
        })
    }
}

fn read_assertion(file: &Path) -> Result<Credential, NoCredential> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| NoCredential::new(Exit::NoIdentity, format!("{} cannot be read: {error}", file.display())))?;
    let token = Secret::new("assertion", text.trim().to_owned());
    // Declared by what it says it is, as whoever put the file there would; the service verifies it as that and nothing else.
    let subject = super::masked::claims(&token).and_then(|claims| Some(claims.get("sub")?.as_str()?.to_owned()));
    let is_svid = subject.is_some_and(|subject| subject.starts_with("spiffe://"));
    Ok(Credential { assertion_type: if is_svid { JWT_SPIFFE } else { JWT_BEARER }, token })
}

/// TokenRequest, as a kubelet asks for a pod.
async fn request_token(
    cluster: &Cluster,
    namespace: &str,
    account: &str,
    issuer: &str,
) -> Result<Secret<String>, NoCredential> {
    let failed = |why: String| NoCredential::new(Exit::Unreachable, format!("TokenRequest at {}: {why}", cluster.url));
    let own = std::fs::read_to_string(&cluster.admin_token_file)
        .map_err(|error| failed(format!("{} cannot be read: {error}", cluster.admin_token_file.display())))?;
    let own = Secret::new("token", own);
    let ca = (!cluster.ca_file.as_os_str().is_empty()).then_some(cluster.ca_file.as_path());
    let client = http::client(ca)
        .map_err(|error| failed(format!("{error:#}")))?
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": { "audiences": [issuer], "expirationSeconds": 3600 },
    });
    let url =
        format!("{}/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token", cluster.url.trim_end_matches('/'));
    let response = client
        .post(url)
        .header("authorization", format!("Bearer {}", own.expose().trim()))
        .header("content-type", "application/json")
        .body(body.to_string())
        .send()
        .await
        .map_err(|error| failed(error.to_string()))?;
    let status = response.status();
    let text = response.text().await.map_err(|error| failed(error.to_string()))?;
    let answer: Value = serde_json::from_str(&text).unwrap_or_default();
    match answer.pointer("/status/token").and_then(Value::as_str) {
        Some(token) => Ok(Secret::new("service-account token", token.to_owned())),
        None => {
            let said = answer.get("message").and_then(Value::as_str).unwrap_or("no token in the answer");
            Err(NoCredential::new(Exit::NoIdentity, format!("TokenRequest at {}: {status}: {said}", cluster.url)))
        }
    }
}
