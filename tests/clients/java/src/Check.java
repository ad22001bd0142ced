import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.proc.BadJOSEException;
import com.nimbusds.jose.proc.BadJWSException;
import com.nimbusds.jwt.proc.BadJWTException;
import com.nimbusds.oauth2.sdk.as.AuthorizationServerMetadata;
import com.nimbusds.oauth2.sdk.dpop.JWKThumbprintConfirmation;
import com.nimbusds.oauth2.sdk.dpop.verifiers.AccessTokenValidationException;
import com.nimbusds.oauth2.sdk.dpop.verifiers.InvalidDPoPProofException;
import com.nimbusds.oauth2.sdk.http.HTTPRequest;
import com.nimbusds.oauth2.sdk.id.Issuer;
import com.nimbusds.oauth2.sdk.token.BearerAccessToken;
import com.nimbusds.openid.connect.sdk.op.OIDCProviderMetadata;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.springframework.security.oauth2.jwt.BadJwtException;
import org.springframework.security.oauth2.jwt.JwtValidationException;

/** Shows that the client and the resource servers beside this file work with countersign (AT-01, AT-15, MD-12, OID-01, OID-05). */
final class Check {
    private static final String ORDERS = "https://orders.example";
    private static final String LEGACY = "https://legacy.example";
    private static final String INVOICES = "https://invoices.example";
    private static final String ISSUER = System.getenv("ISSUER");
    private static final Path POD_TOKEN_FILE = Path.of(System.getenv("POD_TOKEN_FILE"));
    private static final String IDENTITY = "spiffe://id.example/k8s/" + System.getenv("CLUSTER_NAME") + "/ns/shop/sa/api";
    private static int passed;
    private static int failed;

    private Check() {}

    public static void main(String[] arguments) throws Exception {
        var metadata = AuthorizationServerMetadata.resolve(new Issuer(ISSUER));
        check("the Nimbus SDK discovers by RFC 8414", metadata.getTokenEndpointURI().toString().equals(ISSUER + "/token"));
        var openid = raised(() -> OIDCProviderMetadata.resolve(new Issuer(ISSUER)));
        check("and by OpenID Connect Discovery", openid == null, openid);

        var client = new OrdersClient(metadata, POD_TOKEN_FILE, false);
        var answer = client.request(ORDERS).toSuccessResponse();
        var token = answer.getTokens().getBearerAccessToken();
        check("it gets a token with the pod's file as assertion", token != null && token.getLifetime() > 60);
        check("there is neither an ID token nor a refresh token",
                answer.getTokens().getRefreshToken() == null && !answer.toJSONObject().containsKey("id_token"));
        var old = client.request(LEGACY).toSuccessResponse().getTokens().getBearerAccessToken().getValue();
        nimbus(metadata, token.getValue(), token.getScope().toString(), old);
        spring(metadata, token.getValue(), old);
        spiffe(metadata);
        bound(metadata, token);
        refusals(metadata);

        System.out.println(passed + " passed, " + failed + " failed");
        System.exit(failed > 0 ? 1 : 0);
    }

    private static void nimbus(AuthorizationServerMetadata metadata, String token, String scope, String old) throws Exception {
        var orders = new OrdersServer(metadata, ORDERS, "at+jwt", JWSAlgorithm.ES256);
        var claims = orders.verify(token);
        check("Nimbus JOSE verifies it: at+jwt, ES256, issuer, audience, times",
                claims.getSubject().equals(IDENTITY) && claims.getAudience().equals(List.of(ORDERS)));
        check("its scope is what the answer said", claims.getStringClaim("scope").equals(scope) && scope.equals("read write"));
        check("a changed signature is refused", raised(() -> orders.verify(changed(token))) instanceof BadJWSException);
        var invoices = new OrdersServer(metadata, INVOICES, "at+jwt", JWSAlgorithm.ES256);
        check("a resource server with another audience refuses it", raised(() -> invoices.verify(token)) instanceof BadJWTException);
        var legacy = new OrdersServer(metadata, LEGACY, "JWT", JWSAlgorithm.RS256);
        check("the resource for older verifiers: JWT, RS256", legacy.verify(old).getSubject().equals(IDENTITY));
        var strict = new OrdersServer(metadata, LEGACY, "at+jwt", JWSAlgorithm.RS256);
        check("a verifier that wants at+jwt refuses that", raised(() -> strict.verify(old)) instanceof BadJOSEException);
    }

    private static void spring(AuthorizationServerMetadata metadata, String token, String old) {
        var defaults = SpringServer.defaults(ISSUER);
        check("Spring Security's defaults verify the resource for older verifiers",
                defaults.decode(old).getSubject().equals(IDENTITY));
        check("and refuse typ at+jwt", raised(() -> defaults.decode(token)) instanceof JwtValidationException);
        check("and a changed signature", raised(() -> defaults.decode(changed(old))) instanceof BadJwtException);
        var keySet = SpringServer.keySet(metadata.getJWKSetURI().toString());
        check("its decoder from the key set alone verifies that too", keySet.decode(old).getSubject().equals(IDENTITY));
        check("with an audience it takes its own", SpringServer.withAudience(ISSUER, LEGACY).decode(old).getSubject().equals(IDENTITY));
        var invoices = SpringServer.withAudience(ISSUER, INVOICES);
        check("and refuses another's", raised(() -> invoices.decode(old)) instanceof JwtValidationException);
        var accessTokens = SpringServer.accessTokens(ISSUER, ORDERS);
        check("its RFC 9068 validator takes typ at+jwt, ES256", accessTokens.decode(token).getSubject().equals(IDENTITY));
        check("and refuses a changed signature", raised(() -> accessTokens.decode(changed(token))) instanceof BadJwtException);
        var others = SpringServer.accessTokens(ISSUER, INVOICES);
        check("and another audience", raised(() -> others.decode(token)) instanceof JwtValidationException);
    }

    private static void spiffe(AuthorizationServerMetadata metadata) throws Exception {
        var file = Path.of(System.getenv("JWT_SVID_FILE"));
        var token = new OrdersClient(metadata, file, true).request(ORDERS).toSuccessResponse().getTokens().getBearerAccessToken();
        var claims = new OrdersServer(metadata, ORDERS, "at+jwt", JWSAlgorithm.ES256).verify(token.getValue());
        check("the Nimbus SDK gets a token with a JWT-SVID",
                claims.getSubject().equals("spiffe://prod.example/ns/shop/sa/api") && claims.getStringClaim("kind").equals("jwt_svid"));
        var wrong = raised(() -> new OrdersClient(metadata, file, false).request(ORDERS).toSuccessResponse());
        check("and its PrivateKeyJWT takes none, for it has no iss", wrong instanceof IllegalArgumentException, wrong);
    }

    private static void bound(AuthorizationServerMetadata metadata, BearerAccessToken bearer) throws Exception {
        check("metadata has the algorithms of proofs", metadata.getDPoPJWSAlgs().contains(JWSAlgorithm.ES256));
        var client = new BoundClient(metadata, POD_TOKEN_FILE);
        var token = client.request(ORDERS).toSuccessResponse().getTokens().getDPoPAccessToken();
        check("the Nimbus SDK gets a bound token by DPoP, and repeats the nonce", token != null);
        check("the next request has the nonce at once", client.request(ORDERS).indicatesSuccess());
        var orders = new OrdersServer(metadata, ORDERS, "at+jwt", JWSAlgorithm.ES256);
        var key = JWKThumbprintConfirmation.parse(orders.verify(token.getValue()));
        check("it is bound to the key of the client", client.key().equals(key));
        var server = new BoundServer(orders);
        var resource = URI.create(ORDERS + "/orders/1");
        var call = client.call(resource, token);
        check("a resource server by the SDK takes it with a proof", server.verify(call).getSubject().equals(IDENTITY));
        check("and takes no proof twice", raised(() -> server.verify(call)) instanceof InvalidDPoPProofException);
        var asBearer = new HTTPRequest(HTTPRequest.Method.GET, resource);
        asBearer.setAuthorization("Bearer " + token.getValue());
        check("and refuses it as Bearer", raised(() -> server.verify(asBearer)) instanceof BadJWTException);
        var another = new BoundClient(metadata, POD_TOKEN_FILE).call(resource, token);
        check("and in the hands of another key", raised(() -> server.verify(another)) instanceof AccessTokenValidationException);
        var plain = new HTTPRequest(HTTPRequest.Method.GET, resource);
        plain.setAuthorization(bearer.toAuthorizationHeader());
        check("while a token that is bound to nothing is used as Bearer", server.verify(plain).getSubject().equals(IDENTITY));
    }

    private static void refusals(AuthorizationServerMetadata metadata) throws Exception {
        var file = Files.createTempFile("countersign-java.", ".token");
        try {
            Files.writeString(file, changed(Files.readString(POD_TOKEN_FILE)));
            var client = new OrdersClient(metadata, file, false);
            var refused = client.request(ORDERS).toErrorResponse().getErrorObject();
            check("a refusal is the SDK's error response, with reference",
                    refused.getCode().equals("invalid_client") && refused.getDescription().contains(" ref "));
            Files.writeString(file, Files.readString(POD_TOKEN_FILE));
            check("the file is read again: the same client then succeeds", client.request(ORDERS).indicatesSuccess());
        } finally {
            Files.delete(file);
        }
    }

    private static String changed(String token) {
        var signature = token.lastIndexOf('.') + 1;
        return token.substring(0, signature) + (token.charAt(signature) == 'A' ? 'B' : 'A') + token.substring(signature + 1);
    }

    private static Exception raised(Callable<?> call) {
        try {
            call.call();
            return null;
        } catch (Exception raised) {
            return raised;
        }
    }

    private static void check(String what, boolean holds, Object... why) {
        System.out.println((holds ? "ok   " : "FAIL ") + what + (holds ? "" : " " + List.of(why)));
        if (holds) {
            passed++;
        } else {
            failed++;
        }
    }
}
