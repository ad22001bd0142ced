"""One trust domain: a SPIRE server, and an agent that workloads on this machine ask."""

import json
import os
import subprocess
import tempfile
from base64 import urlsafe_b64decode
from pathlib import Path

from harness import AGENT, SERVER, Broken, end, run_once, secrets, start, wait_for

# Long enough for an outage of two minutes, and short enough that the agent wants to renew what it has within it (at half of it).
SVID_LIFE = 180


def selectors(binary):
    """All callers run as one user: their binaries tell them apart."""
    return "-selector", f"unix:uid:{os.getuid()}", "-selector", f"unix:path:{binary.resolve()}"


class Domain:
    def __init__(self, work, name, trust_domain, port, bundle_port=None):
        self.work, self.name, self.trust_domain = work, name, trust_domain
        self.port, self.bundle_port = port, bundle_port
        self.node = f"spiffe://{trust_domain}/node"
        self.server_socket = work / f"{name}-server.sock"
        self.agent_socket = work / f"{name}-agent.sock"
        for path in (self.server_socket, self.agent_socket):
            if len(os.fsencode(path)) > 100:  # the kernel takes 107 bytes
                raise Broken(f"the socket path {path} is too long: set TMPDIR to a shorter directory")

    # --- processes -----------------------------------------------------------------------

    def start_server(self):
        folder = self.work / f"{self.name}-server"
        folder.mkdir(exist_ok=True)
        endpoint = "" if self.bundle_port is None else (
            "federation { bundle_endpoint { "
            f'address = "127.0.0.1" port = {self.bundle_port} profile "https_spiffe" {{}} }} }}'
        )
        config = self.work / f"{self.name}-server.conf"
        # Keys on disk: a server that comes back is the same one.
        config.write_text(f"""
server {{
  bind_address = "127.0.0.1"
  bind_port = "{self.port}"
  socket_path = "{self.server_socket}"
  trust_domain = "{self.trust_domain}"
  data_dir = "{folder}"
  log_level = "INFO"
  default_jwt_svid_ttl = "{SVID_LIFE}s"
  {endpoint}
}}
plugins {{
  DataStore "sql" {{ plugin_data {{ database_type = "sqlite3" connection_string = "{folder}/datastore.sqlite3" }} }}
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  KeyManager "disk" {{ plugin_data {{ keys_path = "{folder}/keys.json" }} }}
}}
""")
        start(f"{self.name}-server", self.work, SERVER, "run", "-config", config)
        wait_for(f"{self.name}-server's health check", 60, lambda: self.server("healthcheck"))

    def stop_server(self):
        return end(f"{self.name}-server")

    def start_agent(self):
        config = self.work / f"{self.name}-agent.conf"
        if not config.exists():
            folder = self.work / f"{self.name}-agent"
            folder.mkdir()
            token = json.loads(self.server("token", "generate", "-spiffeID", self.node, "-output", "json"))["value"]
            secrets.append(token)
            config.touch(mode=0o600)
            # Keys on disk: the join token is good for one attestation.
            config.write_text(f"""
agent {{
  server_address = "127.0.0.1"
  server_port = "{self.port}"
  socket_path = "{self.agent_socket}"
  trust_domain = "{self.trust_domain}"
  data_dir = "{folder}"
  log_level = "INFO"
  insecure_bootstrap = true
  join_token = "{token}"
}}
plugins {{
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  KeyManager "disk" {{ plugin_data {{ directory = "{folder}" }} }}
  WorkloadAttestor "unix" {{ plugin_data {{ discover_workload_path = true workload_size_limit = -1 }} }}
}}
""")
        start(f"{self.name}-agent", self.work, AGENT, "run", "-config", config)
        wait_for(f"{self.name}-agent's health check", 60, lambda: self.at_agent("healthcheck"))

    def stop_agent(self):
        return end(f"{self.name}-agent")

    # --- the server's commands -----------------------------------------------------------

    def ask(self, binary, socket_path, *command):
        code, out, err = run_once(binary, *command, "-socketPath", socket_path)
        if code != 0:
            raise subprocess.SubprocessError(f"{' '.join(map(str, command[:2]))}: {(err or out).strip()}")
        return out

    def server(self, *command):
        return self.ask(SERVER, self.server_socket, *command)

    def at_agent(self, *command):
        return self.ask(AGENT, self.agent_socket, *command)

    def register(self, spiffe_id, binary):
        """An entry for the processes of one binary that run as this user; its ID."""
        made = self.server(
            "entry", "create", "-parentID", self.node, "-spiffeID", spiffe_id, "-output", "json",
            *selectors(binary),
        )
        return json.loads(made)["results"][0]["entry"]["id"]

    def update(self, entry, spiffe_id, binary, federates_with=()):
        """Says anew what an entry is; what it federates with is exactly this."""
        self.server(
            "entry", "update", "-entryID", entry, "-parentID", self.node, "-spiffeID", spiffe_id,
            *selectors(binary),
            *(part for other in federates_with for part in ("-federatesWith", f"spiffe://{other.trust_domain}")),
        )

    def authority(self, verb, *arguments, kind="jwt"):
        return json.loads(self.server("localauthority", kind, verb, "-output", "json", *arguments))

    def prepare(self, kind="jwt"):
        return self.authority("prepare", kind=kind)["prepared_authority"]["authority_id"]

    def bundle_file(self):
        """Its bundle as a SPIFFE document, as one hands it to a partner."""
        path = self.work / f"{self.name}-bundle.json"
        path.write_text(self.server("bundle", "show", "-format", "spiffe"))
        return path

    def federate(self, other):
        """Looks for the other's bundle at its endpoint from now on (https_spiffe)."""
        self.server(
            "federation", "create", "-trustDomain", other.trust_domain,
            "-bundleEndpointURL", f"https://127.0.0.1:{other.bundle_port}", "-bundleEndpointProfile", "https_spiffe",
            "-endpointSpiffeID", f"spiffe://{other.trust_domain}/spire/server",
            "-trustDomainBundlePath", other.bundle_file(), "-trustDomainBundleFormat", "spiffe",
        )

    # --- what workloads get --------------------------------------------------------------

    def ask_agent(self, spiffe_id, audience):
        answers = json.loads(self.at_agent(
            "api", "fetch", "jwt", "-audience", audience, "-spiffeID", spiffe_id, "-output", "json",
        ))
        svids = [svid for answer in answers for svid in answer.get("svids", [])]
        if [svid["spiffe_id"] for svid in svids] != [spiffe_id]:
            raise ValueError(f"the agent gave {[svid['spiffe_id'] for svid in svids]}")
        return svids[0]["svid"], next(answer["bundles"] for answer in answers if "bundles" in answer)

    def fetch(self, spiffe_id, audience):
        """A JWT-SVID and the agent's keys for the trust domain, as a workload gets them."""
        svid, bundles = self.ask_agent(spiffe_id, audience)
        keys = bundles[f"spiffe://{self.trust_domain}"]
        keys = json.loads(urlsafe_b64decode(keys.translate(str.maketrans("+/", "-_"))))["keys"]
        return svid, {key["kid"]: key for key in keys}

    def known_domains(self, spiffe_id):
        """The trust domains whose keys the agent gives to that workload."""
        return [name.removeprefix("spiffe://") for name in self.ask_agent(spiffe_id, "https://elsewhere.example")[1]]

    def mint(self, spiffe_id, audience):
        """A JWT-SVID from the server itself, without agent or entry."""
        return self.server("jwt", "mint", "-spiffeID", spiffe_id, "-audience", audience).strip()

    def mint_x509(self, spiffe_id, ttl="1h"):
        """A folder with an X.509-SVID and its key, from the server itself."""
        folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-svid-", dir=self.work))
        self.server("x509", "mint", "-spiffeID", spiffe_id, "-ttl", ttl, "-write", folder)
        return folder
