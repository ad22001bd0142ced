// Shows that the clients over gRPC work with countersign (GRP-01, GRP-02, GRP-05).
package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	v1 "countersign.example/check/countersignv1"
)

// refusedWith tells whether a call was refused so, with a reference and without a token.
func refusedWith(err error, code codes.Code, reason string) bool {
	told := status.Convert(err)
	for _, detail := range told.Details() {
		info, is := detail.(*errdetails.ErrorInfo)
		if is && info.Domain == "countersign" && info.Reason == reason {
			referred := info.Metadata["ref"] != "" && strings.Contains(told.Message(), " ref "+info.Metadata["ref"])
			return told.Code() == code && referred && !strings.Contains(fmt.Sprint(told), "eyJ")
		}
	}
	return false
}

func overGRPC(ctx context.Context, server verifier, issuer, podToken string) {
	stub := must(grpcStub(must(url.Parse(issuer)).Host))
	answer, err := stub.Exchange(ctx, grpcAsks(orders, podToken, 0))
	check("grpc-go gets a token with the pod's file", err == nil && answer.GetTokenType() == "Bearer", err)
	who, err := server.verify(ctx, answer.GetAccessToken(), "at+jwt")
	check("go-oidc verifies it", err == nil && strings.HasSuffix(who.Subject, "/ns/shop/sa/api"), err)
	check("its scopes are what the answer said", err == nil && slices.Equal(strings.Fields(who.Scope), answer.GetScopes()))
	refresh, ends := answer.GetRefreshIn().AsDuration(), answer.GetExpiresIn().AsDuration()
	check("it says when to come back", time.Minute < refresh && refresh < ends)
	short, err := stub.Exchange(ctx, grpcAsks(orders, podToken, 10))
	check("a shorter life is given", err == nil && short.GetExpiresIn().GetSeconds() == 10, err)

	fetch := fromWorkloadAPI(os.Getenv("WORKLOAD_API"), issuer)
	svid := must(fetch(ctx))
	answer, err = stub.Exchange(ctx, grpcAsksWithSVID(orders, svid))
	check("go-spiffe gets a JWT-SVID, grpc-go a token with it", err == nil && verifiedAs(ctx, server, answer, spiffeID), err)
	bearer := metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+svid)
	answer, err = stub.Exchange(bearer, &v1.ExchangeRequest{Resource: orders})
	check("and with the JWT-SVID in the metadata", err == nil && verifiedAs(ctx, server, answer, spiffeID), err)

	_, err = stub.Exchange(bearer, grpcAsks(orders, podToken, 0))
	check("two credentials are refused", refusedWith(err, codes.InvalidArgument, "CREDENTIAL_AMBIGUOUS"), err)
	_, err = stub.Exchange(ctx, &v1.ExchangeRequest{Resource: orders})
	check("and none", refusedWith(err, codes.Unauthenticated, "CREDENTIAL_MISSING"), err)
	_, err = stub.Exchange(ctx, grpcAsks(orders, changed(podToken), 0))
	check("a changed signature is refused, with ErrorInfo and reference", refusedWith(err, codes.Unauthenticated, "SIGNATURE_INVALID"), err)

	watched, cancel := context.WithCancel(ctx)
	defer cancel()
	tokens := must(watchTokens(watched, stub, orders, fetch))
	first, err := tokens.next()
	check("Watch gives a token at once", err == nil && verifiedAs(ctx, server, first, spiffeID), err)
	must(0, tokens.renew())
	second, err := tokens.next()
	another := second.GetAccessToken() != first.GetAccessToken() && verifiedAs(ctx, server, second, spiffeID)
	check("a fresh JWT-SVID gives another", err == nil && another, err)
	other := &v1.FreshCredential{Credential: &v1.FreshCredential_FederatedJwt{FederatedJwt: podToken}}
	must(0, tokens.stream.Send(&v1.WatchRequest{Message: &v1.WatchRequest_FreshCredential{FreshCredential: other}}))
	_, err = tokens.next()
	check("a credential of another identity ends the stream", refusedWith(err, codes.Unauthenticated, "CLIENT_ID_MISMATCH"), err)
}

func verifiedAs(ctx context.Context, server verifier, answer *v1.ExchangeResponse, subject string) bool {
	who, err := server.verify(ctx, answer.GetAccessToken(), "at+jwt")
	return err == nil && who.Subject == subject && secret(answer.GetAccessToken()) == nil
}
