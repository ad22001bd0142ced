// A resource server: who is calling, by go-oidc.
package main

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

type caller struct {
	Subject   string `json:"sub"`
	Scope     string `json:"scope"`
	Source    string `json:"source"`
	Namespace string `json:"namespace"`
	Bound     struct {
		Certificate string `json:"x5t#S256"`
	} `json:"cnf"`
}

// mayUse tells whether a token may come over a connection with this client certificate, or with none (RFC 8705 §3). A bound one may
// come with its own only.
func (c *caller) mayUse(certificate *x509.Certificate) bool {
	if c.Bound.Certificate == "" {
		return true
	}
	return certificate != nil && c.Bound.Certificate == thumbprint(certificate)
}

func thumbprint(certificate *x509.Certificate) string {
	hash := sha256.Sum256(certificate.Raw)
	return base64.RawURLEncoding.EncodeToString(hash[:])
}

type verifier struct{ tokens *oidc.IDTokenVerifier }

// newVerifier takes for ClientID, which go-oidc compares with `aud`, the audience of the resource server.
func newVerifier(ctx context.Context, issuer, audience string) (verifier, error) {
	provider, err := oidc.NewProvider(ctx, issuer)
	if err != nil {
		return verifier{}, err
	}
	return verifier{provider.Verifier(&oidc.Config{ClientID: audience})}, nil
}

func (v verifier) verify(ctx context.Context, token, typ string) (*caller, error) {
	verified, err := v.tokens.Verify(ctx, token)
	if err != nil {
		return nil, err
	}
	// go-oidc does not look at `typ`.
	signed, err := jose.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256, jose.RS256})
	if err != nil {
		return nil, err
	}
	if shown, _ := signed.Signatures[0].Protected.ExtraHeaders[jose.HeaderType].(string); !strings.EqualFold(shown, typ) {
		return nil, errors.New("not an access token")
	}
	var who caller
	return &who, verified.Claims(&who)
}
