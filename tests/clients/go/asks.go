// The same clients, one exchange at a time: for ../../real/spire, which knows what SPIRE was told in between.
package main

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"golang.org/x/oauth2"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	v1 "countersign.example/check/countersignv1"
)

// ask is one exchange; its zero values are the X.509-SVID of the agent, over HTTP, on a connection of its own.
type ask struct {
	Resource string `json:"resource"`
	GRPC     bool   `json:"grpc"`
	Plain    bool   `json:"plain"`     // at ISSUER, without TLS, with a JWT-SVID
	JWT      bool   `json:"jwt"`       // with a JWT-SVID beside whatever the connection has
	Identity string `json:"identity"`  // "none", "foreign", or a folder as `spire-server x509 mint` leaves it
	ClientID string `json:"client_id"` // instead of the certificate's SPIFFE ID
	Keep     string `json:"keep"`      // the name of a connection that is kept, with the SVID that it was opened with
	Fetch    bool   `json:"fetch"`     // no exchange: asks the Workload API for an X.509-SVID
}

// told never has a token in it.
type told struct {
	Granted   bool   `json:"granted"`
	Subject   string `json:"subject,omitempty"`
	Bound     bool   `json:"bound"`               // to the certificate that was shown
	Reused    bool   `json:"reused"`              // the connection was open before
	Authority string `json:"authority,omitempty"` // which X.509 authority signed what was shown
	Expiry    int64  `json:"exp,omitempty"`
	Error     string `json:"error,omitempty"`
	Ref       string `json:"ref,omitempty"`
	Why       string `json:"why,omitempty"`
}

// line is a way to the server, with the SVID that it shows.
type line struct {
	svid   *x509svid.SVID
	client *http.Client
	stub   v1.TokenServiceClient
	close  func() error
}

type asker struct {
	there  overTLS
	plain  verifier
	source *workloadapi.X509Source
	kept   map[string]*line
}

func asks() {
	ctx := context.Background()
	source := must(x509Source(ctx, os.Getenv("WORKLOAD_API")))
	there, _, err := discovered(ctx, os.Getenv("TLS_ISSUER"), spiffeid.RequireFromString(os.Getenv("TLS_SERVER")), source)
	must(0, err)
	asker := asker{there, must(newVerifier(ctx, os.Getenv("ISSUER"), orders)), source, map[string]*line{}}
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var next ask
		if in.Decode(&next) != nil {
			return
		}
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		must(0, out.Encode(asker.does(ctx, next)))
		cancel()
	}
}

func (a *asker) does(ctx context.Context, asks ask) told {
	if asks.Fetch {
		svid, err := workloadapi.FetchX509SVID(ctx, workloadapi.WithAddr(os.Getenv("WORKLOAD_API")))
		if err != nil {
			return refusal(err)
		}
		return told{Subject: svid.ID.String(), Authority: authorityOf(svid)}
	}
	line, err := a.line(asks)
	if err != nil {
		return refusal(err)
	}
	if asks.Keep == "" {
		defer line.close()
	}
	var answer told
	connected := func(info httptrace.GotConnInfo) { answer.Reused = info.Reused }
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: connected})
	token, err := a.token(traced, asks, line)
	if err != nil {
		reused := answer.Reused
		answer = refusal(err)
		answer.Reused = reused
	} else {
		who, err := a.verifierFor(asks).verify(ctx, token, "at+jwt")
		if err != nil {
			return refusal(err)
		}
		answer.Granted, answer.Subject = true, who.Subject
		answer.Bound = line.svid != nil && who.Bound.Certificate == thumbprint(line.svid.Certificates[0])
	}
	if line.svid != nil {
		answer.Authority, answer.Expiry = authorityOf(line.svid), line.svid.Certificates[0].NotAfter.Unix()
	}
	return answer
}

func (a *asker) verifierFor(asks ask) verifier {
	switch {
	case asks.Plain:
		return a.plain
	case asks.Resource == vault:
		return a.there.vault
	default:
		return a.there.orders
	}
}

func (a *asker) line(asks ask) (*line, error) {
	if line := a.kept[asks.Keep]; line != nil {
		return line, nil
	}
	if asks.Plain {
		stub, err := grpcStub(must(url.Parse(os.Getenv("ISSUER"))).Host)
		return &line{stub: stub, client: http.DefaultClient, close: func() error { return nil }}, err
	}
	svid, err := a.identity(asks.Identity)
	if err != nil {
		return nil, err
	}
	config := func() *tls.Config {
		if svid == nil {
			return tlsconfig.TLSClientConfig(a.source, tlsconfig.AuthorizeID(a.there.server))
		}
		return mutualTLS(svid, a.source, a.there.server)
	}
	client := httpOver(config())
	client.Transport.(*http.Transport).DisableKeepAlives = asks.Keep == ""
	var connection *grpc.ClientConn
	opened := &line{svid: svid, client: client}
	opened.stub, connection, err = grpcStubOver(must(url.Parse(a.there.issuer)).Host, config())
	opened.close = connection.Close
	if asks.Keep != "" {
		a.kept[asks.Keep] = opened
	}
	return opened, err
}

func (a *asker) identity(name string) (*x509svid.SVID, error) {
	switch name {
	case "":
		return a.source.GetX509SVID()
	case "none":
		return nil, nil
	case "foreign":
		svid, err := a.source.GetX509SVID()
		if err != nil {
			return nil, err
		}
		return foreign(svid.ID)
	default:
		return x509svid.Load(filepath.Join(name, "svid.pem"), filepath.Join(name, "key.pem"))
	}
}

func (a *asker) token(ctx context.Context, asks ask, line *line) (string, error) {
	issuer, tokenURL, address := a.there.issuer, a.there.tokenURL, os.Getenv("WORKLOAD_API")
	if asks.Plain {
		issuer, tokenURL = os.Getenv("ISSUER"), os.Getenv("ISSUER")+"/token"
	}
	if asks.GRPC {
		request := &v1.ExchangeRequest{Resource: asks.Resource, ClientId: asks.ClientID}
		if asks.JWT {
			svid, err := fromWorkloadAPI(address, issuer)(ctx)
			if err != nil {
				return "", err
			}
			request = grpcAsksWithSVID(asks.Resource, svid)
		}
		answer, err := line.stub.Exchange(ctx, request)
		return answer.GetAccessToken(), err
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, line.client)
	var tokens oauth2.TokenSource
	if asks.JWT {
		tokens = spiffeClient(ctx, tokenURL, asks.Resource, address, issuer)
	} else {
		id := must(a.clientID(asks, line))
		tokens = x509Client(ctx, line.client, tokenURL, asks.Resource, id)
	}
	token, err := tokens.Token()
	if err != nil {
		return "", err
	}
	return token.AccessToken, nil
}

func (a *asker) clientID(asks ask, line *line) (spiffeid.ID, error) {
	if asks.ClientID != "" {
		return spiffeid.FromString(asks.ClientID)
	}
	if line.svid != nil {
		return line.svid.ID, nil
	}
	svid, err := a.source.GetX509SVID()
	if err != nil {
		return spiffeid.ID{}, err
	}
	return svid.ID, nil
}

func refusal(err error) told {
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) {
		var body struct {
			Ref string `json:"error_ref"`
		}
		err = json.Unmarshal(refused.Body, &body)
		return told{Error: refused.ErrorCode, Ref: body.Ref, Why: refused.ErrorDescription}
	}
	for _, detail := range status.Convert(err).Details() {
		if info, is := detail.(*errdetails.ErrorInfo); is {
			return told{Error: info.Reason, Ref: info.Metadata["ref"], Why: status.Convert(err).Message()}
		}
	}
	return told{Why: err.Error()}
}

func authorityOf(svid *x509svid.SVID) string {
	return hex.EncodeToString(svid.Certificates[0].AuthorityKeyId)
}
