import com.nimbusds.jose.JOSEException;
import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.proc.BadJOSEException;
import com.nimbusds.jwt.JWTClaimsSet;
import com.nimbusds.jwt.proc.BadJWTException;
import com.nimbusds.oauth2.sdk.dpop.JWKThumbprintConfirmation;
import com.nimbusds.oauth2.sdk.dpop.verifiers.AccessTokenValidationException;
import com.nimbusds.oauth2.sdk.dpop.verifiers.DPoPIssuer;
import com.nimbusds.oauth2.sdk.dpop.verifiers.DPoPProtectedResourceRequestVerifier;
import com.nimbusds.oauth2.sdk.dpop.verifiers.InMemoryDPoPSingleUseChecker;
import com.nimbusds.oauth2.sdk.dpop.verifiers.InvalidDPoPProofException;
import com.nimbusds.oauth2.sdk.http.HTTPRequest;
import com.nimbusds.oauth2.sdk.id.ClientID;
import com.nimbusds.oauth2.sdk.token.AccessToken;
import com.nimbusds.oauth2.sdk.token.DPoPAccessToken;
import java.text.ParseException;
import java.util.Set;

/** A resource server that takes tokens with their proof: who is calling, by the Nimbus OAuth 2.0 SDK. */
final class BoundServer {
    private final OrdersServer tokens;
    private final DPoPProtectedResourceRequestVerifier proofs = new DPoPProtectedResourceRequestVerifier(
            Set.of(JWSAlgorithm.ES256), 30, 60, new InMemoryDPoPSingleUseChecker(90, 90));

    BoundServer(OrdersServer tokens) {
        this.tokens = tokens;
    }

    JWTClaimsSet verify(HTTPRequest request)
            throws ParseException, BadJOSEException, JOSEException, com.nimbusds.oauth2.sdk.ParseException,
                    InvalidDPoPProofException, AccessTokenValidationException {
        var token = AccessToken.parse(request);
        var claims = tokens.verify(token.getValue());
        var key = JWKThumbprintConfirmation.parse(claims);
        if (token instanceof DPoPAccessToken proven) {
            var client = new DPoPIssuer(new ClientID(claims.getStringClaim("client_id")));
            proofs.verify(request.getMethod().name(), request.getURI(), client, request.getDPoP(), proven, key);
        } else if (key != null) {
            throw new BadJWTException("this token is of use with its proof only");
        }
        return claims;
    }
}
