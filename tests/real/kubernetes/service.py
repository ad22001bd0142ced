"""countersign with two clusters as its sources, and exchanges with it."""

import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request

import jwt
from paths import BINARY
from cluster import ISSUER, STRETCHED
from harness import all_alive, blot, check, end, run_once, start, wait_for

ORDERS = "https://orders.example"
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def http(url, data=None, method=None, headers=None):
    request = urllib.request.Request(url, data, headers or {}, method=method)
    try:
        with opener.open(request, timeout=10) as answer:
            return answer.status, answer.read(1 << 20)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(1 << 20)


def parsed(body):
    try:
        answer = json.loads(body) if body else {}
    except ValueError:
        answer = {"not JSON": blot(body.decode(errors="replace")[:200])}
    return answer if isinstance(answer, dict) else {"no object": type(answer).__name__}


def told(status, answer):
    """What an answer says, fit to be printed: never the token."""
    return status, {name: "<token>" if name == "access_token" else value for name, value in answer.items()}


class Service:
    def __init__(self, work, port, admin_port):
        self.work = work
        self.issuer = f"http://127.0.0.1:{port}"
        self.admin = f"http://127.0.0.1:{admin_port}"
        self.folder = work / "countersign"
        self.folder.mkdir()
        self.config = self.folder / "countersign.yaml"
        self.environment = {**os.environ, "TMPDIR": str(work)}

    def configure(self, **sources):
        """Writes the configuration; the value of each source is what stands beside its issuer."""
        trust = "".join(
            f"  - name: {name}\n    groups: [fleet]\n    audiences: [\"{self.issuer}\", {STRETCHED}]\n"
            f"    kubernetes: {{ issuers: [{ISSUER}], {more} }}\n"
            for name, more in sources.items()
        )
        self.config.write_text(f"""\
issuer: {self.issuer}
identity_domain: id.example
listen: {{ address: {self.issuer.removeprefix("http://")} }}
admin: {{ address: {self.admin.removeprefix("http://")} }}
signing: {{ directory: ./keys }}
state: {{ directory: ./state }}
trust:
{trust}resources:
  - name: orders
    audience: {ORDERS}
    scopes: [read, write]
    lifetime: 5m
    owner: team-commerce
    served_by: {{ source: eu1, namespace: shop, service_account: orders }}
rules:
  - name: the shop may use orders
    from: {{ group: fleet, namespace: shop, service_account: api }}
    to: {{ resource: orders, scopes: [read] }}
  - name: the batch may use orders from one node
    from: {{ source: eu1, namespace: shop, service_account: batch, node: node-1 }}
    to: {{ resource: orders, scopes: [read] }}
""")

    def start(self):
        start("countersign", self.work, BINARY, "serve", "--config", self.config, env=self.environment)
        wait_for("countersign's /readyz", 60, lambda: http(f"{self.admin}/readyz")[0] == 200)

    def stop(self):
        return end("countersign")

    def form(self, path, **fields):
        status, body = http(f"{self.issuer}{path}", urllib.parse.urlencode(fields).encode())
        return status, parsed(body)

    def exchange(self, token):
        return self.form(
            "/token", grant_type="client_credentials", client_assertion_type=JWT_BEARER, client_assertion=token,
            resource=ORDERS, scope="read",
        )

    def introspect(self, token, own):
        return self.form("/introspect", client_assertion_type=JWT_BEARER, client_assertion=own, token=token)

    def push(self, source, token, keys):
        """PUT of a key set, as `countersign feed` does it."""
        status, body = http(
            f"{self.issuer}/sources/{source}/keys", json.dumps(keys).encode(), "PUT",
            {"authorization": f"Bearer {token}", "content-type": "application/jwk-set+json"},
        )
        return status, parsed(body)

    # --- its commands --------------------------------------------------------------------

    def doctor(self):
        code, out, err = run_once(BINARY, "doctor", "--config", self.config, "-o", "json", cwd=self.work, env=self.environment)
        return code, out + err

    def source(self, name):
        """What `status` says of a source."""
        code, out, err = run_once(BINARY, "status", "-o", "json", "--state", self.folder / "state", cwd=self.work, env=self.environment)
        if code not in (0, 1) or not out:
            raise ValueError(f"status ends with {code}: {err.strip()}")
        return next(source for source in json.loads(out)["sources"] if source["name"] == name)

    def reason(self, reference):
        """Why a request was refused, as the operator hears it."""
        code, out, err = run_once(
            BINARY, "explain", reference, "-o", "json", "--state", self.folder / "state", cwd=self.work, env=self.environment
        )
        return json.loads(out).get("reason") if code == 0 else f"explain ends with {code}: {err.strip()}"

    # --- single exchanges, checked -------------------------------------------------------

    def until(self, good, seconds, ask):
        """Some checks allow a change a moment to arrive; the last answer counts."""
        deadline = time.monotonic() + seconds
        while True:
            status, answer = ask()
            if good(status, answer) or time.monotonic() > deadline:
                return status, answer
            all_alive()
            time.sleep(0.2)

    def granted(self, what, token, seconds=0):
        """Gives the access token and its claims, which nobody verifies here."""
        def good(status, answer):
            return status == 200 and bool(answer.get("access_token"))

        status, answer = self.until(good, seconds, lambda: self.exchange(token))
        if not check(what, good(status, answer), told(status, answer)):
            return None, {}
        ours = answer["access_token"]
        return ours, jwt.decode(ours, options={"verify_signature": False})

    def refused(self, what, reason, token, seconds=0, status=400):
        """Refused with that status, and for that reason as the operator reads it."""
        def good(got, answer):
            return got == status and "access_token" not in answer and self.reason(answer.get("error_ref", "")) == reason

        got, answer = self.until(good, seconds, lambda: self.exchange(token))
        said = self.reason(answer.get("error_ref", "")) if "error_ref" in answer else None
        check(f"{what}: {status}, {reason}", good(got, answer), (told(got, answer), said))
