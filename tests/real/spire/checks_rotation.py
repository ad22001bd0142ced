"""SPIRE's JWT authority changes while workloads exchange all the time: only the stream can bring the new key."""

import jwt
from broker import accepted, refused
from harness import heading, now_ms, wait_for
from workload import Revocation


def kid_of(svid):
    return jwt.get_unverified_header(svid)["kid"]


def keys_that_change(spire, broker, api, before, worker):
    """Prepared, activated, tainted, revoked. `before` is an SVID under the old key."""
    heading("SPIRE prepares, activates, taints and revokes a JWT authority during exchanges")
    began = now_ms()
    old = kid_of(before)
    new = spire.prepare()
    wait_for("the agent has the prepared key", 60, lambda: new in spire.fetch(api, broker.issuer)[1])
    accepted("with a second key prepared, the old key's SVID is accepted", broker, before)
    worker.wait_for("exchanges go on with a prepared key", 20, now_ms(), "granted", kid=old, number=10)

    spire.authority("activate", "-authorityID", new)
    worker.wait_for("exchanges go on after the activation", 20, now_ms(), "granted", number=10)
    # Tainting makes the agent drop the SVIDs that it has cached under the old key.
    spire.authority("taint", "-authorityID", old)

    def signed_by_new():
        svid, _ = spire.fetch(api, broker.issuer)
        return svid if kid_of(svid) == new else None

    after = wait_for("an SVID under the new key", 60, signed_by_new)
    accepted("an SVID under the new key is accepted: the stream brought it", broker, after, seconds=30)
    # Both at once: the old key's SVIDs live on until it is revoked.
    worker.wait_for("SVIDs of the new key are exchanged", 30, now_ms(), "granted", kid=new, number=10)
    worker.wait_for("SVIDs of the tainted key are exchanged", 30, now_ms(), "granted", kid=old, number=10)

    accepted("just before its key is revoked, the old SVID is accepted", broker, before)
    ordered = now_ms()
    spire.authority("revoke", "-authorityID", old)
    wait_for("the agent has dropped the revoked key", 60, lambda: old not in spire.fetch(api, broker.issuer)[1])
    gone = now_ms()
    refused("after SPIRE revoked its key, the old SVID", broker, "invalid_client", before, seconds=30)
    accepted("the new key's SVID is still accepted", broker, after)
    Revocation(old, ordered, gone).judge(worker)
    worker.none_refused("SVIDs of keys that stand, through all of it", began, but=worker.revoked)


def partner_keys_that_change(real, partner, broker, reports):
    """The partner's new key comes by its bundle endpoint, our server, our agent and the stream."""
    began = now_ms()
    had = broker.status()[2]["partner"]["keys"]
    new = partner.prepare()
    # Otherwise the server looks again when the bundle's refresh hint says so, in minutes.
    real.server("federation", "refresh", "-id", partner.trust_domain)
    wait_for("the partner's prepared key reaches countersign", 60, lambda: broker.status()[2]["partner"]["keys"] == had + 1)
    old = partner.authority("show")["active"]["authority_id"]
    partner.authority("activate", "-authorityID", new)
    partner.authority("taint", "-authorityID", old)
    reports.wait_for("the partner's SVIDs under its new key are exchanged", 60, began, "granted", kid=new, number=10)
    reports.none_refused("the partner changes its key, which comes through its bundle endpoint", began)
