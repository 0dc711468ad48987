package webhook_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/flashsale-api/flashsale/internal/payment"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/signature"
	"github.com/flashsale-api/flashsale/internal/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newSender(t *testing.T, allowPrivate bool) *webhook.Sender {
	t.Helper()
	sender := webhook.NewSender(webhook.Config{AllowPrivate: allowPrivate, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(sender.Close)
	return sender
}

// receive runs an endpoint.
func receive(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

func message(target string) sale.Message {
	return sale.Message{
		EventID: sale.NewEventID(), URL: target, Body: []byte(`{"type":"order.paid"}`),
		Secrets: []string{signature.NewSecret()},
	}
}

func TestWhatIsSentVerifiesWithEachSecret(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var body []byte
	server := receive(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusNoContent)
	})
	sent := message(server.URL + "/events?tenant=1")
	sent.Secrets = append(sent.Secrets, signature.NewSecret())
	answer := newSender(t, true).Send(t.Context(), sent)
	assert.Equal(t, sale.Answer{Status: http.StatusNoContent}, answer)
	assert.Equal(t, http.MethodPost, got.Method)
	assert.Equal(t, "/events?tenant=1", got.URL.String())
	assert.Equal(t, "application/json", got.Header.Get("Content-Type"))
	assert.Equal(t, "flashsale-webhooks", got.Header.Get("User-Agent"))
	assert.Equal(t, sent.EventID.String(), got.Header.Get("webhook-id"))
	assert.Equal(t, sent.Body, body)
	for _, secret := range sent.Secrets {
		verifier, err := payment.New(payment.Config{StandardSecrets: []string{secret}})
		require.NoError(t, err)
		_, err = verifier.Verify(got.Header, body, time.Now())
		require.NoError(t, err)
	}
}

func TestPrivateTargetsAreRefusedHoweverTheyAreWritten(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	server := receive(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	target, err := url.Parse(server.URL)
	require.NoError(t, err)
	sender := newSender(t, false)
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::1]", "0.0.0.0", "[::]", "LOCALHOST"} {
		answer := sender.Send(t.Context(), message("https://"+host+":"+target.Port()))
		assert.Equal(t, "the address is not public", answer.Failure, host)
	}
	assert.Zero(t, reached.Load())
	assert.Equal(t, http.StatusOK, newSender(t, true).Send(t.Context(), message(server.URL)).Status)
}

// An endpoint may be older than what is allowed now.
func TestNothingIsSentUnencryptedUnlessThatIsAllowed(t *testing.T) {
	t.Parallel()
	answer := newSender(t, false).Send(t.Context(), message("http://192.0.2.1/"))
	assert.Equal(t, sale.Answer{Failure: "the URL is not encrypted"}, answer)
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	inside := receive(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := receive(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, inside.URL, status) })
		answer := newSender(t, true).Send(t.Context(), message(server.URL))
		assert.Equal(t, status, answer.Status)
		assert.False(t, answer.Accepted())
	}
	assert.Zero(t, reached.Load())
}

func TestAFailureIsToldInFewWordsWithoutTheURL(t *testing.T) {
	t.Parallel()
	gone := receive(t, func(http.ResponseWriter, *http.Request) {})
	gone.Close()
	broken := receive(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	untrusted.StartTLS()
	t.Cleanup(untrusted.Close)
	var log bytes.Buffer
	sender := webhook.NewSender(webhook.Config{
		AllowPrivate: true, Log: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	t.Cleanup(sender.Close)
	for target, failure := range map[string]string{
		gone.URL + "/token":          "cannot connect",
		broken.URL + "/token":        "the connection broke",
		untrusted.URL + "/token":     "no trusted TLS connection",
		"http://example.com/token\n": "cannot be sent",
	} {
		assert.Equal(t, sale.Answer{Failure: failure}, sender.Send(t.Context(), message(target)))
	}
	assert.Contains(t, log.String(), "cannot connect")
	assert.NotContains(t, log.String(), "token")
}

func TestAnEndpointThatNeverEndsItsHandshakeKeepsNoConnection(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var made, open atomic.Int64
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			made.Add(1)
			open.Add(1)
			served.Go(func() {
				defer open.Add(-1)
				defer func() { _ = conn.Close() }()
				_, _ = io.Copy(io.Discard, conn) // until the sender goes
			})
		}
	})
	t.Cleanup(served.Wait)
	t.Cleanup(func() { _ = listener.Close() })
	sender := webhook.NewSender(webhook.Config{AllowPrivate: true, Timeout: 50 * time.Millisecond, Log: slog.New(slog.DiscardHandler)})
	for range 3 {
		assert.Equal(t, sale.Answer{Failure: "timeout"}, sender.Send(t.Context(), message("https://"+listener.Addr().String())))
	}
	require.Eventually(t, func() bool { return made.Load() > 0 && open.Load() == 0 }, 10*time.Second, time.Millisecond)
}

func TestAnAttemptEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	server := receive(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body) // else the server does not see that the client goes
		cancel()
		<-r.Context().Done()
	})
	assert.Equal(t, sale.Answer{Failure: "cut off"}, newSender(t, true).Send(ctx, message(server.URL)))
}

func TestAStatusCountsWhateverComesOfTheBody(t *testing.T) {
	t.Parallel()
	server := receive(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000000")
		w.WriteHeader(http.StatusOK)
	})
	assert.Equal(t, sale.Answer{Status: http.StatusOK}, newSender(t, true).Send(t.Context(), message(server.URL)))
}

func TestAnEndpointsURLIsPublicAndEncryptedUnlessMoreIsAllowed(t *testing.T) {
	t.Parallel()
	strict, open := newSender(t, false), newSender(t, true)
	for _, good := range []string{
		"https://example.com/events", "https://example.com:8443/?a=b", "https://8.8.8.8/", "https://[2606:4700::1111]/",
		"https://localhost/", // a name: looked at when it is dialled
	} {
		require.NoError(t, strict.CheckURL(good), good)
		require.NoError(t, open.CheckURL(good), good)
	}
	for _, private := range []string{
		"http://example.com/", "https://127.0.0.1/", "https://10.1.2.3/", "https://[::1]/", "https://[::ffff:127.0.0.1]/",
		"https://169.254.169.254/latest", "https://[fe80::1%25eth0]/",
	} {
		require.Error(t, strict.CheckURL(private), private)
		require.NoError(t, open.CheckURL(private), private)
	}
	for _, bad := range []string{
		"", "example.com", "ftp://example.com", "https://", "https:///path", "https:example.com", "https://user@example.com/",
		"https://user:word@example.com/", "https://example.com/#part", "https://example.com/#", "https://exa mple.com/",
		"https://example.com:port/", "file:///etc/passwd", "//example.com/", "https://:443/",
	} {
		require.Error(t, strict.CheckURL(bad), bad)
		require.Error(t, open.CheckURL(bad), bad)
	}
}
