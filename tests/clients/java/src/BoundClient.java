import com.nimbusds.jose.JOSEException;
import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.jwk.Curve;
import com.nimbusds.jose.jwk.gen.ECKeyGenerator;
import com.nimbusds.jwt.SignedJWT;
import com.nimbusds.oauth2.sdk.ClientCredentialsGrant;
import com.nimbusds.oauth2.sdk.ParseException;
import com.nimbusds.oauth2.sdk.TokenRequest;
import com.nimbusds.oauth2.sdk.TokenResponse;
import com.nimbusds.oauth2.sdk.as.AuthorizationServerMetadata;
import com.nimbusds.oauth2.sdk.auth.PrivateKeyJWT;
import com.nimbusds.oauth2.sdk.dpop.DefaultDPoPProofFactory;
import com.nimbusds.oauth2.sdk.dpop.JWKThumbprintConfirmation;
import com.nimbusds.oauth2.sdk.http.HTTPRequest;
import com.nimbusds.oauth2.sdk.http.HTTPResponse;
import com.nimbusds.oauth2.sdk.token.DPoPAccessToken;
import com.nimbusds.openid.connect.sdk.Nonce;
import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** A client whose token is of no use to anybody else: bound to a key of this process by DPoP, by the Nimbus OAuth 2.0 SDK. */
final class BoundClient {
    private final AuthorizationServerMetadata metadata;
    private final Path tokenFile;
    private final DefaultDPoPProofFactory proofs;
    private Nonce nonce;

    BoundClient(AuthorizationServerMetadata metadata, Path tokenFile) throws JOSEException {
        this.metadata = metadata;
        this.tokenFile = tokenFile;
        this.proofs = new DefaultDPoPProofFactory(new ECKeyGenerator(Curve.P_256).generate(), JWSAlgorithm.ES256);
    }

    JWKThumbprintConfirmation key() throws JOSEException {
        return JWKThumbprintConfirmation.of(proofs.getPublicJWK());
    }

    /** A first answer may be that a nonce is needed: it comes with the answer, and counts for some minutes. */
    TokenResponse request(String resource) throws IOException, ParseException, JOSEException, java.text.ParseException {
        var answer = send(resource);
        if (answer.getStatusCode() == 400 && answer.getDPoPNonce() != null) {
            answer = send(resource);
        }
        return TokenResponse.parse(answer);
    }

    private HTTPResponse send(String resource) throws IOException, ParseException, JOSEException, java.text.ParseException {
        var endpoint = metadata.getTokenEndpointURI();
        var assertion = new PrivateKeyJWT(SignedJWT.parse(Files.readString(tokenFile)));
        var request = new TokenRequest(
                endpoint, assertion, new ClientCredentialsGrant(), null, List.of(URI.create(resource)), null).toHTTPRequest();
        request.setDPoP(proofs.createDPoPJWT("POST", endpoint, nonce));
        var answer = request.send();
        if (answer.getDPoPNonce() != null) {
            nonce = answer.getDPoPNonce();
        }
        return answer;
    }

    /** A request to a resource server, with the proof for it. */
    HTTPRequest call(URI resource, DPoPAccessToken token) throws JOSEException {
        var request = new HTTPRequest(HTTPRequest.Method.GET, resource);
        request.setAuthorization(token.toAuthorizationHeader());
        request.setDPoP(proofs.createDPoPJWT("GET", resource, token));
        return request;
    }
}
