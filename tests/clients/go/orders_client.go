// Clients: an access token for one resource by golang.org/x/oauth2, with a pod's token file or a JWT-SVID as the assertion.
package main

import (
	"context"
	"net/url"
	"os"

	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

const (
	jwtBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	jwtSPIFFE = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"
)

// asserted is an oauth2.TokenSource that takes the assertion anew for each access token.
type asserted struct {
	ctx                context.Context
	tokenURL, resource string
	kind               string
	assertion          func(context.Context) (string, error)
}

func (a asserted) Token() (*oauth2.Token, error) {
	assertion, err := a.assertion(a.ctx)
	if err != nil {
		return nil, err
	}
	config := clientcredentials.Config{
		TokenURL:  a.tokenURL,
		AuthStyle: oauth2.AuthStyleInParams,
		EndpointParams: url.Values{
			"client_assertion_type": {a.kind},
			"client_assertion":      {assertion},
			"resource":              {a.resource},
		},
	}
	return config.Token(a.ctx)
}

func fromFile(path string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		text, err := os.ReadFile(path)
		return string(text), err
	}
}

func fromWorkloadAPI(address, issuer string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		svid, err := workloadapi.FetchJWTSVID(ctx, jwtsvid.Params{Audience: issuer}, workloadapi.WithAddr(address))
		if err != nil {
			return "", err
		}
		return svid.Marshal(), nil
	}
}

// podClient renews its access token by itself.
func podClient(ctx context.Context, tokenURL, resource, tokenFile string) oauth2.TokenSource {
	return oauth2.ReuseTokenSource(nil, asserted{ctx, tokenURL, resource, jwtBearer, fromFile(tokenFile)})
}

// spiffeClient renews its access token by itself.
func spiffeClient(ctx context.Context, tokenURL, resource, address, issuer string) oauth2.TokenSource {
	return oauth2.ReuseTokenSource(nil, asserted{ctx, tokenURL, resource, jwtSPIFFE, fromWorkloadAPI(address, issuer)})
}
