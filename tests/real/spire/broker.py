"""countersign: the service, its commands, and exchanges with it."""

import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request

from harness import BINARY, all_alive, blot, check, run_once, start, wait_for

ORDERS = "https://orders.example"
VAULT = "https://vault.example"
JWT_SPIFFE = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"

opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def http(url, form=None):
    data = None if form is None else urllib.parse.urlencode(form).encode()
    try:
        with opener.open(url, data, timeout=10) as answer:
            return answer.status, answer.headers, answer.read(1 << 20)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read(1 << 20)


def surroundings(work):
    # Without the agent's address in its environment: the configuration alone has to do.
    return {name: value for name, value in os.environ.items() if name != "SPIFFE_ENDPOINT_SOCKET"} | {"TMPDIR": str(work)}


class Countersign:
    name = "countersign"

    def __init__(self, work, port, admin_port, real, partner):
        self.work = work
        self.issuer = f"http://127.0.0.1:{port}"
        self.admin = f"http://127.0.0.1:{admin_port}"
        self.folder = work / "countersign"
        self.folder.mkdir()
        self.config = self.folder / "countersign.yaml"
        # Both sources have their keys from the same socket: what the second's are, SPIRE says by federation.
        self.config.write_text(f"""\
issuer: {self.issuer}
identity_domain: id.example
listen: {{ address: {self.issuer.removeprefix("http://")} }}
admin: {{ address: {self.admin.removeprefix("http://")} }}
signing: {{ directory: ./keys }}
state: {{ directory: ./state }}
trust:
  - name: real
    spiffe: {{ trust_domain: {real.trust_domain}, workload_api: "unix:{real.agent_socket}", paths: ["/ns/{{namespace}}/sa/{{service_account}}"] }}
  - name: partner
    spiffe: {{ trust_domain: {partner.trust_domain}, workload_api: "unix:{real.agent_socket}", paths: ["/ns/{{namespace}}/sa/{{service_account}}"] }}
resources:
  - {{ name: orders, audience: {ORDERS}, scopes: [read, write], lifetime: 5m, owner: team-commerce }}
rules:
  - name: shop may use orders
    from: {{ source: real, path: /ns/shop/sa/api }}
    to: {{ resource: orders, scopes: [read] }}
  - name: the worker may use orders
    from: {{ source: real, path: /ns/shop/sa/worker }}
    to: {{ resource: orders, scopes: [read] }}
  - name: the partner's reports may use orders
    from: {{ source: partner, path: /ns/billing/sa/reports }}
    to: {{ resource: orders, scopes: [read] }}
  - name: the Go client may use orders
    from: {{ source: real, path: /ns/shop/sa/client }}
    to: {{ resource: orders, scopes: [read] }}
""")
        self.environment = surroundings(work)

    def start(self):
        start(self.name, self.work, BINARY, "serve", "--config", self.config, env=self.environment)
        wait_for(f"/readyz of {self.name}", 60, lambda: http(f"{self.admin}/readyz")[0] == 200)

    def exchange(self, svid, resource=ORDERS, scope="read"):
        status, headers, body = http(f"{self.issuer}/token", {
            "grant_type": "client_credentials",
            "client_assertion_type": JWT_SPIFFE,
            "client_assertion": svid,
            "resource": resource,
            "scope": scope,
        })
        try:
            answer = json.loads(body)
        except ValueError:
            answer = {"not JSON": blot(body.decode(errors="replace")[:200])}
        return status, headers, answer if isinstance(answer, dict) else {"no object": type(answer).__name__}

    # --- its commands --------------------------------------------------------------------

    def command(self, *command):
        """A command beside the service: its exit code, stdout and stderr."""
        return run_once(BINARY, *command, cwd=self.work, env=self.environment)

    def doctor(self, output="json"):
        return self.command("doctor", "--config", self.config, "-o", output)

    def status(self):
        """What `status` says over the operator socket, and its sources by name."""
        code, out, err = self.command("status", "-o", "json", "--state", self.folder / "state")
        if code not in (0, 1) or not out:
            raise ValueError(f"status ends with {code}: {err.strip()}")
        report = json.loads(out)
        return code, report, {source["name"]: source for source in report["sources"]}

    def explain(self, reference, output="text"):
        return self.command("explain", reference, "-o", output, "--state", self.folder / "state")

    def reason(self, reference):
        """Why a request was refused, as the operator hears it."""
        code, out, err = self.explain(reference, "json")
        return json.loads(out).get("reason") if code == 0 else f"explain ends with {code}: {err.strip()}"


class CountersignOverTls(Countersign):
    """A second one, with its own X.509-SVID as the server's certificate. Its source is the same agent; partner.example is one too."""

    name = "countersign-tls"

    def __init__(self, work, port, admin_port, real, partner):
        self.work = work
        self.issuer = f"https://127.0.0.1:{port}"
        self.admin = f"http://127.0.0.1:{admin_port}"
        self.folder = work / self.name
        self.folder.mkdir()
        self.config = self.folder / "countersign.yaml"
        self.config.write_text(f"""\
issuer: {self.issuer}
identity_domain: id.example
listen: {{ address: {self.issuer.removeprefix("https://")}, tls: {{ spiffe: real }} }}
admin: {{ address: {self.admin.removeprefix("http://")} }}
signing: {{ directory: ./keys }}
state: {{ directory: ./state }}
trust:
  - name: real
    spiffe: {{ trust_domain: {real.trust_domain}, workload_api: "unix:{real.agent_socket}", paths: ["/ns/{{namespace}}/sa/{{service_account}}"] }}
  - name: partner
    spiffe: {{ trust_domain: {partner.trust_domain}, workload_api: "unix:{real.agent_socket}", paths: ["/ns/{{namespace}}/sa/{{service_account}}"] }}
resources:
  - {{ name: orders, audience: {ORDERS}, scopes: [read], lifetime: 5m, owner: team-commerce }}
  - {{ name: vault, audience: {VAULT}, scopes: [read], lifetime: 5m, owner: team-commerce, require: bound }}
rules:
  - name: the Go client may use orders
    from: {{ source: real, path: /ns/shop/sa/client }}
    to: {{ resource: orders, scopes: [read] }}
  - name: the Go client may use the vault
    from: {{ source: real, path: /ns/shop/sa/client }}
    to: {{ resource: vault, scopes: [read] }}
""")
        self.environment = surroundings(work)


# --- single exchanges, checked -----------------------------------------------------------


def told(status, answer):
    """What an answer says, fit to be printed: never the token."""
    return status, {name: "<token>" if name == "access_token" else value for name, value in answer.items()}


def accepted(what, broker, svid, seconds=0):
    """Some checks allow the change in SPIRE a moment to arrive; the last answer counts."""
    deadline = time.monotonic() + seconds
    while True:
        status, headers, answer = broker.exchange(svid)
        if (status == 200 and answer.get("access_token")) or time.monotonic() > deadline:
            break
        all_alive()
        time.sleep(0.2)
    good = check(what, status == 200 and bool(answer.get("access_token")), told(status, answer))
    return (headers, answer) if good else None


def refused(what, broker, error, svid, seconds=0, status=400, **ask):
    """Gives the reference of the refusal."""
    deadline = time.monotonic() + seconds
    while True:
        got, _, answer = broker.exchange(svid, **ask)
        good = got == status and answer.get("error") == error and "access_token" not in answer
        if good or time.monotonic() > deadline:
            break
        all_alive()
        time.sleep(0.2)
    check(f"{what}: {status} {error}", good, told(got, answer))
    return answer.get("error_ref", "")
