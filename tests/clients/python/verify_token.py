#!/usr/bin/env python3
"""A resource server in Python: discovers countersign, fetches its keys and verifies a token with stock PyJWT.

COUNTERSIGN_BIN names the binary (default: target/debug/countersign). Run it with the Python of tests/install/python.
Exit code 0: every check passed. Never prints a token; everything countersign wrote goes to target/test-output,
where tests/search-output looks for tokens.
"""

import json
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path

import jwt

PROJECT = Path(__file__).resolve().parents[3]
BINARY = Path(os.environ.get("COUNTERSIGN_BIN") or PROJECT / "target/debug/countersign").absolute()
OUTPUT = PROJECT / "target/test-output"
ORDERS = "https://orders.example"
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
SECONDS = 60  # for every wait

passed, failed = 0, 0


def check(what, good, seen=""):
    """One line a check. `seen` is shown when it fails; it never holds a token."""
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    print(f"ok   {what}" if good else f"FAIL {what}: {seen}", flush=True)


def refuses(what, error, call):
    try:
        call()
    except error as why:
        check(what, True, why)
    except jwt.PyJWTError as why:
        check(what, False, f"{type(why).__name__} instead of {error.__name__}")
    else:
        check(what, False, "PyJWT took it")


def secret(text):
    with open(OUTPUT / "secrets.txt", "a") as out:
        out.write(text.strip().rsplit(".", 1)[-1] + "\n")


def read(url, ca=None, headers={}, data=None):
    # Everything is on loopback: a proxy in the environment must not see it.
    handlers = [urllib.request.ProxyHandler({})]
    if ca:
        handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca)))
    request = urllib.request.Request(url, data, headers)
    with urllib.request.build_opener(*handlers).open(request, timeout=SECONDS) as answer:
        return json.loads(answer.read(1 << 20))


def pod_token(up):
    """The pod's projected token, as the kubelet asks for it."""
    cluster = up["clusters"][0]
    admin = Path(cluster["admin_token_file"]).read_text().strip()
    secret(admin)
    spec = {"audiences": [up["issuer"]], "expirationSeconds": 3600}
    answer = read(
        f"{cluster['url']}/api/v1/namespaces/shop/serviceaccounts/api/token",
        ca=cluster["ca_file"],
        headers={"Authorization": f"Bearer {admin}", "Content-Type": "application/json"},
        data=json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}).encode(),
    )
    secret(answer["status"]["token"])
    return answer["status"]["token"]


def changed_signature(token):
    # Not the last character: its low bits may mean nothing.
    body, signature = token.rsplit(".", 1)
    return f"{body}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


def run(up):
    issuer = up["issuer"]
    check("up names the issuer, the configuration, the socket, the admin address and two clusters",
          {"issuer", "config", "workload_api", "clusters", "admin"} <= up.keys() and len(up["clusters"]) == 2, list(up))
    answer = read(f"{issuer}/token", data=urllib.parse.urlencode({
        "grant_type": "client_credentials",
        "client_assertion_type": JWT_BEARER,
        "client_assertion": pod_token(up),
        "resource": ORDERS,
    }).encode())
    token = answer["access_token"]
    secret(token)
    check("the pod's token is exchanged for a Bearer token", answer["token_type"] == "Bearer", answer["token_type"])

    metadata = read(f"{issuer}/.well-known/openid-configuration")
    check("the discovery document names the issuer, byte for byte", metadata["issuer"] == issuer, metadata["issuer"])
    algorithms = metadata["id_token_signing_alg_values_supported"]
    check("it names the algorithms of tokens", "ES256" in algorithms and "none" not in algorithms, algorithms)

    keys = jwt.PyJWKClient(metadata["jwks_uri"])
    key = keys.get_signing_key_from_jwt(token).key
    require = ["iss", "sub", "aud", "exp", "iat", "nbf", "jti"]

    def verify(shown, audience=ORDERS, by=issuer):
        return jwt.decode(shown, key, algorithms=algorithms, audience=audience, issuer=by, options={"require": require})

    claims = verify(token)
    check("PyJWT verifies signature, audience, issuer and times", True)
    identity = f"spiffe://id.example/k8s/{up['clusters'][0]['name']}/ns/shop/sa/api"
    check("the token's sub is the pod's identity", claims["sub"] == identity, claims["sub"])
    check("its typ is at+jwt", jwt.get_unverified_header(token)["typ"] == "at+jwt")
    check("expires_in agrees with exp", claims["exp"] - claims["iat"] == answer["expires_in"], answer["expires_in"])
    refuses("a changed signature is refused", jwt.InvalidSignatureError, lambda: verify(changed_signature(token)))
    refuses("another audience is refused", jwt.InvalidAudienceError, lambda: verify(token, audience="https://other.example"))
    refuses("another issuer is refused", jwt.InvalidIssuerError, lambda: verify(token, by="https://other.example"))


def main():
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        os.environ.pop(name, None)
        os.environ.pop(name.upper(), None)
    with tempfile.TemporaryDirectory(prefix="cs-python-") as work, open(OUTPUT / "python-up.txt", "a") as log:
        process = subprocess.Popen(
            [BINARY, "up", "-o", "json", "--directory", f"{work}/up", "--listen", "127.0.0.1:0"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True,
            env={**os.environ, "COUNTERSIGN_LOG": "trace"},
        )
        # A server that says nothing must not hold the test for ever.
        signal.signal(signal.SIGALRM, lambda *_: process.kill())
        signal.alarm(SECONDS)
        try:
            first = process.stdout.readline()
            signal.alarm(0)
            log.write(first)
            run(json.loads(first))
        except Exception as error:  # noqa: BLE001
            check("the test runs to its end", False, type(error).__name__ if isinstance(error, jwt.PyJWTError) else repr(error))
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                check("up ends with code 0 on SIGTERM", process.wait(SECONDS) == 0, process.returncode)
            except subprocess.TimeoutExpired:
                process.kill()
                check("up ends on SIGTERM", False, f"not within {SECONDS} s")
            log.write(process.stdout.read())
            records = Path(work, "up/records.jsonl")
            if records.exists():
                log.write(records.read_text())
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
