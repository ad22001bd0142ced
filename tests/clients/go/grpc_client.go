// Clients over gRPC: one access token, or a stream of them, with a pod's token file or a JWT-SVID. Stubs are made from our proto.
package main

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	v1 "countersign.example/check/countersignv1"
)

// grpcStub is without TLS, on loopback; elsewhere it takes credentials.NewTLS.
func grpcStub(target string) (v1.TokenServiceClient, error) {
	connection, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	return v1.NewTokenServiceClient(connection), err
}

// grpcAsks is a request with a pod's token; seconds may only shorten the life, and 0 leaves it.
func grpcAsks(resource, podToken string, seconds int64) *v1.ExchangeRequest {
	asks := &v1.ExchangeRequest{Resource: resource, Credential: &v1.ExchangeRequest_FederatedJwt{FederatedJwt: podToken}}
	if seconds > 0 {
		asks.MaxLifetime = &durationpb.Duration{Seconds: seconds}
	}
	return asks
}

func grpcAsksWithSVID(resource, svid string) *v1.ExchangeRequest {
	return &v1.ExchangeRequest{Resource: resource, Credential: &v1.ExchangeRequest_JwtSvid{JwtSvid: svid}}
}

// assertion is a JWT-SVID that is taken anew each time.
type assertion = func(context.Context) (string, error)

// grpcTokens is a stream of access tokens, which gets a fresh JWT-SVID from the Workload API whenever one is needed.
type grpcTokens struct {
	ctx    context.Context
	stream grpc.BidiStreamingClient[v1.WatchRequest, v1.WatchResponse]
	svid   assertion
}

func watchTokens(ctx context.Context, stub v1.TokenServiceClient, resource string, svid assertion) (*grpcTokens, error) {
	stream, err := stub.Watch(ctx)
	if err != nil {
		return nil, err
	}
	first, err := svid(ctx)
	if err != nil {
		return nil, err
	}
	asks := &v1.WatchRequest_Exchange{Exchange: grpcAsksWithSVID(resource, first)}
	return &grpcTokens{ctx, stream, svid}, stream.Send(&v1.WatchRequest{Message: asks})
}

// next waits for the token to use from now on; its error is the status that ended the stream.
func (t *grpcTokens) next() (*v1.ExchangeResponse, error) {
	for {
		told, err := t.stream.Recv()
		if err != nil {
			return nil, err
		}
		if token := told.GetToken(); token != nil {
			return token, nil
		}
		if err := t.renew(); err != nil {
			return nil, err
		}
	}
}

func (t *grpcTokens) renew() error {
	svid, err := t.svid(t.ctx)
	if err != nil {
		return err
	}
	fresh := &v1.FreshCredential{Credential: &v1.FreshCredential_JwtSvid{JwtSvid: svid}}
	return t.stream.Send(&v1.WatchRequest{Message: &v1.WatchRequest_FreshCredential{FreshCredential: fresh}})
}
