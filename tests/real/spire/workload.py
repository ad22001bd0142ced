"""Workloads with go-spiffe (./workload) that exchange all the time, and the judge of what they were answered."""

import json
import time

from broker import ORDERS
from harness import WORKLOAD, Broken, all_alive, check, end, note, start

LATEST = 10  # seconds in which what the agent knows has to have reached countersign
ENOUGH = 20  # exchanges that show that something is so


class Workload:
    def __init__(self, name, work, domain, broker, rate=10):
        self.name, self.log, self.broker = name, work / f"{name}.log", broker
        self.ordered = {}  # keys that SPIRE was told to revoke, and when: from then on their SVIDs may be refused
        self.revoked = {}  # the same keys: from when on their SVIDs have to be
        self.withdrawn = None  # from when on all of its SVIDs may be refused
        start(
            name, work, WORKLOAD, "-agent", f"unix:{domain.agent_socket}", "-issuer", broker.issuer,
            "-resource", ORDERS, "-rate", rate, "-count", 50_000, "-for", "8m",
        )

    def events(self):
        """All that it has told so far."""
        lines = self.log.read_text().split("\n")[:-1]  # the last may be half a line
        try:
            return [json.loads(line) for line in lines]
        except ValueError:
            raise Broken(f"{self.name} wrote something that is no event") from None

    def since(self, moment, *kinds, kid=None):
        return [
            event for event in self.events()
            if event["event"] in kinds and event["began"] >= moment and kid in (None, event.get("kid"))
        ]

    def wait_for(self, what, seconds, moment, *kinds, kid=None, number=1):
        deadline = time.monotonic() + seconds
        while len(found := self.since(moment, *kinds, kid=kid)) < number:
            all_alive()
            if time.monotonic() > deadline:
                raise Broken(f"{self.name}: {what}: {len(found)} of {number} within {seconds} s")
            time.sleep(0.2)
        return found

    def described(self, event):
        reason = self.broker.reason(event["ref"]) if event.get("ref") else event.get("why", "")
        return {"kid": event["kid"], "lives": event["exp"] - event["began"] // 1000, "error": event.get("error"), "reason": reason}

    def none_refused(self, what, moment, but=()):
        """Since that moment every exchange was granted, but for SVIDs of those keys; and there were enough, soon if not now."""
        judged = lambda: [event for event in self.since(moment, "granted", "refused", "unanswered") if event["kid"] not in but]
        deadline = time.monotonic() + 30
        while len(got := judged()) < ENOUGH and time.monotonic() < deadline:
            all_alive()
            time.sleep(0.2)
        bad = [event for event in got if event["event"] != "granted"]
        shown = [self.described(event) for event in bad[:5]]
        check(f"{what}: {len(got)} exchanges, none refused" if not bad else what, not bad and len(got) >= ENOUGH,
              f"{len(bad)} of {len(got)} not granted: {shown}")

    def is_right(self, refusal):
        since = self.withdrawn if self.withdrawn is not None else self.ordered.get(refusal["kid"])
        return since is not None and refusal["ended"] >= since

    def ends(self):
        gone = end(self.name)
        events = self.events()
        total = events[-1] if events and events[-1]["event"] == "end" else {}
        check(f"{self.name} ended when it was told to, with its counts", gone and bool(total), events[-1:])
        granted, refused, unanswered = (total.get(kind, 0) for kind in ("granted", "refused", "unanswered"))
        late = [kid for kid, moment in self.revoked.items() if self.since(moment, "granted", kid=kid)]
        check(f"{self.name}: no SVID of a revoked key was accepted until the end", not late, late)
        refusals = [event for event in events if event["event"] == "refused"]
        wrong = [self.described(event) for event in refusals if not self.is_right(event)]
        check(f"{self.name}: all of its {len(refusals)} refusals are of what SPIRE had taken back by then", not wrong, wrong[:5])
        fetched = [event["kid"] for event in events if event["event"] == "svid"]
        vain = sum(event["event"] == "no_svid" for event in events)
        # One reference of each key and error: what the operator hears.
        reasons = {self.broker.reason(ref) for ref in {(e["kid"], e["error"]): e["ref"] for e in refusals}.values()}
        note(f"{self.name}: {granted} granted, {refused} refused, {unanswered} unanswered; {len(fetched)} SVIDs of "
             f"{len(set(fetched))} keys, {vain} fetches in vain; refused with {sorted(reasons) or 'nothing'}")
        same_number = granted + refused + unanswered == sum(
            event["event"] in ("granted", "refused", "unanswered") for event in events
        )
        check(f"{self.name}'s counts agree with its events, and nothing stayed unanswered", same_number and unanswered == 0, total)


class Revocation:
    """What SPIRE said of a key, and when: refused before it was revoked is wrong, accepted after it was gone is wrong."""

    def __init__(self, kid, ordered, gone):
        self.kid, self.ordered, self.gone = kid, ordered, gone

    def judge(self, workload):
        """Waits until its SVIDs have been refused often enough, then looks at all that was answered to them."""
        workload.wait_for("SVIDs of the revoked key are refused", LATEST + 20, self.ordered, "refused", kid=self.kid, number=ENOUGH)
        before = [e for e in workload.since(0, "granted", "refused", "unanswered", kid=self.kid) if e.get("ended", 0) < self.ordered]
        bad = [workload.described(event) for event in before if event["event"] != "granted"]
        check(f"{workload.name}: until SPIRE revoked the old key, its SVIDs were granted ({len(before)} times), never refused",
              before and not bad, bad[:5])
        refusals = workload.since(self.ordered, "refused", kid=self.kid)
        first = refusals[0]
        lag = first["began"] - self.gone
        check(f"{workload.name}: the first refusal came within {LATEST} s of the agent dropping the key ({lag} ms)", lag <= LATEST * 1000)
        workload.ordered[self.kid], workload.revoked[self.kid] = self.ordered, first["began"]
        late = workload.since(first["began"], "granted", kid=self.kid)
        check(f"{workload.name}: from then on none of its SVIDs was accepted ({len(refusals)} tries)", not late, [e["began"] - first["began"] for e in late])
        reasons = {workload.broker.reason(event["ref"]) for event in (refusals[0], refusals[-1])}
        check(f"{workload.name}: each has a reference that says key_unknown",
              reasons == {"key_unknown"} and all(event["error"] == "invalid_client" for event in refusals), reasons)
