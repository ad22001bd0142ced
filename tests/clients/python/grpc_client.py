"""A client over gRPC: one access token, or a stream of them, with the token file that a workload has."""

import queue

import grpc
from countersign.v1 import token_service_pb2 as v1
from countersign.v1 import token_service_pb2_grpc as service
from google.protobuf.duration_pb2 import Duration

POD_TOKEN, JWT_SVID = "federated_jwt", "jwt_svid"


def stub(target):
    """On loopback without TLS; elsewhere it is `grpc.secure_channel`."""
    return service.TokenServiceStub(grpc.insecure_channel(target))


def request(resource, token_file, kind=POD_TOKEN, seconds=None):
    life = Duration(seconds=seconds) if seconds else None
    return v1.ExchangeRequest(resource=resource, max_lifetime=life, **{kind: read(token_file)})


def read(token_file):
    with open(token_file) as file:
        return file.read().strip()


class Tokens:
    """Iterates over the access tokens of one stream, and answers with the file whenever a fresh credential is needed."""

    def __init__(self, stub, resource, token_file, kind=POD_TOKEN, seconds=None, timeout=None):
        self.token_file, self.kind, self.sends = token_file, kind, queue.SimpleQueue()
        self.sends.put(v1.WatchRequest(exchange=request(resource, token_file, kind, seconds)))
        self.call = stub.Watch(iter(self.sends.get, None), timeout=timeout)

    def __iter__(self):
        for told in self.call:
            if told.WhichOneof("message") == "credential_needed":
                self.renew()
            else:
                yield told.token

    def renew(self):
        self.sends.put(v1.WatchRequest(fresh_credential=v1.FreshCredential(**{self.kind: read(self.token_file)})))

    def close(self):
        self.sends.put(None)
        self.call.cancel()
