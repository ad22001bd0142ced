//! The configuration that `up` writes: what an operator would write by hand, with this machine's paths.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::world::{SHARED_ISSUER, World};

/// Writes it beside the world's files and names it.
pub(super) fn write(world: &World, listen: SocketAddr) -> std::io::Result<PathBuf> {
    let mut text = format!(
        "\
# Written by `countersign up`. The same form as any other: try `countersign check` on it, change it while `up` runs.
issuer: http://{listen}
identity_domain: id.example
listen: {{ address: \"{listen}\" }}
admin: {{ address: \"127.0.0.1:0\" }}
signing: {{ directory: ./keys }}
state: {{ directory: ./state }}

trust:
  - name: prod
    spiffe:
      trust_domain: {domain}
      workload_api: \"{agent}\"
      paths: [\"/ns/{{namespace}}/sa/{{service_account}}\"]
",
        domain = world.trust_domain().name(),
        agent = world.agent().address(),
    );
    for cluster in world.clusters() {
        let name = cluster.name();
        text.push_str(&format!(
            "  - name: {name}
    groups: [fleet]
    kubernetes:
      issuers: [{SHARED_ISSUER}]   # both clusters say so; their keys tell them apart
      keys:
        api_server: {{ url: \"{url}\", ca: {name}-ca.crt, token: {name}-admin.token }}
",
            url = cluster.url(),
        ));
    }
    text.push_str(
        "
resources:
  - name: orders
    audience: https://orders.example
    scopes: [read, write]
    lifetime: 5m
    owner: team-commerce

rules:
  - name: shop may use orders from every cluster
    from: { group: fleet, namespace: shop, service_account: api }
    to: { resource: orders, scopes: [read, write] }
  - name: the shop's SPIFFE workload may read orders
    from: { source: prod, namespace: shop, service_account: api }
    to: { resource: orders, scopes: [read] }

tests:
  - { as: { source: eu1, namespace: shop, service_account: api }, for: orders, expect: allow }
  - { as: spiffe://prod.example/ns/shop/sa/api, for: orders, expect: allow }
  - { as: spiffe://prod.example/ns/shop/sa/other, for: orders, expect: not_granted }
",
    );
    let path = world.directory().join("countersign.yaml");
    std::fs::write(&path, text)?;
    Ok(path)
}
