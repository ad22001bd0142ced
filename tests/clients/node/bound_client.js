// A client whose token is of no use to anybody else: bound to a key of this process by DPoP, by openid-client.
import * as oauth from 'openid-client'

// `client` as `connect` of orders_client.js makes it. The key lives as long as the process and cannot be taken out of it.
export async function bound(client) {
  const { privateKey, publicKey } = await oauth.randomDPoPKeyPair('ES256')
  const DPoP = oauth.getDPoPHandle(client, { privateKey, publicKey })
  const tokenFor = (resource) => oauth.clientCredentialsGrant(client, { resource }, { DPoP })
  const call = (url, token) => oauth.fetchProtectedResource(client, token, new URL(url), 'GET', null, undefined, { DPoP })
  return { DPoP, tokenFor, call }
}
