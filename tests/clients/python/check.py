"""Shows that the client and the resource server beside this file work with countersign (AT-15, MD-01, MD-13, OID-01)."""

import contextlib
import os
import pathlib
import sys
import tempfile

import jwt
import requests
from authlib.integrations.base_client import OAuthError
from authlib.oauth2.rfc6750.errors import InsufficientScopeError, InvalidTokenError

import orders_client
import orders_server

ISSUER = os.environ["ISSUER"]
POD_TOKEN_FILE, JWT_SVID_FILE = os.environ["POD_TOKEN_FILE"], os.environ["JWT_SVID_FILE"]
ORDERS, LEGACY = "https://orders.example", "https://legacy.example"
IDENTITY = f"spiffe://id.example/k8s/{os.environ['CLUSTER_NAME']}/ns/shop/sa/api"
passed = failed = 0


def check(what, holds):
    global passed, failed
    print(("ok   " if holds else "FAIL ") + what)
    passed, failed = passed + bool(holds), failed + (not holds)


def raised(kind, call, *arguments, **named):
    with contextlib.suppress(kind):
        call(*arguments, **named)
        return False
    return True


def discovered(path):
    answer = requests.get(f"{ISSUER}/.well-known/{path}", timeout=10)
    answer.raise_for_status()
    return answer.json()


def changed(token):
    head, body, signature = token.split(".")
    return ".".join((head, body, ("B" if signature[0] == "A" else "A") + signature[1:]))


metadata = discovered("oauth-authorization-server")
check("RFC 8414 metadata is the issuer's", metadata["issuer"] == ISSUER)
check("the OpenID document says the same", discovered("openid-configuration").items() >= metadata.items())

client = orders_client.session(metadata, POD_TOKEN_FILE, ORDERS)
answer = client.fetch_token()
token = answer["access_token"]
check("Authlib gets a token with the pod's file as assertion", answer["token_type"] == "Bearer" and answer["expires_in"] > 60)
check("there is neither an ID token nor a refresh token", not {"id_token", "refresh_token"} & answer.keys())

orders = orders_server.Verifier(metadata, ORDERS)
claims = orders.verify(token)
check("PyJWT verifies it: at+jwt, ES256, issuer, audience, times", claims["sub"] == IDENTITY and claims["aud"] == ORDERS)
check("its scope is what the answer said", claims["scope"] == answer["scope"] == "read write")
check("a changed signature is refused", raised(jwt.InvalidSignatureError, orders.verify, changed(token)))
invoices = orders_server.Verifier(metadata, "https://invoices.example")
check("a resource server with another audience refuses it", raised(jwt.InvalidAudienceError, invoices.verify, token))
other = orders_server.Verifier({**metadata, "issuer": "https://id.example"}, ORDERS)
check("a resource server of another issuer refuses it", raised(jwt.InvalidIssuerError, other.verify, token))

validator = orders_server.AuthlibValidator(metadata, ORDERS)
caller = validator.authenticate_token(token)
validator.validate_token(caller, ["read"], None)
check("Authlib's RFC 9068 validator takes it", caller["sub"] == IDENTITY)
check("and refuses a changed signature", raised(InvalidTokenError, validator.authenticate_token, changed(token)))
check("and a scope that was not granted", raised(InsufficientScopeError, validator.validate_token, caller, ["admin"], None))
others = orders_server.AuthlibValidator(metadata, "https://invoices.example")
check("and another audience", raised(InvalidTokenError, others.validate_token, others.authenticate_token(token), ["read"], None))

spiffe = orders_client.session(metadata, JWT_SVID_FILE, ORDERS, orders_client.JWT_SPIFFE)
claims_of_svid = orders.verify(spiffe.fetch_token()["access_token"])
check("Authlib gets a token with a JWT-SVID", claims_of_svid["sub"] == "spiffe://prod.example/ns/shop/sa/api")
wrong = orders_client.session(metadata, JWT_SVID_FILE, ORDERS, orders_client.JWT_BEARER)
check("a JWT-SVID that is sent as jwt-bearer is refused", raised(OAuthError, wrong.fetch_token))

old = orders_client.session(metadata, POD_TOKEN_FILE, LEGACY).fetch_token()["access_token"]
legacy = orders_server.Verifier(metadata, LEGACY)
check("the resource for older verifiers: JWT, RS256", legacy.verify(old, "JWT", "RS256")["sub"] == IDENTITY)
check("a verifier that wants at+jwt refuses that", raised(jwt.InvalidTokenError, legacy.verify, old, "at+jwt", "RS256"))

# Authlib's own renewal: the access token is taken to be at its end, and a call to a resource server asks for a new one.
client.token = {**answer, "expires_at": 1}
client.get(f"{ISSUER}/.well-known/openid-configuration", timeout=10)
renewed = client.token["access_token"]
check("Authlib renews it by itself", renewed != token and orders.verify(renewed)["jti"] != claims["jti"])

with tempfile.TemporaryDirectory() as directory:
    file = pathlib.Path(directory, "token")
    file.write_text(changed(pathlib.Path(POD_TOKEN_FILE).read_text()))
    client = orders_client.session(metadata, file, ORDERS)
    try:
        client.fetch_token()
        check("a refusal is Authlib's OAuthError", False)
    except OAuthError as refused:
        check("a refusal is Authlib's OAuthError, with reference", refused.error == "invalid_client" and " ref " in refused.description)
    file.write_text(pathlib.Path(POD_TOKEN_FILE).read_text())
    check("the file is read again: the same session then succeeds", client.fetch_token()["access_token"])

print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
