//! How the keys of a column come, and what its source is told.

use tokio::net::TcpSocket;

use super::super::*;
use super::Column;
use super::beside::{Line, hold_port};
use super::bundles::Bundles;
use crate::trust::ServiceAccount;
use crate::world::cluster::{DISCOVERY_PATH, JWKS_PATH, PretendCluster};
use crate::world::spiffe_agent::{PretendTrustDomain, WorkloadApi};

/// How the keys come.
pub(super) enum Way {
    Agent {
        api: WorkloadApi,
        line: Line,
    },
    Https {
        path: &'static str,
    },
    Bundles(Box<Bundles>),
    File(PathBuf),
    /// The file of first keys.
    Push(PathBuf),
}

pub(super) async fn of_domain(stand: &Stand, column: Column, of: &PretendTrustDomain, down: bool) -> (Way, SpiffeKeys) {
    if column == Column::File {
        let path = stand.path("bundle.json");
        if !down {
            std::fs::write(&path, of.spiffe_bundle().to_string()).unwrap();
        }
        return (Way::File(path.clone()), SpiffeKeys::BundleFile(path));
    }
    if column != Column::WorkloadApi {
        let served = Bundles::start(stand, column, of).await;
        let keys = served.keys();
        return (Way::Bundles(Box::new(served)), keys);
    }
    let api = WorkloadApi::start(stand.path("agent.sock"), of, &stand.stop).await.unwrap();
    let line = Line::between(&stand.path("line.sock"), stand.path("agent.sock"));
    // A line that nobody is behind takes calls all the same. An agent that is down takes none: there is no socket.
    let socket = if down { "agent.sock" } else { "line.sock" };
    if down {
        api.stop().await;
    }
    (Way::Agent { api, line }, SpiffeKeys::WorkloadApi(format!("unix:{}", stand.path(socket).display())))
}

/// Of discovery it is the document that is spoiled: its keys are those of a URL.
pub(super) fn of_cluster(stand: &Stand, column: Column, of: &PretendCluster, down: bool) -> (Way, IssuerKeys) {
    if column == Column::Push {
        let first = stand.path("first.json");
        if !down {
            std::fs::write(&first, of.jwks().to_string()).unwrap();
        }
        let by = ServiceAccount { namespace: "countersign".to_owned(), name: "feeder".to_owned() };
        return (Way::Push(first.clone()), IssuerKeys::Push { first, by });
    }
    let ca = Some(stand.write("ca.crt", of.ca_pem()));
    let (path, keys) = match column {
        Column::Discovery => (DISCOVERY_PATH, IssuerKeys::Discovery(endpoint(of.url(), ca))),
        Column::JwksUrl => (JWKS_PATH, IssuerKeys::Url(endpoint(&format!("{}{JWKS_PATH}", of.url()), ca))),
        _ => (JWKS_PATH, IssuerKeys::ApiServer(endpoint(of.url(), ca))),
    };
    (Way::Https { path }, keys)
}

pub(super) async fn stop(cluster: &PretendCluster) -> Option<TcpSocket> {
    cluster.stop().await;
    hold_port(cluster.url().trim_start_matches("https://").parse().unwrap())
}

pub(super) fn ten_megabytes() -> Vec<u8> {
    format!(r#"{{"keys":[],"filler":"{}"}}"#, "x".repeat(10 * 1024 * 1024)).into_bytes()
}
