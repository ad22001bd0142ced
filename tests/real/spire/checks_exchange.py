"""An exchange from end to end, and what is refused."""

import json

import jwt
from broker import ORDERS, accepted, http, refused
from harness import check, same


def changed_signature(svid):
    """One character in the middle of the signature becomes another."""
    head, signature = svid.rsplit(".", 1)
    middle = len(signature) // 2
    other = "A" if signature[middle] != "A" else "B"
    return f"{head}.{signature[:middle]}{other}{signature[middle + 1:]}"


def a_token_that_pyjwt_takes(broker, spiffe_id, svid, headers, answer):
    same("the answer is not to be cached", headers.get("Cache-Control"), "no-store")
    same("the answer's token_type is Bearer", str(answer.get("token_type")).lower(), "bearer")
    same("the answer's scope is read", answer.get("scope"), "read")

    status, _, body = http(f"{broker.issuer}/.well-known/openid-configuration")
    if not same("discovery answers", status, 200):
        return
    discovery = json.loads(body)
    same("discovery names the issuer", discovery.get("issuer"), broker.issuer)

    token = answer["access_token"]
    try:
        key = jwt.PyJWKClient(discovery["jwks_uri"]).get_signing_key_from_jwt(token)
        whole = jwt.decode_complete(
            token, key, algorithms=["ES256"], audience=ORDERS, issuer=broker.issuer,
            options={"require": ["iss", "sub", "aud", "exp", "iat", "nbf", "jti"], "verify_iat": True, "strict_aud": True},
        )
    except (jwt.PyJWTError, KeyError) as error:
        check("PyJWT verifies the token", False, f"{type(error).__name__}: {error}")
        return
    check("PyJWT verifies the token: ES256, audience, issuer, times", True)
    claims = whole["payload"]
    same("the token's typ is at+jwt", whole["header"].get("typ"), "at+jwt")
    same("the token's sub is the SPIFFE ID", claims.get("sub"), spiffe_id)
    same("the token's client_id is the SPIFFE ID", claims.get("client_id"), spiffe_id)
    same("the token's scope is read", claims.get("scope"), "read")
    same("the token's source is real", claims.get("source"), "real")
    same("the token's kind is jwt_svid", claims.get("kind"), "jwt_svid")
    same("the token's namespace and service_account come from the path",
         (claims.get("namespace"), claims.get("service_account")), ("shop", "api"))
    ends = jwt.decode(svid, options={"verify_signature": False})["exp"]
    check("the token does not outlive the SVID, nor 5 minutes",
          claims["exp"] <= ends and claims["exp"] - claims["iat"] <= 300,
          {"exp": claims["exp"], "iat": claims["iat"], "the SVID's exp": ends})
    expires_in = answer.get("expires_in")
    check("expires_in agrees with exp", isinstance(expires_in, int) and abs(claims["exp"] - claims["iat"] - expires_in) <= 2,
          {"expires_in": expires_in, "exp - iat": claims["exp"] - claims["iat"]})


def what_is_refused(spire, broker, api, no_rule, svid):
    """Gives the references of two refusals: a changed signature, and a workload without a rule."""
    elsewhere, _ = spire.fetch(api, "https://elsewhere.example")
    web, _ = spire.fetch(no_rule, broker.issuer)
    refused("an SVID of the same workload for another audience", broker, "invalid_client", elsewhere)
    forged = refused("the SVID with one character of its signature changed", broker, "invalid_client", changed_signature(svid))
    unruled = refused("a workload that no rule names", broker, "unauthorized_client", web)
    refused("a resource that nobody offers", broker, "invalid_target", svid, resource="https://nowhere.example")
    refused("a scope that is not granted", broker, "invalid_scope", svid, scope="write")
    accepted("the untouched SVID is still accepted", broker, svid)
    return forged, unruled
