import org.springframework.security.oauth2.jose.jws.SignatureAlgorithm;
import org.springframework.security.oauth2.jwt.JwtDecoder;
import org.springframework.security.oauth2.jwt.JwtDecoders;
import org.springframework.security.oauth2.jwt.JwtValidators;
import org.springframework.security.oauth2.jwt.JwtAudienceValidator;
import org.springframework.security.oauth2.jwt.JwtIssuerValidator;
import org.springframework.security.oauth2.jwt.NimbusJwtDecoder;

/** Resource servers with Spring Security, from its defaults to what RFC 9068 asks for. */
final class SpringServer {
    private SpringServer() {}

    /** What `issuer-uri` alone gives: issuer, times and `typ: JWT`; no audience. */
    static JwtDecoder defaults(String issuer) {
        return JwtDecoders.fromIssuerLocation(issuer);
    }

    /** What `issuer-uri` and `audiences` give. */
    static JwtDecoder withAudience(String issuer, String audience) {
        NimbusJwtDecoder decoder = JwtDecoders.fromIssuerLocation(issuer);
        decoder.setJwtValidator(
                JwtValidators.createDefaultWithValidators(new JwtIssuerValidator(issuer), new JwtAudienceValidator(audience)));
        return decoder;
    }

    /** What `jwk-set-uri` alone gives: RS256, times and `typ: JWT`. */
    static JwtDecoder keySet(String jwkSetUri) {
        return NimbusJwtDecoder.withJwkSetUri(jwkSetUri).build();
    }

    /** RFC 9068 whole: `typ: at+jwt`, and the audience. */
    static JwtDecoder accessTokens(String issuer, String audience) {
        var decoder = NimbusJwtDecoder.withIssuerLocation(issuer).jwsAlgorithm(SignatureAlgorithm.ES256).build();
        decoder.setJwtValidator(JwtValidators.createAtJwtValidator().issuer(issuer).audience(audience).build());
        return decoder;
    }
}
