"""A client: an access token for one resource, with the token file that a pod has, by Authlib."""

from authlib.common.urls import add_params_to_qs
from authlib.integrations.requests_client import OAuth2Session

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def session(metadata, token_file, resource):
    """Renews its access token by itself, and reads the file again whenever it does."""

    def assertion(client, method, uri, headers, body):
        with open(token_file) as file:
            fields = [("client_assertion_type", JWT_BEARER), ("client_assertion", file.read()), ("resource", resource)]
        return uri, headers, add_params_to_qs(body, fields)

    session = OAuth2Session(
        token_endpoint=metadata["token_endpoint"],
        token_endpoint_auth_method="token_file",
        grant_type="client_credentials",
    )
    session.register_client_auth_method(("token_file", assertion))
    return session
