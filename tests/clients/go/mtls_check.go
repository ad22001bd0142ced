// Shows that the clients over mutual TLS work with countersign (MTL-01, MTL-02, MTL-04, SCA-08, SCA-14, XSV-05).
package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"math/big"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"golang.org/x/oauth2"
	"google.golang.org/grpc/codes"

	v1 "countersign.example/check/countersignv1"
)

const vault = "https://vault.example"

// overTLS is the server over TLS, and how to be sure that it is the one.
type overTLS struct {
	issuer, tokenURL string
	server           spiffeid.ID
	bundle           x509bundle.Source
	orders, vault    verifier
}

// refusedAs tells whether x/oauth2 was refused so, with a reference and without a token.
func refusedAs(err error, code string) bool {
	var refused *oauth2.RetrieveError
	told := errors.As(err, &refused) && refused.ErrorCode == code && strings.Contains(refused.ErrorDescription, " ref ")
	return told && !strings.Contains(err.Error(), "eyJ")
}

func overMutualTLS(ctx context.Context, issuer, server string) {
	source := must(x509Source(ctx, os.Getenv("WORKLOAD_API")))
	defer source.Close()
	svid := must(source.GetX509SVID())
	check("go-spiffe gets an X.509-SVID", svid.ID.String() == spiffeID)
	there, says, err := discovered(ctx, issuer, spiffeid.RequireFromString(server), source)
	check("go-oidc discovers the issuer, which shows its own X.509-SVID", err == nil, err)
	check("its metadata has spiffe_x509 and bound tokens", slices.Contains(says.Methods, "spiffe_x509") && says.Bound)
	grantedOverTLS(ctx, there, svid)
	refusedOverTLS(ctx, there, svid)
	grpcOverTLS(ctx, there, svid)
}

type serverMetadata struct {
	Methods []string `json:"token_endpoint_auth_methods_supported"`
	Bound   bool     `json:"tls_client_certificate_bound_access_tokens"`
}

// discovered is what a resource server does: without a certificate of its own, and only with the bundle.
func discovered(ctx context.Context, issuer string, server spiffeid.ID, bundle x509bundle.Source) (there overTLS, says serverMetadata, err error) {
	ctx = oidc.ClientContext(ctx, httpOver(tlsconfig.TLSClientConfig(bundle, tlsconfig.AuthorizeID(server))))
	provider, err := oidc.NewProvider(ctx, issuer)
	if err != nil {
		return there, says, err
	}
	there = overTLS{issuer: issuer, tokenURL: provider.Endpoint().TokenURL, server: server, bundle: bundle}
	there.orders, there.vault = must(newVerifier(ctx, issuer, orders)), must(newVerifier(ctx, issuer, vault))
	return there, says, provider.Claims(&says)
}

// token asks once, as the client with this ID, over a connection with this SVID.
func (t overTLS) token(ctx context.Context, svid x509svid.Source, id spiffeid.ID, resource string) (*oauth2.Token, error) {
	token, err := x509Client(ctx, httpOver(mutualTLS(svid, t.bundle, t.server)), t.tokenURL, resource, id).Token()
	if err != nil {
		return nil, err
	}
	return token, secret(token.AccessToken)
}

// isBoundTo tells whether a token for the vault is this caller's, may come with this SVID's certificate and with no other.
func (t overTLS) isBoundTo(ctx context.Context, token string, svid *x509svid.SVID) bool {
	who, err := t.vault.verify(ctx, token, "at+jwt")
	if err != nil || who.Subject != svid.ID.String() || who.Bound.Certificate == "" {
		return false
	}
	return who.mayUse(svid.Certificates[0]) && !who.mayUse(nil) && !who.mayUse(must(foreign(svid.ID)).Certificates[0])
}

func grantedOverTLS(ctx context.Context, there overTLS, svid *x509svid.SVID) {
	token, err := there.token(ctx, svid, svid.ID, orders)
	check("x/oauth2 gets a token with the certificate of the connection alone", err == nil && token.Valid(), err)
	who, err := there.orders.verify(ctx, must(token, err).AccessToken, "at+jwt")
	check("go-oidc verifies it: the certificate's SPIFFE ID, and not bound", err == nil && who.Subject == spiffeID && who.Scope == "read" && who.mayUse(nil), err)
	token, err = there.token(ctx, svid, svid.ID, vault)
	check("where the resource wants it, it is bound to the certificate", err == nil && there.isBoundTo(ctx, token.AccessToken, svid), err)

	client := context.WithValue(ctx, oauth2.HTTPClient, httpOver(mutualTLS(svid, there.bundle, there.server)))
	token, err = spiffeClient(client, there.tokenURL, vault, os.Getenv("WORKLOAD_API"), there.issuer).Token()
	check("so is one with a JWT-SVID over that connection", err == nil && there.isBoundTo(ctx, token.AccessToken, svid), err)
}

func refusedOverTLS(ctx context.Context, there overTLS, svid *x509svid.SVID) {
	bare := httpOver(tlsconfig.TLSClientConfig(there.bundle, tlsconfig.AuthorizeID(there.server)))
	_, err := x509Client(ctx, bare, there.tokenURL, orders, svid.ID).Token()
	check("without a certificate it is refused", refusedAs(err, "invalid_client"), err)
	client := context.WithValue(ctx, oauth2.HTTPClient, bare)
	_, err = spiffeClient(client, there.tokenURL, vault, os.Getenv("WORKLOAD_API"), there.issuer).Token()
	check("and a JWT-SVID gets no token that has to be bound", refusedAs(err, "invalid_request"), err)
	_, err = spiffeClient(client, there.tokenURL, orders, os.Getenv("WORKLOAD_API"), there.issuer).Token()
	check("but one that need not be", err == nil, err)
	_, err = there.token(ctx, svid, spiffeid.RequireFromString(spiffeID+"2"), orders)
	check("another client_id than the certificate's is refused", refusedAs(err, "invalid_client"), err)
	_, err = there.token(ctx, svid, spiffeid.ID{}, orders)
	check("and none", refusedAs(err, "invalid_client"), err)
	_, err = there.token(ctx, must(foreign(svid.ID)), svid.ID, orders)
	check("a certificate with the same SPIFFE ID by another authority is refused", refusedAs(err, "invalid_client"), err)
	stranger := spiffeid.RequireFromString("spiffe://stranger.example/ns/shop/sa/api")
	_, err = there.token(ctx, must(foreign(stranger)), stranger, orders)
	check("and one of a trust domain that is no source", refusedAs(err, "invalid_client"), err)
	_, err = there.token(ctx, svid, svid.ID, orders)
	check("the good one is still granted", err == nil, err)

	there.server = spiffeid.RequireFromString("spiffe://prod.example/another")
	_, err = there.token(ctx, svid, svid.ID, orders)
	var refused *oauth2.RetrieveError
	check("a client that expects another server does not speak to this one", err != nil && !errors.As(err, &refused) && strings.Contains(err.Error(), "unexpected ID"), err)
}

func grpcOverTLS(ctx context.Context, there overTLS, svid *x509svid.SVID) {
	ask := func(svid x509svid.Source, asks *v1.ExchangeRequest) (string, error) {
		config := tlsconfig.TLSClientConfig(there.bundle, tlsconfig.AuthorizeID(there.server))
		if svid != nil {
			config = mutualTLS(svid, there.bundle, there.server)
		}
		stub, connection, err := grpcStubOver(must(url.Parse(there.issuer)).Host, config)
		if err != nil {
			return "", err
		}
		defer connection.Close()
		answer, err := stub.Exchange(ctx, asks)
		if err != nil {
			return "", err
		}
		return answer.GetAccessToken(), secret(answer.GetAccessToken())
	}
	token, err := ask(svid, &v1.ExchangeRequest{Resource: orders})
	check("grpc-go gets a token with the certificate of the connection alone", err == nil, err)
	who, err := there.orders.verify(ctx, token, "at+jwt")
	check("go-oidc verifies that too", err == nil && who.Subject == spiffeID && who.mayUse(nil), err)
	token, err = ask(svid, &v1.ExchangeRequest{Resource: vault, ClientId: spiffeID})
	check("over gRPC too it is bound where the resource wants it", err == nil && there.isBoundTo(ctx, token, svid), err)
	jwtSVID := must(fromWorkloadAPI(os.Getenv("WORKLOAD_API"), there.issuer)(ctx))
	token, err = ask(svid, grpcAsksWithSVID(vault, jwtSVID))
	check("and with a JWT-SVID", err == nil && there.isBoundTo(ctx, token, svid), err)

	_, err = ask(nil, &v1.ExchangeRequest{Resource: orders})
	check("over gRPC too it is refused without a certificate", refusedWith(err, codes.Unauthenticated, "CREDENTIAL_MISSING"), err)
	_, err = ask(nil, grpcAsksWithSVID(vault, jwtSVID))
	check("and a JWT-SVID without one, where it has to be bound", refusedWith(err, codes.FailedPrecondition, "BINDING_REQUIRED"), err)
	_, err = ask(svid, &v1.ExchangeRequest{Resource: orders, ClientId: spiffeID + "2"})
	check("and with another client ID", refusedWith(err, codes.Unauthenticated, "CLIENT_ID_MISMATCH"), err)
	_, err = ask(must(foreign(svid.ID)), &v1.ExchangeRequest{Resource: orders})
	check("and by another authority", refusedWith(err, codes.Unauthenticated, "SIGNATURE_INVALID"), err)

	stub, connection, err := grpcStubOver(must(url.Parse(there.issuer)).Host, mutualTLS(svid, there.bundle, there.server))
	defer must(connection, err).Close()
	stream := must(stub.Watch(ctx))
	asks := &v1.WatchRequest_Exchange{Exchange: &v1.ExchangeRequest{Resource: vault}}
	must(0, stream.Send(&v1.WatchRequest{Message: asks}))
	told, err := stream.Recv()
	watched := told.GetToken().GetAccessToken()
	check("Watch gives a bound token at once", err == nil && secret(watched) == nil && there.isBoundTo(ctx, watched, svid), err)
}

// foreign is an X.509-SVID in all but its authority, which nobody knows.
func foreign(id spiffeid.ID) (*x509svid.SVID, error) {
	template := func(serial int64) *x509.Certificate {
		return &x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true}
	}
	authority, leaf := template(1), template(2)
	authority.IsCA, authority.KeyUsage = true, x509.KeyUsageCertSign
	authority.URIs = []*url.URL{id.TrustDomain().ID().URL()}
	leaf.KeyUsage, leaf.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	leaf.URIs = []*url.URL{id.URL()}
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	signed, err := x509.CreateCertificate(rand.Reader, leaf, authority, key.Public(), crypto.Signer(authorityKey))
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(signed)
	return &x509svid.SVID{ID: id, Certificates: []*x509.Certificate{certificate}, PrivateKey: key}, err
}
