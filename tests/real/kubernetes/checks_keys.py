"""Tokens of two real clusters with one issuer, their keys by API server and by discovery, and keys that change."""

import base64
import json
import time
import uuid

import jwt
from cluster import ISSUER, STRETCHED, STRETCHING_SECONDS
from cryptography.hazmat.primitives.asymmetric import ec
from harness import check, heading, note, same
from service import ORDERS


def kid_of(token):
    return jwt.get_unverified_header(token)["kid"]


def claims_of(token):
    return jwt.decode(token, options={"verify_signature": False})


def shapes(cluster, issuer):
    """What a token of today looks like: the claims that we read are where we read them (K8S-11)."""
    heading("what real tokens look like")
    token = cluster.token("shop", "api", issuer, "api-0")
    claims = claims_of(token)
    own = claims["kubernetes.io"]
    note(f"members: {sorted(claims)}; kubernetes.io: {sorted(own)}")
    check("a token has iss, sub, one aud, times, and a jti",
          claims["iss"] == ISSUER and claims["sub"] == "system:serviceaccount:shop:api" and claims["aud"] == [issuer]
          and {"exp", "iat", "nbf", "jti"} <= set(claims), claims)
    check("kubernetes.io names namespace, account, pod and node with their UIDs",
          own["namespace"] == "shop" and own["serviceaccount"]["name"] == "api" and own["pod"]["name"] == "api-0"
          and own["node"]["name"] == "node-1" and all(own[kind]["uid"] for kind in ("serviceaccount", "pod", "node")), own)
    review = cluster.review(token, issuer)
    extra = review["user"]["extra"]
    check("TokenReview names the same pod, node and token id (K8S-18)",
          review["audiences"] == [issuer] and extra["authentication.kubernetes.io/pod-uid"] == [own["pod"]["uid"]]
          and extra["authentication.kubernetes.io/node-name"] == ["node-1"]
          and extra["authentication.kubernetes.io/credential-id"] == [f"JTI={claims['jti']}"], review)
    same("to a TokenReview without audiences the token for the API server has its audiences alone",
         sorted(cluster.review(cluster.token("shop", "api"))["audiences"]), sorted([ISSUER, STRETCHED]))
    document = cluster.discovery()
    check("discovery names that issuer, and the keys at the API server's address (K8S-13, K8S-14)",
          document["issuer"] == ISSUER and document["jwks_uri"] == f"{cluster.url}/openid/v1/jwks", document)
    return claims


def two_clusters(service, eu1, edge):
    heading("exchanges from two clusters with one issuer")
    _, ours = service.granted("keys by API server: a pod's token is exchanged (K8S-13)", eu1.token("shop", "api", service.issuer, "api-0"), 30)
    expected = {"sub": "spiffe://id.example/k8s/eu1/ns/shop/sa/api", "aud": ORDERS, "kind": "kubernetes", "source": "eu1",
                "cluster": "eu1", "namespace": "shop", "service_account": "api", "scope": "read"}
    same("what comes out names cluster, namespace and account", {name: ours.get(name) for name in expected}, expected)
    _, ours = service.granted("keys by discovery: the other cluster's token is exchanged", edge.token("shop", "api", service.issuer), 30)
    same("the same issuer, namespace and account is somebody else there (K8S-09)",
         ours.get("sub"), "spiffe://id.example/k8s/edge/ns/shop/sa/api")
    service.granted("a token that is bound to no pod is exchanged", eu1.token("shop", "api", service.issuer))
    service.granted("a pod on the node that the rule names is granted", eu1.token("shop", "batch", service.issuer, "batch-0"))
    service.refused("its neighbour on another node", "not_granted", eu1.token("shop", "batch", service.issuer, "batch-1"))
    service.refused("an account without a rule", "not_granted", eu1.token("shop", "default", service.issuer))

    # Asked for 3607 s by a pod, for its own audiences the API server gives a year.
    stretched = eu1.token("shop", "api", STRETCHED, "api-0", STRETCHING_SECONDS)
    claims = claims_of(stretched)
    warned = claims["kubernetes.io"]["warnafter"] - claims["iat"]
    check("the API server stretches a token to a year and says when it should have been renewed",
          claims["exp"] - claims["iat"] > 360 * 86400 and warned == STRETCHING_SECONDS, claims)
    service.granted("a stretched token is taken: its life ends at warnafter, not in a year (K8S-07)", stretched)


def addressed_elsewhere(service, eu1):
    heading("tokens for somebody else")
    service.refused("a token for the API server (K8S-05)", "audience_mismatch", eu1.token("shop", "api"))
    service.refused("a token for us and the API server", "audience_mismatch", eu1.token("shop", "api", [service.issuer, ISSUER]))
    service.refused("a token for another service (K8S-04)", "audience_mismatch", eu1.token("shop", "api", ORDERS))
    service.refused("a token for our issuer with a slash", "audience_near_miss", eu1.token("shop", "api", f"{service.issuer}/"))
    token = eu1.token("shop", "api", service.issuer)
    same("the API server itself refuses a token for us", eu1.refuses("/openid/v1/jwks", token), 401)
    same("and whoever has none (K8S-13)", eu1.refuses("/openid/v1/jwks", ""), 401)
    head, body, signature = token.split(".")
    changed = base64.urlsafe_b64encode(json.dumps({**claims_of(token), "sub": "system:serviceaccount:shop:batch"}).encode())
    service.refused("a changed token", "signature_invalid", f"{head}.{changed.decode().rstrip('=')}.{signature}")
    service.granted("the token that it was made of", token)


def stranger(issuer):
    """A token with that issuer by a key that no cluster has."""
    now = int(time.time())
    return jwt.encode(
        {"iss": ISSUER, "sub": "system:serviceaccount:shop:api", "aud": [issuer], "jti": str(uuid.uuid4()), "iat": now, "nbf": now, "exp": now + 3600,
         "kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "api", "uid": str(uuid.uuid4())}}},
        ec.generate_private_key(ec.SECP256R1()), "ES256", {"kid": f"stranger-{uuid.uuid4()}"},
    )


def keys_that_change(service, eu1, own_token):
    """A new key of another algorithm signs, the old one stands, then it is withdrawn. Nobody tells countersign anything."""
    heading("the API server gets a new signing key")
    old = eu1.token("shop", "api", service.issuer, "api-0")
    had = service.source("eu1")["keys"]
    eu1.stop()
    service.granted("while the API server is away, tokens by a known key are exchanged", old)
    eu1.start("second", "first")
    same("the API server publishes both keys", len(eu1.key_ids()), 2)
    new = eu1.token("shop", "api", service.issuer, "api-0")
    check("it signs with the new one, another algorithm",
          kid_of(new) != kid_of(old) and jwt.get_unverified_header(new)["alg"] == "ES256")
    # An unknown key id makes it look again, at most once in 30 s: until then callers are told to come back.
    service.granted("a token by the new key is exchanged: it looked again", new, 45)
    service.granted("a token by the old key still is", old)
    same("status counts both", service.source("eu1")["keys"], had + 1)

    heading("the API server withdraws the old key")
    # What a kubelet does with a projected token; an operator for a cluster that is far away.
    eu1.write_token(own_token, "countersign", "countersign")
    service.granted("just before, the old token is exchanged", old)
    eu1.restart("second")
    same("the API server publishes one key", len(eu1.key_ids()), 1)
    # The regular look is minutes away; anybody's unknown key id brings it forward.
    service.refused("a token with that issuer by a key that nobody published: it looked again", "key_unknown", stranger(service.issuer), 45)
    same("the withdrawn key is gone from status", service.source("eu1")["keys"], had)
    service.refused("the withdrawn key's token, which has not ended (K8S-15)", "key_unknown", old, 45)
    service.granted("the new key's token is still exchanged", new)
    service.granted("one that was given after all that is, too", eu1.token("shop", "api", service.issuer, "api-0"))
