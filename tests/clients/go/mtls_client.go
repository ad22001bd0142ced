// Clients over mutual TLS: the X.509-SVID of the connection is the credential. The server's certificate is its X.509-SVID.
package main

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/url"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	v1 "countersign.example/check/countersignv1"
)

// x509Source follows the Workload API until it is closed.
func x509Source(ctx context.Context, address string) (*workloadapi.X509Source, error) {
	return workloadapi.NewX509Source(ctx, workloadapi.WithClientOptions(workloadapi.WithAddr(address)))
}

// mutualTLS shows the SVID of the moment to a server that has to be exactly this one. For a server whose certificate is one of a public
// authority it is tlsconfig.MTLSWebClientConfig.
func mutualTLS(svid x509svid.Source, bundle x509bundle.Source, server spiffeid.ID) *tls.Config {
	return tlsconfig.MTLSClientConfig(svid, bundle, tlsconfig.AuthorizeID(server))
}

// httpOver opens a connection for each request: one that is kept would go on showing an SVID that was renewed since.
func httpOver(config *tls.Config) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true, DisableKeepAlives: true}}
}

// x509Client renews its access token by itself. Its client ID is the SPIFFE ID, and there is no secret.
func x509Client(ctx context.Context, client *http.Client, tokenURL, resource string, id spiffeid.ID) oauth2.TokenSource {
	config := clientcredentials.Config{
		ClientID:       id.String(),
		TokenURL:       tokenURL,
		AuthStyle:      oauth2.AuthStyleInParams,
		EndpointParams: url.Values{"resource": {resource}},
	}
	return config.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, client))
}

// grpcStubOver keeps its connection, and the SVID that it was opened with: it is closed and made anew when the source is updated.
func grpcStubOver(target string, config *tls.Config) (v1.TokenServiceClient, *grpc.ClientConn, error) {
	connection, err := grpc.NewClient(target, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	return v1.NewTokenServiceClient(connection), connection, err
}
