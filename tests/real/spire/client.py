"""The stock Go clients of tests/clients/go, which exchange when they are told to and say what came of it."""

import json
import select
import subprocess

from broker import ORDERS
from harness import CLIENT, Broken, check, children, start

# What callers hear over HTTP; for all else invalid_client.
ERRORS = {"not_granted": "unauthorized_client", "binding_required": "invalid_request"}
PATIENCE = 30  # seconds for one answer


class Client:
    def __init__(self, work, domain, plain, tls, server):
        """At two brokers: `plain`, and `tls` whose certificate has to be the SVID of `server`."""
        self.tls = tls
        self.process = start(
            "client", work, CLIENT, "asks", stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={"WORKLOAD_API": f"unix:{domain.agent_socket}", "ISSUER": plain.issuer,
                 "TLS_ISSUER": tls.issuer, "TLS_SERVER": server},
        )

    def ask(self, resource=ORDERS, **how):
        """One exchange (see tests/clients/go/asks.go), and what was told of it: never a token."""
        self.process.stdin.write(json.dumps({"resource": resource, **how}).encode() + b"\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        line = self.process.stdout.readline() if ready else b""
        if not line:
            raise Broken(f"the Go client said nothing within {PATIENCE} s; it ended with {self.process.poll()}")
        return json.loads(line)

    def granted(self, what, spiffe_id, resource=ORDERS, bound=False, **how):
        told = self.ask(resource, **how)
        check(what, told["granted"] and told["subject"] == spiffe_id and told["bound"] == bound, told)
        return told

    def refused(self, what, reason, **how):
        """Over HTTP and over gRPC; both say the same to the operator, and only gRPC says it to the caller too."""
        for door in ({}, {"grpc": True}):
            told = self.ask(**{**how, **door})
            heard = self.tls.reason(told["ref"]) if told.get("ref") else told.get("why")
            check(f"{what}: {'gRPC' if door else 'HTTP'}, {reason}",
                  not told["granted"] and heard == reason and told["error"] == (reason.upper() if door else ERRORS.get(reason, "invalid_client")),
                  (heard, told))

    def ends(self):
        children.remove(("client", self.process))
        self.process.stdin.close()
        return self.process.wait(10) == 0
