"""A second trust domain by federation, as a second source on the same socket; and one that is no source."""

import json
import subprocess

from broker import accepted, refused
from checks_commands import shows
from harness import AGENT, BINARY, check, heading, now_ms, same, wait_for
from workload import LATEST


def two_domains(broker, real, partner, stranger, entries, svid):
    heading("a federated trust domain, and one that is no source")
    theirs, _ = wait_for("an SVID of the partner's agent", 60, lambda: partner.fetch(f"spiffe://{partner.trust_domain}/ns/billing/sa/api", broker.issuer))
    reference = refused("a workload of the partner that no rule names", broker, "unauthorized_client", theirs)
    code, text, _ = broker.explain(reference)
    shows("explain: the partner's key vouches for the partner's own identity", text,
          "✓ source      partner", f"✓ claims      spiffe://{partner.trust_domain}/ns/billing/sa/api", "✗ rule")

    # The same path as one that a rule of `real` names: the trust domain is what differs.
    twin = partner.mint(f"spiffe://{partner.trust_domain}/ns/shop/sa/api", broker.issuer)
    refused("the partner's workload with the path of ours", broker, "unauthorized_client", twin)
    try:
        partner.mint(f"spiffe://{real.trust_domain}/ns/shop/sa/api", broker.issuer)
        check("SPIRE itself signs no SVID for another trust domain", False, "it did")
    except subprocess.SubprocessError:
        check("SPIRE itself signs no SVID for another trust domain", True)

    # The agent gives countersign the stranger's keys too: having keys of it is not trusting it.
    real.server("bundle", "set", "-id", f"spiffe://{stranger.trust_domain}", "-format", "spiffe", "-path", stranger.bundle_file())
    real.update(*entries["countersign"], BINARY, (partner, stranger))
    real.update(*entries["api"], AGENT, (stranger,))
    odd = stranger.mint(f"spiffe://{stranger.trust_domain}/ns/shop/sa/api", broker.issuer)
    wait_for("the agent hands out the stranger's keys", 60, lambda: stranger.trust_domain in real.known_domains(entries["api"][1]))
    reference = refused("an SVID of a federated trust domain that is no source", broker, "invalid_client", odd)
    same("explain says source_unknown", broker.reason(reference), "source_unknown")
    accepted("our own SVID is accepted as before", broker, svid)


def one_identity(work, partner, reports):
    """The partner's workload is exchanged as itself, by the key of its own source."""
    reports.wait_for("exchanges of the partner's workload", 60, 0, "granted", number=20)
    reports.none_refused("the partner's workload, by its own agent", 0)
    name = f"spiffe://{partner.trust_domain}/ns/billing/sa/reports"
    granted = [record for record in records(work) if record["outcome"] == "allow" and record.get("source") == "partner"]
    check("the records name its identity and nobody else's for that source", granted and {record["id"] for record in granted} == {name})


def records(work):
    """The decision records that countersign has written to its stdout."""
    for line in (work / "countersign.log").read_text().splitlines():
        if line.startswith("{") and '"ref":' in line:
            yield json.loads(line)


def ended(broker, real, partner, entries, reports, worker):
    heading("the federation ends during exchanges")
    began = reports.withdrawn = now_ms()
    real.update(*entries["countersign"], BINARY)
    real.server("federation", "delete", "-id", partner.trust_domain)
    real.server("bundle", "delete", "-id", f"spiffe://{partner.trust_domain}", "-mode", "dissociate")
    wait_for("the next message takes the partner's keys away", 60, lambda: broker.status()[2]["partner"]["keys"] == 0)
    gone = now_ms()
    refusals = reports.wait_for("the partner's SVIDs are refused", LATEST, gone, "refused", number=20)
    late = reports.since(gone, "granted")
    check(f"after the next message none of the partner's SVIDs is accepted ({len(refusals)} tries)", not late, len(late))
    same("explain says key_unknown", broker.reason(refusals[-1]["ref"]), "key_unknown")
    worker.none_refused("our own workload meanwhile", began, but=worker.revoked)
    code, text, _ = broker.doctor("text")
    check("doctor: the partner's source was reached and has no key, which is a problem",
          code == 1 and "✗ partner" in text and "no usable key" in text and "✓ real" in text, (code, text))
