import com.nimbusds.oauth2.sdk.ClientCredentialsGrant;
import com.nimbusds.oauth2.sdk.ParseException;
import com.nimbusds.oauth2.sdk.TokenRequest;
import com.nimbusds.oauth2.sdk.TokenResponse;
import com.nimbusds.oauth2.sdk.as.AuthorizationServerMetadata;
import com.nimbusds.oauth2.sdk.auth.PrivateKeyJWT;
import com.nimbusds.jwt.SignedJWT;
import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** A client: an access token for one resource, with the token file that a workload has, by the Nimbus OAuth 2.0 SDK. */
final class OrdersClient {
    private final AuthorizationServerMetadata metadata;
    private final Path tokenFile;
    private final boolean spiffe;

    /** With `spiffe` the file has a JWT-SVID, else a pod's token. */
    OrdersClient(AuthorizationServerMetadata metadata, Path tokenFile, boolean spiffe) {
        this.metadata = metadata;
        this.tokenFile = tokenFile;
        this.spiffe = spiffe;
    }

    /** The file is read for each request: the platform replaces it. */
    TokenResponse request(String resource) throws IOException, ParseException, java.text.ParseException {
        var token = SignedJWT.parse(Files.readString(tokenFile));
        var assertion = spiffe ? new SpiffeJwt(token) : new PrivateKeyJWT(token);
        var request = new TokenRequest(
                metadata.getTokenEndpointURI(), assertion, new ClientCredentialsGrant(), null, List.of(URI.create(resource)), null);
        return TokenResponse.parse(request.toHTTPRequest().send());
    }
}
