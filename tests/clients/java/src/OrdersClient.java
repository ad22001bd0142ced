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

/** A client: an access token for one resource, with the token file that a pod has, by the Nimbus OAuth 2.0 SDK. */
final class OrdersClient {
    private final AuthorizationServerMetadata metadata;
    private final Path tokenFile;

    OrdersClient(AuthorizationServerMetadata metadata, Path tokenFile) {
        this.metadata = metadata;
        this.tokenFile = tokenFile;
    }

    /** The file is read for each request: the platform replaces it. */
    TokenResponse request(String resource) throws IOException, ParseException, java.text.ParseException {
        var assertion = new PrivateKeyJWT(SignedJWT.parse(Files.readString(tokenFile)));
        var request = new TokenRequest(
                metadata.getTokenEndpointURI(), assertion, new ClientCredentialsGrant(), null, List.of(URI.create(resource)), null);
        return TokenResponse.parse(request.toHTTPRequest().send());
    }
}
