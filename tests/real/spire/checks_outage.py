"""The agent goes and comes back; the server is away for minutes while the agent goes on."""

import time

import jwt
from broker import accepted
from harness import all_alive, check, heading, note, now_ms, same, wait_for
from spire import SVID_LIFE

# Two minutes: longer than half of an SVID's life, after which the agent wants to renew it, fails, and goes on with what it has;
# and shorter than all of it, as no workload has anything to show that a server signed longer ago than SVIDs live.
OUTAGE = 125


def without_the_agent(spire, broker, api, worker):
    heading("the agent is stopped and started during exchanges")
    svid, _ = spire.fetch(api, broker.issuer)
    began = now_ms()
    check("spire-agent ended on SIGTERM", spire.stop_agent())
    down = wait_for("countersign notices that the agent is gone", 20, lambda: broker.status()[2]["real"]["last_error"])
    note(f"status meanwhile: {down}")
    stopped = now_ms()
    worker.wait_for("go-spiffe gets nothing from the agent", 20, stopped, "no_svid")
    worker.wait_for("SVIDs that were fetched before are exchanged", 30, stopped, "granted", number=30)
    accepted("without the agent, an SVID that was fetched before is accepted", broker, svid)
    code, _, sources = broker.status()
    real = sources["real"]
    check("status ends with 1 and says for how long the last keys serve: a day",
          code == 1 and real["keys"] >= 1 and 86_000 < real["usable_seconds"] <= 86_400, real)

    spire.start_agent()
    back = wait_for("the stream is open again", 30, lambda: (source := broker.status()[2]["real"])["last_error"] is None and source)
    check("after the agent's restart the keys are confirmed again", back["keys"] >= 1 and back["age_seconds"] == 0, back)
    worker.wait_for("new SVIDs after the restart", 30, now_ms() - 2000, "svid")
    worker.wait_for("exchanges go on after the restart", 20, now_ms(), "granted", number=20)
    # A new key is the proof that messages come.
    new = spire.prepare()
    wait_for("a key that is prepared now arrives", 60, lambda: broker.status()[2]["real"]["keys"] == back["keys"] + 1)
    check("a key that SPIRE prepared after the restart has arrived", True)
    worker.none_refused("the agent stopped and started", began, but=worker.revoked)
    return new


def without_the_server(spire, broker, api, worker, prepared):
    heading(f"the server is stopped for {OUTAGE} s while the agent goes on")
    wait_for("an SVID that outlives the outage", SVID_LIFE, lambda: life(spire.fetch(api, broker.issuer)[0]) > OUTAGE + 20)
    svid, _ = spire.fetch(api, broker.issuer)
    began = now_ms()
    worker.wait_for("SVIDs that outlive the outage", SVID_LIFE, 0, "svid")
    check("spire-server ended on SIGTERM", spire.stop_server())
    stopped = time.monotonic()
    while time.monotonic() - stopped < OUTAGE:
        all_alive()
        time.sleep(min(1, max(0, OUTAGE - (time.monotonic() - stopped))))
    away = time.monotonic() - stopped
    accepted(f"after {away:.0f} s without the server, an SVID from before is accepted ({life(svid):.0f} s are left of it)", broker, svid)
    cached, _ = spire.fetch(api, broker.issuer)
    same("the agent gives the SVID that it has, past half of its life", (cached == svid, life(cached) < SVID_LIFE / 2), (True, True))
    accepted("and that is accepted", broker, cached)
    code, _, sources = broker.status()
    check("status has nothing against the source: the agent's word is what counts",
          sources["real"]["age_seconds"] == 0 and sources["real"]["last_error"] is None, sources["real"])
    worker.none_refused("the server away", began, but=worker.revoked)

    heading("the server comes back")
    back = now_ms()
    spire.start_server()
    spire.authority("activate", "-authorityID", prepared)
    fresh = wait_for("an SVID under the key that was prepared before the outage", 60, lambda: signed_by(spire, broker, api, prepared))
    accepted("an SVID of the server that came back is accepted, under the key that it prepared before", broker, fresh)
    # Of whichever key: the workload may have asked between start and activation.
    worker.wait_for("the workload too gets new SVIDs", 60, back, "svid")
    worker.wait_for("exchanges go on", 20, now_ms(), "granted", number=20)
    worker.none_refused("the server back", back, but=worker.revoked)


def life(svid):
    return jwt.decode(svid, options={"verify_signature": False})["exp"] - time.time()


def signed_by(spire, broker, api, kid):
    svid, _ = spire.fetch(api, broker.issuer)
    return svid if jwt.get_unverified_header(svid)["kid"] == kid else None
