"""A client: an access token for one resource, with the token file that a workload has, by Authlib."""

from authlib.common.urls import add_params_to_qs
from authlib.integrations.requests_client import OAuth2Session

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"  # a pod's token
JWT_SPIFFE = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"  # a JWT-SVID


def session(metadata, token_file, resource, kind=JWT_BEARER):
    """Renews its access token by itself, and reads the file again whenever it does."""

    def assertion(client, method, uri, headers, body):
        with open(token_file) as file:
            fields = [("client_assertion_type", kind), ("client_assertion", file.read())]
        # Authlib's own renewal sends the grant type and the scope alone, so the resource is named here.
        return uri, headers, add_params_to_qs(body, [*fields, ("resource", resource)])

    session = OAuth2Session(
        token_endpoint=metadata["token_endpoint"],
        token_endpoint_auth_method="token_file",
        grant_type="client_credentials",
    )
    session.register_client_auth_method(("token_file", assertion))
    return session
