// Package apitest starts the real service inside a test, on servers of testenv,
// and gives a client that takes no answer which breaks the contract.
package apitest

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"log/slog"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/client"
	"github.com/flashsale-api/flashsale/internal/app"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/testenv"
)

const (
	// NoRedis is the RedisURL of a service that works without Redis.
	NoRedis = "none"

	// connections is how many a client keeps open: tests send crowds.
	connections = 512
	// secretBytes is the length of a webhook secret.
	secretBytes = 32
)

// Settings are what a test wants otherwise. The zero value is a service with a
// database of the test's own and the run's Redis, whose loops run once, at the start,
// so that a test sweeps and delivers when it wants to.
type Settings struct {
	DSN      string       // "": a new database
	RedisURL string       // "": the run's Redis; or NoRedis
	Environ  []string     // more of the service's environment, NAME=value
	Log      *slog.Logger // nil: the test's log
	Record   *Record      // nil: what was answered is not written down
	// Unchecked takes any answer: checking one costs more than making it.
	Unchecked bool
}

// API is a running service and its client. Every answer that reaches the client
// followed the contract; one that does not is the client's error.
type API struct {
	*client.ClientWithResponses
	// URL is the service's, without a slash at its end.
	URL string
	// Other is another process on the same servers, without HTTP and loops.
	Other *app.Core

	http           *http.Client
	standardSecret string
	stripeSecret   string
}

// coalesceVariable puts the services of a whole run on one path: on, off, or empty for the
// service's own choice.
const coalesceVariable = "FLASHSALE_TEST_COALESCE"

// path is the setting that it stands for.
func path() []string {
	if way := os.Getenv(coalesceVariable); way != "" {
		return []string{app.EnvCoalesce + "=" + way}
	}
	return nil
}

// Start runs a service until the test's end.
func Start(tb testing.TB, settings Settings) *API {
	tb.Helper()
	if settings.Log == nil {
		settings.Log = testenv.Logger(tb)
	}
	api := &API{
		standardSecret: "whsec_" + base64.StdEncoding.EncodeToString(randomBytes()),
		stripeSecret:   rand.Text(),
	}
	cfg, err := app.LoadConfig(api.environ(tb, settings))
	require.NoError(tb, err)
	api.URL = serve(tb, cfg, settings.Log)
	api.Other, err = app.Open(tb.Context(), cfg, settings.Log)
	require.NoError(tb, err)
	tb.Cleanup(func() { assert.NoError(tb, api.Other.Close()) })
	api.connect(tb, settings)
	return api
}

// Attach gives a client of a service that runs by itself, in whatever state it is. It
// takes any answer, within a limit, and knows the service's Standard Webhooks secret.
func Attach(tb testing.TB, url, standardSecret string, limit time.Duration) *API {
	tb.Helper()
	api := &API{URL: url, standardSecret: standardSecret}
	api.connect(tb, Settings{Unchecked: true})
	api.http.Timeout = limit
	return api
}

// AttachOver is Attach over a transport of the caller's own, without a limit.
func AttachOver(tb testing.TB, url, standardSecret string, transport http.RoundTripper) *API {
	tb.Helper()
	api := Attach(tb, url, standardSecret, 0)
	api.http.Transport = transport
	return api
}

func randomBytes() []byte {
	bytes := make([]byte, secretBytes)
	rand.Read(bytes)
	return bytes
}

func (a *API) environ(tb testing.TB, settings Settings) []string {
	tb.Helper()
	if settings.DSN == "" {
		settings.DSN = testenv.Database(tb)
	}
	switch settings.RedisURL {
	case "":
		settings.RedisURL, _ = testenv.Redis(tb)
	case NoRedis:
		settings.RedisURL = ""
	}
	return append([]string{
		app.EnvAddr + "=127.0.0.1:0",
		app.EnvAdminAddr + "=127.0.0.1:0",
		app.EnvMySQLDSN + "=" + settings.DSN,
		app.EnvRedisURL + "=" + settings.RedisURL,
		app.EnvWebhookSecrets + "=" + a.standardSecret,
		app.EnvStripeWebhookSecrets + "=" + a.stripeSecret,
		app.EnvSweepInterval + "=1h",
		app.EnvWebhookInterval + "=1h",
		app.EnvAuditInterval + "=0",
		app.EnvPurgeInterval + "=0",
		app.EnvOperationTimeout + "=" + testenv.Timeout.String(),
	}, append(path(), settings.Environ...)...)
}

// AsShipped sets the operation timeout that the service has by default, for a test
// whose subject is time.
func AsShipped() []string {
	return []string{app.EnvOperationTimeout + "=" + mysql.DefaultTimeout.String()}
}

// serve runs the service and gives its URL.
func serve(tb testing.TB, cfg app.Config, log *slog.Logger) string {
	tb.Helper()
	service, err := app.New(tb.Context(), cfg, "test", log)
	require.NoError(tb, err)
	tb.Cleanup(func() { assert.NoError(tb, service.Close()) })
	require.NoError(tb, service.Listen(tb.Context()))
	ctx, stop := context.WithCancel(context.WithoutCancel(tb.Context()))
	ended := make(chan error, 1)
	go func() { ended <- service.Run(ctx) }()
	tb.Cleanup(func() {
		stop()
		assert.NoError(tb, <-ended)
	})
	return "http://" + service.Addr().String()
}

// connect makes the client. It keeps no connection longer than the service lives.
func (a *API) connect(tb testing.TB, settings Settings) {
	tb.Helper()
	transport := &http.Transport{MaxIdleConns: connections, MaxIdleConnsPerHost: connections}
	tb.Cleanup(transport.CloseIdleConnections)
	a.http = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if !settings.Unchecked {
		contract, err := readContract()
		require.NoError(tb, err)
		a.http.Transport = &checker{base: transport, contract: contract, record: settings.Record}
	}
	var err error
	a.ClientWithResponses, err = client.NewClientWithResponses(a.URL, client.WithHTTPClient(a.http))
	require.NoError(tb, err)
}
