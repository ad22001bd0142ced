// Shows that the client and the resource server beside this file work with countersign (AT-15, MD-01, MD-02, OID-01).
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { errors } from 'jose'
import { ClientError, ResponseBodyError } from 'openid-client'
import { bound } from './bound_client.js'
import { serve } from './bound_server.js'
import { connect, JWT_BEARER, JWT_SPIFFE, tokenFor } from './orders_client.js'
import { verifier } from './orders_server.js'

const { ISSUER, POD_TOKEN_FILE, JWT_SVID_FILE, CLUSTER_NAME } = process.env
const [ORDERS, LEGACY] = ['https://orders.example', 'https://legacy.example']
const SPIFFE_ID = 'spiffe://prod.example/ns/shop/sa/api'
const IDENTITY = `spiffe://id.example/k8s/${CLUSTER_NAME}/ns/shop/sa/api`
let [passed, failed] = [0, 0]

const check = (what, holds) => {
  console.log(`${holds ? 'ok  ' : 'FAIL'} ${what}`)
  holds ? passed++ : failed++
}
const raised = (promise) => promise.then(() => undefined, (error) => error)
const changed = (token) => {
  const [head, body, signature] = token.split('.')
  return [head, body, (signature[0] === 'A' ? 'B' : 'A') + signature.slice(1)].join('.')
}

const refused = await raised(connect(ISSUER, IDENTITY, POD_TOKEN_FILE))
check('openid-client refuses an http issuer unless told', refused instanceof ClientError && refused.code === 'OAUTH_HTTP_REQUEST_FORBIDDEN')

const client = await connect(ISSUER, IDENTITY, POD_TOKEN_FILE, { http: true })
check('openid-client discovers by RFC 8414', client.serverMetadata().token_endpoint === `${ISSUER}/token`)
const openid = await connect(ISSUER, IDENTITY, POD_TOKEN_FILE, { http: true, algorithm: 'oidc' })
check('and by OpenID Connect Discovery', openid.serverMetadata().jwks_uri === client.serverMetadata().jwks_uri)

const answer = await tokenFor(client, ORDERS)
const token = answer.access_token
check("it gets a token with the pod's file as assertion", answer.token_type === 'bearer' && answer.expiresIn() > 60)
check('there is neither an ID token nor a refresh token', !answer.id_token && !answer.refresh_token && !answer.claims())

const orders = await verifier(ISSUER, ORDERS)
const claims = await orders(token)
check('jose verifies it: at+jwt, ES256, issuer, audience, times', claims.sub === IDENTITY && claims.aud === ORDERS)
check('its scope is what the answer said', claims.scope === 'read write' && answer.scope === claims.scope)
check('a changed signature is refused', (await raised(orders(changed(token)))) instanceof errors.JWSSignatureVerificationFailed)
const invoices = await verifier(ISSUER, 'https://invoices.example')
check('a resource server with another audience refuses it', (await raised(invoices(token)))?.claim === 'aud')

const spiffe = await connect(ISSUER, SPIFFE_ID, JWT_SVID_FILE, { kind: JWT_SPIFFE, http: true })
const claimsOfSvid = await orders((await tokenFor(spiffe, ORDERS)).access_token)
check('openid-client gets a token with a JWT-SVID', claimsOfSvid.sub === SPIFFE_ID && claimsOfSvid.kind === 'jwt_svid')
const wrong = await connect(ISSUER, SPIFFE_ID, JWT_SVID_FILE, { kind: JWT_BEARER, http: true })
check('a JWT-SVID that is sent as jwt-bearer is refused', (await raised(tokenFor(wrong, ORDERS)))?.error === 'invalid_client')

const plain = await connect(ISSUER, IDENTITY, POD_TOKEN_FILE, { http: true })
const [mine, another] = [await bound(plain), await bound(plain)]
const boundAnswer = await mine.tokenFor(ORDERS)
const boundToken = boundAnswer.access_token
const jkt = await mine.DPoP.calculateThumbprint()
check('openid-client gets a bound token by DPoP, and repeats the nonce by itself', boundAnswer.token_type === 'dpop')
check('it is bound to the key of the client', (await orders(boundToken)).cnf.jkt === jkt)
const server = await serve(ISSUER, ORDERS, { insecure: true })
try {
  const url = `http://127.0.0.1:${server.address().port}/orders`
  const called = await mine.call(url, boundToken)
  check('a resource server by oauth4webapi takes it with a proof', called.status === 200 && (await called.json()).jkt === jkt)
  const status = async (headers) => (await fetch(url, { headers })).status
  check('and refuses it as Bearer', (await status({ authorization: `Bearer ${boundToken}` })) === 401)
  check('and under DPoP without a proof', (await status({ authorization: `DPoP ${boundToken}` })) === 401)
  const stolen = await raised(another.call(url, boundToken))
  check('and in the hands of another key', stolen !== undefined && stolen.status === 401)
  check('while a token that is bound to nothing is used as Bearer', (await status({ authorization: `Bearer ${token}` })) === 200)
} finally {
  server.close()
}

const old = (await tokenFor(client, LEGACY)).access_token
const legacy = await verifier(ISSUER, LEGACY, { typ: 'JWT', algorithm: 'RS256' })
check('the resource for older verifiers: JWT, RS256', (await legacy(old)).sub === IDENTITY)
const strict = await verifier(ISSUER, LEGACY, { algorithm: 'RS256' })
check('a verifier that wants at+jwt refuses that', (await raised(strict(old)))?.claim === 'typ')

const directory = mkdtempSync(join(tmpdir(), 'countersign-node.'))
try {
  const file = join(directory, 'token')
  writeFileSync(file, changed(readFileSync(POD_TOKEN_FILE, 'utf8')), { mode: 0o600 })
  const client = await connect(ISSUER, IDENTITY, file, { http: true })
  const refused = await raised(tokenFor(client, ORDERS))
  const told = refused instanceof ResponseBodyError && refused.error === 'invalid_client'
  check("a refusal is openid-client's ResponseBodyError, with reference", told && refused.cause.error_ref?.length === 12)
  writeFileSync(file, readFileSync(POD_TOKEN_FILE, 'utf8'))
  check('the file is read again: the same client then succeeds', (await tokenFor(client, ORDERS)).access_token)
} finally {
  rmSync(directory, { recursive: true })
}

console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed > 0 ? 1 : 0
