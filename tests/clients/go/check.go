// Shows that the clients and the resource server beside this file work with countersign (AT-15, MD-12, OID-01, WAP-01).
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

const (
	orders = "https://orders.example"
	legacy = "https://legacy.example"

	spiffeID = "spiffe://prod.example/ns/shop/sa/api"
)

var passed, failed int

func check(what string, holds bool, why ...error) {
	if holds {
		passed++
		fmt.Println("ok  ", what)
		return
	}
	failed++
	fmt.Println("FAIL", what, errors.Join(why...))
}

func changed(token string) string {
	dot := strings.LastIndexByte(token, '.') + 1
	first := "A"
	if token[dot] == 'A' {
		first = "B"
	}
	return token[:dot] + first + token[dot+1:]
}

// secret writes down the signature of a token, which nothing that countersign or this program writes may hold.
func secret(token string) error {
	file, err := os.OpenFile(os.Getenv("SECRETS_FILE"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = fmt.Fprintln(file, token[strings.LastIndexByte(token, '.')+1:])
	return err
}

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Println("FAIL", err)
		os.Exit(1)
	}
	return value
}

// Told "asks" it does what it hears on stdin (see asks.go); otherwise it makes its own checks.
func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if len(os.Args) == 2 && os.Args[1] == "asks" {
		asks()
		return
	}
	issuer, tokenFile := os.Getenv("ISSUER"), os.Getenv("POD_TOKEN_FILE")
	identity := "spiffe://id.example/k8s/" + os.Getenv("CLUSTER_NAME") + "/ns/shop/sa/api"

	provider, err := oidc.NewProvider(ctx, issuer)
	check("go-oidc discovers the issuer", err == nil, err)
	tokenURL := provider.Endpoint().TokenURL

	pod := podClient(ctx, tokenURL, orders, tokenFile)
	token, err := pod.Token()
	check("x/oauth2 gets a token with the pod's file as assertion", err == nil && token.Valid() && token.Type() == "Bearer" && secret(token.AccessToken) == nil, err)
	check("there is neither an ID token nor a refresh token", token.RefreshToken == "" && token.Extra("id_token") == nil)
	again, err := pod.Token()
	check("it is kept until it ends", err == nil && again.AccessToken == token.AccessToken, err)

	server := must(newVerifier(ctx, issuer, orders))
	who, err := server.verify(ctx, token.AccessToken, "at+jwt")
	check("go-oidc verifies it: ES256, issuer, audience, times", err == nil && who.Subject == identity, err)
	check("its claims say cluster and namespace", err == nil && who.Source == os.Getenv("CLUSTER_NAME") && who.Namespace == "shop")
	check("its scope is what the answer said", err == nil && who.Scope == "read write" && token.Extra("scope") == who.Scope)

	spiffe := spiffeClient(ctx, tokenURL, orders, os.Getenv("WORKLOAD_API"), issuer)
	token2, err := spiffe.Token()
	check("go-spiffe gets a JWT-SVID, x/oauth2 a token with it", err == nil && secret(token2.AccessToken) == nil, err)
	who, err = server.verify(ctx, must(token2, err).AccessToken, "at+jwt")
	check("the SVID's own SPIFFE ID comes out", err == nil && who.Subject == spiffeID && who.Scope == "read", err)

	_, err = server.verify(ctx, changed(token.AccessToken), "at+jwt")
	check("a changed signature is refused", err != nil && strings.Contains(err.Error(), "signature"), err)
	_, err = must(newVerifier(ctx, issuer, "https://invoices.example")).verify(ctx, token.AccessToken, "at+jwt")
	check("a resource server with another audience refuses it", err != nil && strings.Contains(err.Error(), "audience"), err)

	old, err := podClient(ctx, tokenURL, legacy, tokenFile).Token()
	check("the resource for older verifiers gives a token", err == nil, err)
	archive := must(newVerifier(ctx, issuer, legacy))
	who, err = archive.verify(ctx, must(old, err).AccessToken, "JWT")
	check("go-oidc verifies that too: JWT, RS256", err == nil && who.Subject == identity, err)
	_, err = archive.verify(ctx, old.AccessToken, "at+jwt")
	check("a verifier that wants at+jwt refuses it", err != nil)

	refusals(ctx, tokenURL, tokenFile)
	overGRPC(ctx, server, issuer, string(must(os.ReadFile(tokenFile))))
	overMutualTLS(ctx, os.Getenv("TLS_ISSUER"), os.Getenv("TLS_SERVER"))
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 {
		os.Exit(1)
	}
}

func refusals(ctx context.Context, tokenURL, tokenFile string) {
	directory := must(os.MkdirTemp("", "countersign-go."))
	defer os.RemoveAll(directory)
	file, good := filepath.Join(directory, "token"), string(must(os.ReadFile(tokenFile)))
	must(0, os.WriteFile(file, []byte(changed(good)), 0o600))
	pod := podClient(ctx, tokenURL, orders, file)
	_, err := pod.Token()
	var refused *oauth2.RetrieveError
	told := errors.As(err, &refused) && refused.ErrorCode == "invalid_client" && strings.Contains(refused.ErrorDescription, " ref ")
	check("a refusal is x/oauth2's RetrieveError, with reference", told, err)
	must(0, os.WriteFile(file, []byte(good), 0o600))
	_, err = pod.Token()
	check("the file is read again: the same client then succeeds", err == nil, err)

	// Without AuthStyleInParams x/oauth2 tries a Basic header first and comes back without it.
	guessing := clientcredentials.Config{TokenURL: tokenURL, EndpointParams: map[string][]string{
		"client_assertion_type": {jwtBearer}, "client_assertion": {good}, "resource": {orders},
	}}
	_, err = guessing.Token(ctx)
	check("x/oauth2 also gets there when it has to guess how to authenticate", err == nil, err)
}
