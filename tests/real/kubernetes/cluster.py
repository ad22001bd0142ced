"""A real kube-apiserver with RBAC and without anonymous callers, its etcd, and what is asked of it. No kubelet and no controllers."""

import datetime
import http.client
import ipaddress
import json
import re
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from paths import API_SERVER, ETCD
from harness import Broken, end, start, wait_for

# The default of countless clusters, and of both here: it tells nobody which one (K8S-09).
ISSUER = "https://kubernetes.default.svc.cluster.local"
# Another audience of the API server itself: only for its own audiences it stretches tokens to a year (K8S-07).
STRETCHED = "https://stretched.example"
# Asked for exactly so many seconds, it gives a year and writes these down as `warnafter`.
STRETCHING_SECONDS = 3607

PATHS = {
    "Namespace": "/api/v1/namespaces",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
}


class Answered(OSError):
    """The API server answered with an error."""

    def __init__(self, status, text):
        super().__init__(f"the API server answers {status}: {text[:300]}")
        self.status = status


def pem_of_key(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class Authority:
    """The certificate authority of a cluster, for its server and for its administrator."""

    def __init__(self, folder):
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{folder.name}-ca")])
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        self.file = self.write("ca", self.certificate(self.name, self.key, [(constraints, True)]), None)

    def certificate(self, subject, key, extensions):
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5)).not_valid_after(now + datetime.timedelta(days=1))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.key, hashes.SHA256())

    def write(self, name, certificate, key):
        (self.folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        if key:
            (self.folder / f"{name}.key").write_bytes(pem_of_key(key))
        return self.folder / f"{name}.crt"

    def issue(self, name, attributes, usage, more=()):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(kind, value) for kind, value in attributes])
        use = (x509.ExtendedKeyUsage([usage]), False)
        self.write(name, self.certificate(subject, key, [use, *more]), key)


class Cluster:
    def __init__(self, work, name, ports):
        self.work, self.name = work, name
        self.etcd_port, self.peer_port, self.port = ports
        self.url = f"https://127.0.0.1:{self.port}"
        self.folder = work / name
        self.folder.mkdir()
        authority = Authority(self.folder)
        self.ca = authority.file
        names = x509.SubjectAlternativeName(
            [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("kubernetes.default.svc")]
        )
        authority.issue("server", [(NameOID.COMMON_NAME, "kube-apiserver")], ExtendedKeyUsageOID.SERVER_AUTH, [(names, False)])
        admin = [(NameOID.ORGANIZATION_NAME, "system:masters"), (NameOID.COMMON_NAME, "admin")]
        authority.issue("admin", admin, ExtendedKeyUsageOID.CLIENT_AUTH)
        self.tls = ssl.create_default_context(cafile=self.ca)
        self.admin_tls = ssl.create_default_context(cafile=self.ca)
        self.admin_tls.load_cert_chain(self.folder / "admin.crt", self.folder / "admin.key")

    # --- its processes -------------------------------------------------------------------

    def make_key(self, name, algorithm):
        """A key for service-account tokens: RS256 or ES256."""
        key = rsa.generate_private_key(65537, 2048) if algorithm == "RS256" else ec.generate_private_key(ec.SECP256R1())
        (self.folder / f"{name}.key").write_bytes(pem_of_key(key))
        (self.folder / f"{name}.pub").write_bytes(
            key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )

    def start_etcd(self):
        client, peer = f"http://127.0.0.1:{self.etcd_port}", f"http://127.0.0.1:{self.peer_port}"
        start(
            f"{self.name}-etcd", self.work, ETCD, "--name", self.name, "--data-dir", self.folder / "etcd",
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"{self.name}={peer}",
        )

    def start(self, signs, *verify):
        """Starts the API server: the key that signs, and further ones that are published and still verify."""
        start(
            f"{self.name}-apiserver", self.work, API_SERVER,
            f"--etcd-servers=http://127.0.0.1:{self.etcd_port}",
            "--bind-address=127.0.0.1", f"--secure-port={self.port}", "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",  # a loopback address is none that pods could have
            "--service-cluster-ip-range=10.96.0.0/24",
            f"--cert-dir={self.folder}", f"--tls-cert-file={self.folder}/server.crt",
            f"--tls-private-key-file={self.folder}/server.key", f"--client-ca-file={self.ca}",
            "--authorization-mode=RBAC", "--anonymous-auth=false",
            f"--service-account-issuer={ISSUER}", f"--api-audiences={ISSUER},{STRETCHED}",
            f"--service-account-signing-key-file={self.folder}/{signs}.key",
            *(f"--service-account-key-file={self.folder}/{name}.pub" for name in (signs, *verify)),
        )
        wait_for(f"{self.name}'s kube-apiserver", 180, lambda: self.call("GET", "/readyz", parse=False) == "ok")

    def stop(self):
        # It may take its time over open connections; what it answered counts.
        end(f"{self.name}-apiserver")

    def restart(self, signs, *verify):
        self.stop()
        self.start(signs, *verify)

    # --- questions -----------------------------------------------------------------------

    def call(self, method, path, body=None, kind="application/json", token=None, parse=True):
        """As its administrator, or with a bearer token; `Answered` for an error."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=15, context=self.tls if token is not None else self.admin_tls)
        # For the key set it has no application/json, and says 406.
        headers = {"accept": "application/json, */*", "content-type": kind}
        if token:
            headers["authorization"] = f"Bearer {token}"
        try:
            data = json.dumps(body) if isinstance(body, dict) else body
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            text = answer.read(1 << 22).decode()
        finally:
            connection.close()
        if answer.status >= 300:
            raise Answered(answer.status, text)
        return json.loads(text) if parse else text

    def apply(self, manifest, *leave_out):
        """Creates what a file of deploy/kubernetes holds, as it stands; its kinds."""
        kinds = []
        for document in re.split(r"^---$", manifest.read_text(), flags=re.MULTILINE):
            kind = re.search(r"^kind: (\w+)$", document, re.MULTILINE)
            if not kind or kind[1] in leave_out:
                continue
            namespace = re.search(r"^(?:metadata:.*\bnamespace: |  namespace: )([\w-]+)", document, re.MULTILINE)
            path = PATHS[kind[1]].format(namespace[1] if namespace else "")
            self.call("POST", path, document, "application/yaml")
            kinds.append(kind[1])
        return kinds

    def namespace(self, name):
        self.call("POST", PATHS["Namespace"], {"metadata": {"name": name}})

    def account(self, namespace, name):
        self.call("POST", PATHS["ServiceAccount"].format(namespace), {"metadata": {"name": name}})

    def delete_account(self, namespace, name):
        self.call("DELETE", f"{PATHS['ServiceAccount'].format(namespace)}/{name}")

    def node(self, name):
        self.call("POST", "/api/v1/nodes", {"metadata": {"name": name}})

    def pod(self, namespace, name, account, node=None):
        """Nobody runs it: the API server gives tokens for what it has in its store."""
        spec = {"serviceAccountName": account, "containers": [{"name": "main", "image": "registry.example/none"}]}
        if node:
            spec["nodeName"] = node
        self.call("POST", f"/api/v1/namespaces/{namespace}/pods", {"metadata": {"name": name}, "spec": spec})

    def delete_pod(self, namespace, name, grace):
        self.call("DELETE", f"/api/v1/namespaces/{namespace}/pods/{name}", {
            "kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": grace,
        })

    def token(self, namespace, account, audience=None, pod=None, seconds=3600):
        """TokenRequest (K8S-20). Without an audience it is for the API server."""
        spec = {"audiences": [audience] if isinstance(audience, str) else audience or [], "expirationSeconds": seconds}
        if pod:
            spec["boundObjectRef"] = {"kind": "Pod", "apiVersion": "v1", "name": pod}
        path = f"{PATHS['ServiceAccount'].format(namespace)}/{account}/token"
        answer = self.call("POST", path, {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": spec})
        return answer["status"]["token"]

    def write_token(self, file, *arguments, **more):
        """As the kubelet does: a whole file takes the place of the old one."""
        beside = file.with_suffix(".new")
        beside.write_text(self.token(*arguments, **more))
        beside.replace(file)

    def discovery(self):
        return self.call("GET", "/.well-known/openid-configuration")

    def jwks(self):
        return self.call("GET", "/openid/v1/jwks")

    def key_ids(self):
        return [key["kid"] for key in self.jwks()["keys"]]

    def review(self, token, *audiences):
        """What it says to a TokenReview."""
        answer = self.call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {
            "kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "spec": {"token": token, "audiences": audiences},
        })
        return answer["status"]

    def refuses(self, path, token):
        """The status with which it refuses a GET."""
        try:
            self.call("GET", path, token=token, parse=False)
        except Answered as error:
            return error.status
        raise Broken(f"{self.name} answers {path}")
