"""doctor, status and explain: what an operator hears about a real agent."""

import json
import os
import pwd
import shlex

from broker import refused
from harness import check, note, same, wait_for

DENIED = "PERMISSION_DENIED"


def shows(what, text, *lines):
    """Each of these is in it."""
    missing = [line for line in lines if line not in text]
    return check(what, not missing, f"{missing} not in:\n{text}")


def without_an_entry(broker, real, svid):
    """countersign runs, and its agent has no entry for it. Gives the registration entry that doctor prints."""
    code, text, _ = broker.doctor("text")
    same("doctor, without an entry of countersign's own, ends with 1", code, 1)
    shows("doctor says that the agent gives no identity, and what to paste", text,
          "✗ real", f"the agent says {DENIED}", "register this process with it", "paste: spire-server entry create",
          f"-spiffeID spiffe://{real.trust_domain}/countersign -parentID <the agent's ID> -federatesWith spiffe://partner.example",
          f"a JWT-SVID with the audience {broker.issuer}")
    code, text, _ = broker.doctor()
    findings = json.loads(text)
    pastes = [finding["paste"] for finding in findings["findings"] if finding["paste"]]
    same("doctor -o json ends with 1 too and says the same", (code, findings["well"], len(pastes)), (1, False, 1))

    code, _, sources = broker.status()
    said = sources["real"]["last_error"] or ""
    check("status ends with 1: the source has no keys, because the agent says no",
          code == 1 and DENIED in said and sources["real"]["keys"] == 0, sources["real"])
    reference = refused("a good SVID is not blamed for it", broker, "temporarily_unavailable", svid, status=503)
    same("explain says keys_unreachable", broker.reason(reference), "keys_unreachable")
    return pastes[0]


def paste(real, printed):
    """Runs what doctor printed, with the two things filled in that it cannot know. The entry's ID."""
    user = pwd.getpwuid(os.getuid()).pw_name
    filled = printed.replace("<the agent's ID>", real.node).replace("unix:user:countersign", f"unix:user:{user}")
    words = shlex.split(filled.replace("\\\n", " "), comments=True)
    note(f"pasted: {shlex.join(words)}")
    made = json.loads(real.server(*words[1:], "-output", "json"))["results"][0]
    check("the entry that doctor printed is one that spire-server takes", made["status"]["code"] == 0, made["status"])
    return made["entry"]["id"]


def with_the_entry(broker):
    wait_for("countersign hears from its agent by itself", 30, lambda: broker.status()[0] == 0)
    code, text, _ = broker.doctor("text")
    same("doctor, with the entry, ends with 0", code, 0)
    shows("doctor names both sources' keys", text, "✓ real", "✓ partner", "key(s) by the Workload API at unix:")
    check("doctor has nothing to paste any more", "paste:" not in text, text)
    code, report, sources = broker.status()
    same("status ends with 0", code, 0)
    check("status: ready, a signing key, and keys of both sources that are confirmed now",
          report["ready"] and any(key["signs"] for key in report["signing"])
          and all(source["keys"] >= 1 and source["age_seconds"] == 0 and not source["last_error"] for source in sources.values()), report)
    code, text, _ = broker.command("status", "--state", broker.folder / "state")
    shows("status, as text, says so first", text.splitlines()[0], "✓ all is well")


def explained(broker, forged, unruled, no_rule):
    """The references of two refusals, explained."""
    code, text, _ = broker.explain(forged)
    same("explain of a changed signature ends with 0", code, 0)
    shows("explain: the signature did not hold, nothing after it was reached", text,
          "DENY  signature_invalid", "✗ signature", "- audience    (not reached)", "the caller heard")
    _, text, _ = broker.explain(unruled)
    shows("explain: all about the SVID held, no rule did", text,
          "DENY  not_granted", "✓ source      real", f"✓ claims      {no_rule}", "✗ rule", "would pass with")
    code, _, text = broker.explain("000000000000")
    check("explain of a reference that nobody got ends with 1", code == 1 and "no kept decision" in text, (code, text))
