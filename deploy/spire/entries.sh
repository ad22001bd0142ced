#!/usr/bin/env sh
# SPIRE registration entries, for nodes without Kubernetes: countersign itself, and one client.
#
#   ./entries.sh <SPIFFE ID of the node's agent> [further options for every call, such as -socketPath …]
#
# With the SPIRE controller manager in a cluster: cluster-spiffe-ids.yaml instead.
set -eu

node="$1"
shift
trust_domain="${node#spiffe://}"
trust_domain="${trust_domain%%/*}"

# countersign: without an entry the agent answers "no identity issued" and gives it no bundles.
spire-server entry create "$@" \
    -parentID "$node" \
    -spiffeID "spiffe://$trust_domain/countersign" \
    -selector unix:user:countersign

# A client: any process of that user, as the rules know it by `paths: ["/ns/{namespace}/sa/{service_account}"]`.
# It asks the Workload API for a JWT-SVID whose audience is the issuer, and sends that as `client_assertion`.
spire-server entry create "$@" \
    -parentID "$node" \
    -spiffeID "spiffe://$trust_domain/ns/shop/sa/api" \
    -selector unix:user:shop-api \
    -jwtSVIDTTL 300
