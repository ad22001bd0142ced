"""X.509-SVIDs over mutual TLS, and JWT-SVIDs over gRPC, by the stock clients in Go."""

import time

from broker import VAULT, CountersignOverTls
from client import Client
from harness import all_alive, check, end, heading, note, same, wait_for
from workload import LATEST


def over_tls(work, ports, broker, real, partner, stranger, server, client, entry):
    """A countersign beside `broker` for the time of these checks. `server` is its SPIFFE ID, `client` and `entry` the Go client's."""
    heading("X.509-SVIDs over mutual TLS, and JWT-SVIDs over gRPC, with stock Go clients")
    tls = CountersignOverTls(work, *ports, real, partner)
    tls.start()
    check("countersign over TLS is ready: the agent gave it an X.509-SVID", True)
    go = Client(work, real, broker, tls, server)
    ending = granted(go, real, client)
    refused(go, real, partner, stranger, client)
    ended(go, ending)
    authority_that_changes(go, real, client)
    entry_deleted(go, real, tls, client, entry)
    check("the Go client ended with 0", go.ends())
    check("countersign over TLS ended on SIGTERM, with 0", end(tls.name))


def granted(go, real, client):
    """Gives what an SVID that ends soon was told, on a connection that stays open."""
    first = go.granted("an X.509-SVID gets a token, which go-oidc verifies", client)
    same("the agent's X.509-SVID is signed by SPIRE's authority", first["authority"],
         real.authority("show", kind="x509")["active"]["authority_id"])
    go.granted("over gRPC too", client, grpc=True)
    go.granted("for a resource that wants it, bound to the certificate", client, VAULT, bound=True)
    go.granted("over gRPC too, bound", client, VAULT, bound=True, grpc=True)
    go.granted("a JWT-SVID over gRPC, without TLS", client, plain=True, jwt=True, grpc=True)
    go.granted("a JWT-SVID over gRPC, over TLS without a certificate", client, identity="none", jwt=True, grpc=True)
    go.granted("a JWT-SVID over HTTP, over TLS without a certificate", client, identity="none", jwt=True)
    go.granted("a JWT-SVID over gRPC beside the certificate, bound to that", client, VAULT, bound=True, jwt=True, grpc=True)
    short = str(real.mint_x509(client, "30s"))
    for name, door in (("HTTP", {}), ("gRPC", {"grpc": True})):
        ending = go.granted(f"an X.509-SVID that ends in 30 s, on a connection that stays open: {name}", client, identity=short, keep="ending", **door)
    return ending


def refused(go, real, partner, stranger, client):
    go.refused("no certificate", "credential_missing", identity="none")
    go.refused("a JWT-SVID without a certificate, where the token has to be bound", "binding_required", identity="none", jwt=True, resource=VAULT)
    go.refused("another client_id than the certificate's", "client_id_mismatch", client_id=f"spiffe://{real.trust_domain}/ns/shop/sa/api")
    go.refused("our workload's SPIFFE ID by an authority of somebody's own", "signature_invalid", identity="foreign")
    path = "/ns/shop/sa/client"
    go.refused("a workload that no rule names", "not_granted", identity=str(real.mint_x509(f"spiffe://{real.trust_domain}/ns/shop/sa/web")))
    go.refused("the partner's workload with the path of ours", "not_granted", identity=str(partner.mint_x509(f"spiffe://{partner.trust_domain}{path}")))
    # The agent gives countersign the stranger's authority too: having it is not trusting it.
    go.refused("a workload of a federated trust domain that is no source", "source_unknown", identity=str(stranger.mint_x509(f"spiffe://{stranger.trust_domain}{path}")))
    go.granted("the agent's X.509-SVID is still granted", client)


def ended(go, ending):
    """The certificate ends while its connection is open."""
    while time.time() < ending["exp"] + 1:
        all_alive()
        time.sleep(0.2)
    go.refused("an X.509-SVID that ended while its connection was open", "token_expired", keep="ending")
    check("that was heard on the connection that it was granted on", go.ask(keep="ending")["reused"])


def authority_that_changes(go, real, client):
    """Prepared, activated, tainted, revoked: as JWT authorities are, and for our own certificate too."""
    for name, door in (("HTTP", {}), ("gRPC", {"grpc": True})):
        before = go.granted(f"an X.509-SVID of the old authority, on a connection that stays open: {name}", client, keep="old", **door)
    old, new = before["authority"], real.prepare("x509")
    real.authority("activate", "-authorityID", new, kind="x509")
    real.authority("taint", "-authorityID", old, kind="x509")
    wait_for("the agent gives an X.509-SVID by the new authority", 60, lambda: go.ask(fetch=True).get("authority") == new)
    wait_for("the client's source has it too", LATEST, lambda: go.ask()["authority"] == new)
    go.granted("an X.509-SVID by the new authority is granted", client)
    go.granted("one by the tainted authority still is, on the open connection", client, keep="old")
    real.authority("revoke", "-authorityID", old, kind="x509")
    began = time.monotonic()
    wait_for("countersign hears that the authority is revoked", 60, lambda: not go.ask(keep="old")["granted"])
    note(f"the open connection was refused {time.monotonic() - began:.1f} s after the order")
    go.refused("an X.509-SVID of the revoked authority", "signature_invalid", keep="old")
    check("that too on the connection that it was granted on", go.ask(keep="old")["reused"])
    # A new connection: the client no longer takes a server's certificate by the old authority either.
    for name, door in (("HTTP", {}), ("gRPC", {"grpc": True})):
        told = go.granted(f"a new connection is granted, and our own certificate is by the new authority: {name}", client, **door)
    same("with an X.509-SVID by the new authority", told["authority"], new)


def entry_deleted(go, real, tls, client, entry):
    go.granted("before the entry is deleted", client, keep="last")
    same("the agent gives the client its identity", go.ask(fetch=True).get("subject"), client)
    real.server("entry", "delete", "-entryID", entry)
    said = wait_for("the agent has dropped the entry", 60, lambda: go.ask(fetch=True).get("why"))
    check("after that the agent gives it no X.509-SVID", "PermissionDenied" in said, said)
    told = go.ask(plain=True, jwt=True, grpc=True)
    check("nor a JWT-SVID to exchange", not told["granted"] and "PermissionDenied" in told["why"], told)
    # SPIRE takes back no SVID: what the client holds is good until it ends, unless it is revoked here.
    go.granted("the X.509-SVID that it holds has not ended", client, keep="last")
    code, _, err = tls.command("revoke", "identity", client, "--reason", "its entry is gone", "--state", tls.folder / "state")
    same("countersign revoke identity ends with 0", (code, err.strip()), (0, ""))
    go.refused("the X.509-SVID that it holds, after that", "revoked", keep="last")
