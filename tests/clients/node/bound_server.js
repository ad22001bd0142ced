// A resource server that takes tokens with their proof: who is calling, by oauth4webapi.
import { createServer } from 'node:http'
import * as oauth from 'oauth4webapi'

// `insecure` only for an issuer on loopback. Says the subject, or 401. Remember the jti of proofs where a request may not be sent twice.
export async function serve(issuer, audience, { insecure = false } = {}) {
  const options = { [oauth.allowInsecureRequests]: insecure }
  const url = new URL(issuer)
  const discovered = await oauth.discoveryRequest(url, { algorithm: 'oauth2', ...options })
  const metadata = await oauth.processDiscoveryResponse(url, discovered)
  const server = createServer(async ({ method, url, headers }, answer) => {
    const request = new Request(new URL(url, `http://127.0.0.1:${server.address().port}`), { method, headers })
    try {
      const claims = await oauth.validateJwtAccessToken(metadata, request, audience, options)
      answer.end(JSON.stringify({ sub: claims.sub, jkt: claims.cnf?.jkt }))
    } catch (error) {
      answer.writeHead(401, { 'www-authenticate': 'DPoP error="invalid_token"' }).end(JSON.stringify({ why: error.message }))
    }
  })
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready))
  return server
}
