"""A resource server: who is calling, by PyJWT; and the same by Authlib."""

import jwt
import requests
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from joserfc.jwk import KeySet


class Verifier:
    def __init__(self, metadata, audience):
        self.issuer = metadata["issuer"]
        self.audience = audience
        self.keys = jwt.PyJWKClient(metadata["jwks_uri"])

    def verify(self, token, typ="at+jwt", algorithm="ES256"):
        decoded = jwt.decode_complete(
            token,
            self.keys.get_signing_key_from_jwt(token),
            algorithms=[algorithm],
            audience=self.audience,
            issuer=self.issuer,
            options={"require": ["iss", "sub", "aud", "exp", "iat", "jti", "client_id"]},
        )
        if decoded["header"]["typ"].lower() != typ.lower():
            raise jwt.InvalidTokenError("not an access token")
        return decoded["payload"]


class AuthlibValidator(JWTBearerTokenValidator):
    """For Authlib's ResourceProtector. Keep the key set for at most the max-age of its answer."""

    def __init__(self, metadata, audience):
        super().__init__(metadata["issuer"], audience)
        self.jwks_uri = metadata["jwks_uri"]

    def get_jwks(self):
        return KeySet.import_key_set(requests.get(self.jwks_uri, timeout=10).json())
