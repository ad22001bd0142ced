// A workload with go-spiffe: fetches JWT-SVIDs from its agent and exchanges them until it is told to end.
//
// Each round exchanges the newest SVID of every key that it has been given SVIDs of, while they live: so an SVID that was fetched before
// is shown again when the agent is gone, and one whose key was revoked is shown still. One JSON line for each exchange on stdout; never a token.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

const (
	// What has less to live may be refused: it would be dead before its token is used.
	leastLife = 15 * time.Second
	// Looked at this often; the agent keeps an SVID for half of its life.
	fetchEvery = 500 * time.Millisecond
	// A refused SVID is shown this often in all, then it has been refused often enough.
	mostRefusals = 60
)

var (
	agent    = flag.String("agent", "", "address of the Workload API")
	issuer   = flag.String("issuer", "", "audience of the SVIDs; its /token is asked")
	resource = flag.String("resource", "", "what the tokens are for")
	perSec   = flag.Int("rate", 5, "rounds in a second")
	count    = flag.Int("count", 100_000, "most exchanges")
	last     = flag.Duration("for", 10*time.Minute, "longest run")
)

type event struct {
	Event  string `json:"event"` // granted, refused, unanswered, no_svid, svid, end
	Began  int64  `json:"began,omitempty"`
	Ended  int64  `json:"ended,omitempty"`
	KeyID  string `json:"kid,omitempty"`
	Expiry int64  `json:"exp,omitempty"`
	Status int    `json:"status,omitempty"`
	Error  string `json:"error,omitempty"`
	Ref    string `json:"ref,omitempty"`
	Why    string `json:"why,omitempty"`

	Granted    int `json:"granted,omitempty"`
	Refused    int `json:"refused,omitempty"`
	Unanswered int `json:"unanswered,omitempty"`
}

var writing sync.Mutex

func tell(e event) {
	writing.Lock()
	defer writing.Unlock()
	if json.NewEncoder(os.Stdout).Encode(e) != nil {
		os.Exit(1)
	}
}

type kept struct {
	svid     *jwtsvid.SVID
	refusals int
}

// keep holds the newest SVID of each key.
type keep struct {
	sync.Mutex
	byKey map[string]*kept
}

func keyID(svid *jwtsvid.SVID) string {
	parsed, err := jwt.ParseSigned(svid.Marshal(), []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.ES512, jose.RS256, jose.RS384, jose.RS512})
	if err != nil {
		return ""
	}
	return parsed.Headers[0].KeyID
}

func (k *keep) fetch(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	svid, err := workloadapi.FetchJWTSVID(ctx, jwtsvid.Params{Audience: *issuer}, workloadapi.WithAddr(*agent))
	if err != nil {
		if ctx.Err() != context.Canceled {
			tell(event{Event: "no_svid", Began: time.Now().UnixMilli(), Why: err.Error()})
		}
		return
	}
	k.Lock()
	defer k.Unlock()
	key := keyID(svid)
	if known := k.byKey[key]; known != nil && known.svid.Marshal() == svid.Marshal() {
		return
	}
	k.byKey[key] = &kept{svid: svid}
	tell(event{Event: "svid", Began: time.Now().UnixMilli(), KeyID: key, Expiry: svid.Expiry.Unix()})
}

// living gives what is still worth showing.
func (k *keep) living() []*kept {
	k.Lock()
	defer k.Unlock()
	var living []*kept
	for _, each := range k.byKey {
		if time.Until(each.svid.Expiry) > leastLife && each.refusals < mostRefusals {
			living = append(living, each)
		}
	}
	return living
}

func exchange(client *http.Client, svid *jwtsvid.SVID) event {
	e := event{Began: time.Now().UnixMilli(), KeyID: keyID(svid), Expiry: svid.Expiry.Unix()}
	response, err := client.PostForm(*issuer+"/token", url.Values{
		"grant_type":            {"client_credentials"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"},
		"client_assertion":      {svid.Marshal()},
		"resource":              {*resource},
	})
	if err != nil {
		e.Event, e.Why = "unanswered", err.Error()
		return e
	}
	defer response.Body.Close()
	var answer struct {
		Token string `json:"access_token"`
		Error string `json:"error"`
		Ref   string `json:"error_ref"`
	}
	err = json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&answer)
	e.Ended, e.Status, e.Error, e.Ref = time.Now().UnixMilli(), response.StatusCode, answer.Error, answer.Ref
	switch {
	case err != nil:
		e.Event, e.Why = "unanswered", "the answer is not JSON"
	case response.StatusCode == http.StatusOK && strings.Count(answer.Token, ".") == 2:
		e.Event = "granted"
	default:
		e.Event = "refused"
	}
	return e
}

func main() {
	flag.Parse()
	ctx, ended := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer ended()
	ctx, cancel := context.WithTimeout(ctx, *last)
	defer cancel()
	http.DefaultTransport.(*http.Transport).Proxy = nil // everything is on this machine
	client := &http.Client{Timeout: 10 * time.Second}
	held := &keep{byKey: map[string]*kept{}}
	go func() {
		for ctx.Err() == nil {
			held.fetch(ctx)
			select {
			case <-ctx.Done():
			case <-time.After(fetchEvery):
			}
		}
	}()

	total := event{Event: "end"}
	rounds := time.NewTicker(time.Second / time.Duration(max(*perSec, 1)))
	defer rounds.Stop()
	for done := 0; done < *count; {
		select {
		case <-ctx.Done():
			done = *count
		case <-rounds.C:
			for _, each := range held.living() {
				e := exchange(client, each.svid)
				tell(e)
				done++
				switch e.Event {
				case "granted":
					total.Granted++
				case "refused":
					total.Refused++
					each.refusals++
				default:
					total.Unanswered++
				}
			}
		}
	}
	tell(total)
}
