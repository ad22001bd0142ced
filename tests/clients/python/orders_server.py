"""A resource server: who is calling, by PyJWT."""

import jwt


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
