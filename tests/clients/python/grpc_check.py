"""Shows that the client over gRPC beside this file works with countersign (GRP-01, GRP-02, GRP-05)."""

import os
import pathlib
import sys
import time
import urllib.parse

import grpc
import requests
from google.rpc import error_details_pb2
from grpc_status import rpc_status

import grpc_client
import orders_server

ISSUER = os.environ["ISSUER"]
POD_TOKEN_FILE, JWT_SVID_FILE = os.environ["POD_TOKEN_FILE"], os.environ["JWT_SVID_FILE"]
CONFIG = pathlib.Path(os.environ["COUNTERSIGN_CONFIG"])
ORDERS = "https://orders.example"
POD = f"spiffe://id.example/k8s/{os.environ['CLUSTER_NAME']}/ns/shop/sa/api"
SVID = "spiffe://prod.example/ns/shop/sa/api"
RULE = "from: { source: prod, namespace: shop, service_account: api }\n    to: { resource: orders, scopes: [read] }"
TEST = "  - { as: spiffe://prod.example/ns/shop/sa/api, for: orders, expect: allow }\n"
LIMIT = 30  # seconds for each call
passed = failed = 0


def check(what, holds):
    global passed, failed
    print(("ok   " if holds else "FAIL ") + what)
    passed, failed = passed + bool(holds), failed + (not holds)


def refused(call, *arguments, **named):
    """The code and the reason of what is refused, and whether it has a reference and no token."""
    try:
        call(*arguments, **named)
    except grpc.RpcError as error:
        info = error_details_pb2.ErrorInfo()
        found = any(each.Unpack(info) for each in rpc_status.from_call(error).details)
        told = info.domain == "countersign" and f" ref {info.metadata['ref']}" in error.details()
        whole = found and told and "eyJ" not in str(error)
        return error.code(), info.reason, whole
    return None


def changed(token):
    head, body, signature = token.split(".")
    return ".".join((head, body, ("B" if signature[0] == "A" else "A") + signature[1:]))


stub = grpc_client.stub(urllib.parse.urlsplit(ISSUER).netloc)
metadata = requests.get(f"{ISSUER}/.well-known/oauth-authorization-server", timeout=LIMIT).json()
orders = orders_server.Verifier(metadata, ORDERS)

answer = stub.Exchange(grpc_client.request(ORDERS, POD_TOKEN_FILE), timeout=LIMIT)
claims = orders.verify(answer.access_token)
check("grpcio gets a token with the pod's file, PyJWT verifies it", claims["sub"] == POD and answer.token_type == "Bearer")
check("its scopes and times are what the answer said", claims["scope"].split() == list(answer.scopes) == ["read", "write"])
in_time = 60 < answer.refresh_in.seconds < answer.expires_in.seconds
check("it says when it ends and when to come back", answer.expires_at.seconds == claims["exp"] and in_time)

asks = grpc_client.request(ORDERS, JWT_SVID_FILE, grpc_client.JWT_SVID)
check("and with a JWT-SVID", orders.verify(stub.Exchange(asks, timeout=LIMIT).access_token)["sub"] == SVID)
bearer = [("authorization", f"Bearer {asks.jwt_svid}")]
asks.ClearField("jwt_svid")
answer = stub.Exchange(asks, metadata=bearer, timeout=LIMIT)
check("and with a JWT-SVID in the metadata", orders.verify(answer.access_token)["sub"] == SVID)
both = refused(stub.Exchange, grpc_client.request(ORDERS, POD_TOKEN_FILE), metadata=bearer, timeout=LIMIT)
check("two credentials are refused", both == (grpc.StatusCode.INVALID_ARGUMENT, "CREDENTIAL_AMBIGUOUS", True))
asks = grpc_client.request(ORDERS, POD_TOKEN_FILE, seconds=10)
check("a shorter life is given", stub.Exchange(asks, timeout=LIMIT).expires_in.seconds == 10)

asks.federated_jwt = changed(asks.federated_jwt)
code, reason, whole = refused(stub.Exchange, asks, timeout=LIMIT)
check("a changed signature is UNAUTHENTICATED, with ErrorInfo and reference", code == grpc.StatusCode.UNAUTHENTICATED and reason and whole)
asks = grpc_client.request("https://invoices.example", POD_TOKEN_FILE)
check("an unknown resource is refused", refused(stub.Exchange, asks, timeout=LIMIT)[2])

stream = grpc_client.Tokens(stub, ORDERS, POD_TOKEN_FILE, seconds=5, timeout=LIMIT)
tokens = iter(stream)
began, first = time.monotonic(), next(tokens)
check("Watch gives a token at once", orders.verify(first.access_token)["sub"] == POD)
second = next(tokens)
took = time.monotonic() - began
another = second.access_token != first.access_token and orders.verify(second.access_token)["sub"] == POD
check("and the next before that one ends", another and 2 < took < 5)
stream.close()

stream = grpc_client.Tokens(stub, ORDERS, JWT_SVID_FILE, grpc_client.JWT_SVID, timeout=LIMIT)
tokens = iter(stream)
first = orders.verify(next(tokens).access_token)
stream.renew()
second = orders.verify(next(tokens).access_token)
check("a fresh credential of the same identity gives another token", second["jti"] != first["jti"] and second["sub"] == SVID)
stream.kind, stream.token_file = grpc_client.POD_TOKEN, POD_TOKEN_FILE
stream.renew()
other = refused(next, tokens)
check("one of another identity ends the stream", other == (grpc.StatusCode.UNAUTHENTICATED, "CLIENT_ID_MISMATCH", True))

stream = grpc_client.Tokens(stub, ORDERS, JWT_SVID_FILE, grpc_client.JWT_SVID, timeout=LIMIT)
tokens = iter(stream)
next(tokens)
text = CONFIG.read_text()
check("the rule and its test are there", text.count(RULE) == text.count(TEST) == 1)
fresh = CONFIG.with_suffix(".fresh")
fresh.write_text(text.replace(RULE, RULE.replace("shop", "nowhere")).replace(TEST, ""))
fresh.replace(CONFIG)
ended = refused(next, tokens)
check("a rule that is taken away ends the stream with the reason", ended == (grpc.StatusCode.PERMISSION_DENIED, "NOT_GRANTED", True))

print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
