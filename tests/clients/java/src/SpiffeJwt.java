import com.nimbusds.common.contenttype.ContentType;
import com.nimbusds.jwt.SignedJWT;
import com.nimbusds.oauth2.sdk.ParseException;
import com.nimbusds.oauth2.sdk.auth.ClientAuthentication;
import com.nimbusds.oauth2.sdk.auth.ClientAuthenticationMethod;
import com.nimbusds.oauth2.sdk.http.HTTPRequest;
import com.nimbusds.oauth2.sdk.id.ClientID;
import com.nimbusds.oauth2.sdk.util.URLUtils;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Set;

/** Client authentication with a JWT-SVID: the Nimbus SDK's PrivateKeyJWT knows one assertion type, and it is not this one. */
final class SpiffeJwt extends ClientAuthentication {
    private static final String JWT_SPIFFE = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
    private final SignedJWT svid;

    SpiffeJwt(SignedJWT svid) throws java.text.ParseException {
        super(new ClientAuthenticationMethod("spiffe_jwt"), new ClientID(svid.getJWTClaimsSet().getSubject()));
        this.svid = svid;
    }

    @Override
    public Set<String> getFormParameterNames() {
        return Set.of("client_assertion_type", "client_assertion");
    }

    @Override
    public void applyTo(HTTPRequest request) {
        try {
            request.ensureEntityContentType(ContentType.APPLICATION_URLENCODED);
            var form = new LinkedHashMap<>(request.getBodyAsFormParameters());
            form.put("client_assertion_type", List.of(JWT_SPIFFE));
            form.put("client_assertion", List.of(svid.serialize()));
            request.setBody(URLUtils.serializeParameters(form));
        } catch (ParseException noForm) {
            throw new IllegalArgumentException(noForm);
        }
    }
}
