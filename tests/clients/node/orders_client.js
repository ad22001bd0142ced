// A client: an access token for one resource, with the token file that a workload has, by openid-client.
import { readFileSync } from 'node:fs'
import * as oauth from 'openid-client'

export const JWT_BEARER = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer' // a pod's token
export const JWT_SPIFFE = 'urn:ietf:params:oauth:client-assertion-type:jwt-spiffe' // a JWT-SVID

// `http` only for an issuer on loopback.
export async function connect(issuer, identity, tokenFile, { kind = JWT_BEARER, http = false, algorithm = 'oauth2' } = {}) {
  const assertion = (server, client, body) => {
    body.set('client_assertion_type', kind)
    body.set('client_assertion', readFileSync(tokenFile, 'utf8'))
  }
  const execute = http ? [oauth.allowInsecureRequests] : []
  return oauth.discovery(new URL(issuer), identity, undefined, assertion, { algorithm, execute })
}

export const tokenFor = (client, resource) => oauth.clientCredentialsGrant(client, { resource })
