"""`keys: { push: … }`: `countersign feed` inside a real cluster, which countersign never asks for anything."""

from checks_keys import kid_of
from harness import all_alive, check, end, heading, same, start, wait_for
from paths import BINARY, DEPLOY

NAMESPACE, ACCOUNT = "countersign-feeder", "feeder"


class Feeder:
    """`countersign feed` with the files that the kubelet would give its pod."""

    def __init__(self, service, cluster):
        self.service, self.cluster = service, cluster
        self.audience = f"{service.issuer}/sources/{cluster.name}/keys"
        self.push_token, self.api_token = cluster.folder / "push.token", cluster.folder / "api.token"

    def renew(self):
        """As the kubelet does before tokens end."""
        self.cluster.write_token(self.push_token, NAMESPACE, ACCOUNT, self.audience, seconds=900)
        self.cluster.write_token(self.api_token, NAMESPACE, ACCOUNT)

    def start(self):
        start("feeder", self.service.work, BINARY, "feed", "--issuer", self.service.issuer, "--source", self.cluster.name,
              "--token", self.push_token, "--api-server", self.cluster.url, "--api-ca", self.cluster.ca,
              "--api-token", self.api_token, "--every", "1s", env=self.service.environment)

    def pushed(self, what, keys):
        """Waits until the last push that was taken has exactly these keys."""
        def last():
            push = self.service.source(self.cluster.name).get("last_push")
            return push if push and sorted(push["key_ids"]) == sorted(keys) else None

        push = wait_for(what, 60, last)
        check(f"{what}, pushed by the feeder", push["by"].endswith(f"/ns/{NAMESPACE}/sa/{ACCOUNT}"), push)


def rotation(service, edge, feeder):
    """The cluster's keys change; the feeder is told nothing, and nobody asks the cluster."""
    old = edge.token("shop", "api", service.issuer)
    service.granted("the keys of `first` serve until the first push", old)
    feeder.start()
    feeder.pushed("the cluster's keys arrive", edge.key_ids())
    # Its token has pushed: it is the next one that is kept for a new set.
    feeder.renew()
    service.granted("tokens are exchanged as before", old)

    heading("that cluster gets a new signing key")
    edge.restart("second", "first")
    feeder.pushed("both keys arrive", edge.key_ids())
    new = edge.token("shop", "api", service.issuer)
    check("the cluster signs with the new key", kid_of(new) != kid_of(old))
    service.granted("a token by the new key is exchanged", new, 30)
    service.granted("a token by the old key still is", old)

    heading("that cluster withdraws the old key")
    feeder.renew()
    edge.restart("second")
    feeder.pushed("one key arrives", edge.key_ids())
    service.refused("the withdrawn key's token", "key_unknown", old, 30)
    service.granted("the new key's token is still exchanged", new)
    all_alive()


def refused(service, edge, other):
    """Nobody else can change the keys, nor the feeder twice with one token. `other` is another cluster."""
    heading("pushes that are not taken")
    audience = f"{service.issuer}/sources/edge/keys"
    keys = edge.jwks()

    def push(what, status, reason, token, body):
        told, answer = service.push("edge", token, body)
        said = service.reason(answer.get("error_ref", ""))
        check(f"{what}: {status}, {reason}", told == status and said == reason, (told, answer, said))

    push("another account of the cluster", 400, "not_granted", edge.token("shop", "api", audience), keys)
    push("the feeder with a token for the token endpoint", 401, "audience_mismatch", edge.token(NAMESPACE, ACCOUNT, service.issuer), keys)
    token = edge.token(NAMESPACE, ACCOUNT, audience)
    push("another cluster's keys, without the one that signed the token", 400, "malformed_request", token, other.jwks())
    same("the feeder with its cluster's keys", service.push("edge", token, keys)[0], 204)
    push("the same push again", 401, "already_used", token, keys)
    service.refused("its token at the token endpoint", "audience_mismatch", token)
    same("the keys are what they were", service.source("edge")["keys"], 1)


def all_of_it(service, edge, other):
    heading("a cluster that pushes its keys")
    kinds = edge.apply(DEPLOY / "feeder.yaml")
    check("deploy/kubernetes/feeder.yaml, as it stands, is taken by the API server", "Deployment" in kinds and "NetworkPolicy" in kinds, kinds)
    feeder = Feeder(service, edge)
    feeder.renew()
    rotation(service, edge, feeder)
    check("the feeder ended on SIGTERM, with 0", end("feeder"))
    refused(service, edge, other)
