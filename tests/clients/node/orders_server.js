// A resource server: who is calling, by jose.
import { createRemoteJWKSet, jwtVerify } from 'jose'

export async function verifier(issuer, audience, { typ = 'at+jwt', algorithm = 'ES256' } = {}) {
  const answer = await fetch(`${issuer}/.well-known/oauth-authorization-server`)
  const metadata = await answer.json()
  if (metadata.issuer !== issuer) throw new Error('the metadata is of another issuer')
  const keys = createRemoteJWKSet(new URL(metadata.jwks_uri))
  const requiredClaims = ['sub', 'exp', 'iat', 'jti', 'client_id']
  return async (token) =>
    (await jwtVerify(token, keys, { issuer, audience, typ, algorithms: [algorithm], requiredClaims })).payload
}
