"""`liveness: { token_review: … }`: what the real API server says of pods and accounts that are gone (K8S-16 to K8S-18)."""

from harness import check, heading, same
from paths import DEPLOY

# The API server remembers for 10 s that a token was good, and countersign for 5 s what it said.
NOTICED = 30


def rights(service, eu1):
    """Without the role nobody is granted and nobody is blamed; the sample gives it."""
    heading("the right to ask")
    token = eu1.token("shop", "api", service.issuer, "api-0")
    service.refused("without the role: not the caller's fault", "liveness_unavailable", token, status=503)
    code, said = service.doctor()
    check("doctor says which right is missing, and what to apply", code != 0 and "liveness.yaml" in said, said)
    same("deploy/kubernetes/liveness.yaml, as it stands, gives it", eu1.apply(DEPLOY / "liveness.yaml"), ["ClusterRole", "ClusterRoleBinding"])
    service.granted("with the role the pod is granted", token, NOTICED)
    code, said = service.doctor()
    check("doctor is content", code == 0 and "it reviews tokens" in said, said)


def deleted(service, eu1):
    heading("pods and accounts that go")
    own = eu1.token("shop", "orders", service.issuer)
    token = eu1.token("shop", "api", service.issuer, "api-0")
    ours, claims = service.granted("a pod that lives", token)
    rests_on = claims.get("rests_on", [{}])[0]
    check("our token says which pod and account it rests on", rests_on.get("pod") == "api-0" and rests_on.get("source") == "eu1", claims)
    service.granted("a token that is bound to no pod", eu1.token("shop", "api", service.issuer))
    service.refused("a token for the API server", "audience_mismatch", eu1.token("shop", "api"))
    same("who serves orders hears that our token is active", service.introspect(ours, own)[1].get("active"), True)

    # A node without a kubelet: nobody confirms that the pod has ended, so it stays, being deleted.
    eu1.delete_pod("shop", "batch-0", 30)
    batch = eu1.token("shop", "batch", service.issuer, "batch-0")
    service.granted("a pod that is being deleted, within its grace", batch)
    eu1.delete_pod("shop", "batch-0", 0)
    service.refused("the same when it is gone", "not_alive", batch, NOTICED)

    eu1.delete_pod("shop", "api-0", 0)
    service.refused("a deleted pod's token, which has not ended", "not_alive", token, NOTICED)
    service.until(lambda _, answer: answer.get("active") is False, NOTICED, lambda: service.introspect(ours, own))
    same("our token for that pod is not active any more", service.introspect(ours, own), (200, {"active": False}))
    eu1.pod("shop", "api-0", "api", "node-1")
    service.granted("a new pod of the same name has a token of its own", eu1.token("shop", "api", service.issuer, "api-0"))
    service.refused("the old pod's token stays refused", "not_alive", token, NOTICED)

    eu1.account("shop", "brief")
    token = eu1.token("shop", "brief", service.issuer)
    service.refused("an account that lives, without a rule", "not_granted", token)
    eu1.delete_account("shop", "brief")
    service.refused("an account that was deleted", "not_alive", token, NOTICED)


def without_the_server(service, eu1, keys):
    heading("the API server is away")
    token = eu1.token("shop", "api", service.issuer, "api-0")
    service.granted("just before", token)
    eu1.stop()
    service.refused("it fails closed, and blames nobody", "liveness_unavailable", token, 15, status=503)
    eu1.start(*keys)
    service.granted("granted again when it is back", token, NOTICED)
