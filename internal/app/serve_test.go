package app

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/flashsale-api/flashsale/internal/testenv"
)

// patience is what a test waits for something that has to come, before it fails.
const patience = 30 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// diary is what happened, in order.
type diary struct {
	mu     sync.Mutex
	events []string
}

func (d *diary) write(event string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = append(d.events, event)
}

func (d *diary) read() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.events...)
}

// service is an App on a database of the test's own.
type service struct {
	*App
	stop    context.CancelFunc
	stopped chan error
	client  *http.Client
}

func newService(t *testing.T, environ ...string) *service {
	t.Helper()
	cfg, err := LoadConfig(append([]string{
		EnvOperationTimeout + "=" + testenv.Timeout.String(),
		EnvMySQLDSN + "=" + testenv.Database(t), EnvAddr + "=127.0.0.1:0", EnvAdminAddr + "=127.0.0.1:0",
	}, environ...))
	require.NoError(t, err)
	a, err := New(t.Context(), cfg, "1.2.3", testenv.Logger(t))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, a.Close()) })
	require.NoError(t, a.Listen(t.Context()))
	return &service{App: a, stopped: make(chan error, 1), client: &http.Client{Transport: &http.Transport{}}}
}

func (s *service) start(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	go func() { s.stopped <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		s.client.CloseIdleConnections()
	})
}

func (s *service) get(t *testing.T, ln net.Listener, path string) (status int, body string) {
	t.Helper()
	status, body, err := s.fetch(ln, path)
	require.NoError(t, err)
	return status, body
}

func (s *service) fetch(ln net.Listener, path string) (status int, body string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+ln.Addr().String()+path, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), errors.Join(err, resp.Body.Close())
}

func wait[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case got := <-from:
		return got
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

func TestShutdownIsNotReadyThenDrainsThenStopsTheLoops(t *testing.T) {
	s := newService(t)
	var events diary
	paused, goOn := make(chan struct{}), make(chan struct{})
	s.pause = func(time.Duration) {
		close(paused)
		<-goOn
	}
	inFlight, finish := make(chan struct{}), make(chan struct{})
	api := s.api.Handler
	s.api.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/slow" {
			api.ServeHTTP(w, r)
			return
		}
		close(inFlight)
		<-finish
		events.write("request done")
		w.WriteHeader(http.StatusNoContent)
	})
	s.workers = append(s.workers, func(ctx context.Context) error {
		<-ctx.Done()
		events.write("loop stopped")
		return nil
	})
	listenerClosed := make(chan struct{})
	s.api.RegisterOnShutdown(func() { close(listenerClosed) })
	s.start(t)

	status, body := s.get(t, s.apiLn, "/readyz")
	require.Equal(t, http.StatusOK, status, body)
	s.stop()
	wait(t, "the pause before the drain", paused)
	status, _ = s.get(t, s.apiLn, "/readyz")
	assert.Equal(t, http.StatusServiceUnavailable, status, "not ready, while it still listens")
	status, _ = s.get(t, s.apiLn, "/livez")
	assert.Equal(t, http.StatusOK, status)

	slow := make(chan int, 1)
	go func() {
		status, _, err := s.fetch(s.apiLn, "/slow")
		assert.NoError(t, err)
		slow <- status
	}()
	wait(t, "the slow request", inFlight)
	close(goOn)
	wait(t, "the listener to close", listenerClosed)
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", s.apiLn.Addr().String())
	if err == nil {
		require.NoError(t, conn.Close())
	}
	require.Error(t, err, "no new connections while requests in flight end")
	require.NoError(t, s.core.DB.Ping(t.Context()), "the pools outlive the requests")
	close(finish)
	assert.Equal(t, http.StatusNoContent, wait(t, "the slow answer", slow))
	require.NoError(t, wait(t, "Run to return", s.stopped))
	assert.Equal(t, []string{"request done", "loop stopped"}, events.read())
	s.client.CloseIdleConnections()
}

func TestAStoppingServerAnswersOnEachConnectionOnceMoreAndAsksForItsEnd(t *testing.T) {
	s := newService(t)
	paused, goOn := make(chan struct{}), make(chan struct{})
	s.pause = func(time.Duration) {
		close(paused)
		<-goOn
	}
	s.start(t)
	ask := func() (reused, last bool) {
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused },
		})
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.apiLn.Addr().String()+"/livez", http.NoBody)
		require.NoError(t, err)
		resp, err := s.client.Do(req)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, errors.Join(err, resp.Body.Close()))
		require.Equal(t, http.StatusOK, resp.StatusCode)
		return reused, resp.Close
	}
	_, last := ask()
	require.False(t, last)
	s.stop()
	wait(t, "the pause before the drain", paused)
	reused, last := ask()
	assert.True(t, reused, "an idle connection is not closed under a client that may be sending")
	assert.True(t, last)
	reused, last = ask()
	assert.False(t, reused)
	assert.True(t, last)
	close(goOn)
	require.NoError(t, wait(t, "Run to return", s.stopped))
}

func TestTheAdminAddressServesMetricsProfilesAndHealthAndTheAPIServesNoneOfItsOwn(t *testing.T) {
	s := newService(t)
	s.start(t)
	status, body := s.get(t, s.adminLn, "/metrics")
	assert.Equal(t, http.StatusOK, status)
	assert.Contains(t, body, "go_goroutines")
	for _, path := range []string{"/livez", "/readyz", "/debug/pprof/", "/debug/pprof/cmdline"} {
		status, _ := s.get(t, s.adminLn, path)
		assert.Equal(t, http.StatusOK, status, path)
	}
	for _, path := range []string{"/metrics", "/debug/pprof/"} {
		status, _ := s.get(t, s.apiLn, path)
		assert.Equal(t, http.StatusNotFound, status, path)
	}
	s.stop()
	require.NoError(t, wait(t, "Run to return", s.stopped))
}

// What an operator sees of the engine: that batches were served, how long they and their
// commits took, who waits and who was sent away.
func TestTheEnginesMetricsShowOnTheAdminAddress(t *testing.T) {
	s := newService(t)
	s.start(t)
	product := idle{s.App}.product(t, 10)
	for _, answer := range (idle{s.App}).rush(holdRequests(t, product, 1)) {
		require.Equal(t, http.StatusCreated, answer.status)
	}
	var body string
	require.Eventually(t, func() bool { // a batch ends after its answers
		_, body = s.get(t, s.adminLn, "/metrics")
		return strings.Contains(body, "flashsale_lane_batch_duration_seconds_count{lane=\"holds\"} 1\n")
	}, patience, 10*time.Millisecond)
	for _, series := range []string{
		`flashsale_lane_batch_size_sum{lane="holds"} 1`, `flashsale_lane_batch_size_count{lane="holds"} 1`,
		`flashsale_lane_wait_seconds_count{lane="holds"} 1`, `flashsale_lane_batch_duration_seconds_count{lane="holds"} 1`,
		`flashsale_gate_waiting_requests{gate="products"} 0`, `flashsale_gate_overloaded_total{gate="products"} 0`,
		`flashsale_lane_waiting_requests{lane="holds"} 0`, `flashsale_lane_overloaded_total{lane="holds"} 0`,
	} {
		assert.Contains(t, body, "\n"+series+"\n")
	}
	assert.Regexp(t, `\nflashsale_commit_duration_seconds_count [1-9]`, body)
	s.stop()
	require.NoError(t, wait(t, "Run to return", s.stopped))
}

func TestTheBooksAreAuditedBesideTheAPIUnlessThatIsOff(t *testing.T) {
	s, off := newService(t, EnvAuditInterval+"=100ms"), newService(t, EnvAuditInterval+"=0")
	s.start(t)
	off.start(t)
	require.Eventually(t, func() bool {
		_, body := s.get(t, s.adminLn, "/metrics")
		return strings.Contains(body, "\nflashsale_stock_imbalance_units 0\n")
	}, patience, 10*time.Millisecond)
	_, body := off.get(t, off.adminLn, "/metrics")
	assert.NotContains(t, body, "flashsale_stock_imbalance_units")
	for _, service := range []*service{s, off} {
		service.stop()
		require.NoError(t, wait(t, "Run to return", service.stopped))
	}
}

func TestAServiceWithoutItsDatabaseLivesAndIsNotReady(t *testing.T) {
	s := newService(t, "FLASHSALE_MYSQL_CONNECTIONS=4")
	require.NoError(t, s.core.DB.Close())
	s.start(t)
	status, _ := s.get(t, s.apiLn, "/livez")
	assert.Equal(t, http.StatusOK, status)
	status, body := s.get(t, s.apiLn, "/readyz")
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Contains(t, body, "mysql is down")
	s.stop()
	require.NoError(t, wait(t, "Run to return", s.stopped))
}

func TestADatabaseThatIsNotMigratedIsNotReady(t *testing.T) {
	s := newService(t)
	_, err := s.core.DB.SQL().ExecContext(t.Context(), "UPDATE schema_migrations SET version = version - 1")
	require.NoError(t, err)
	state := s.core.ready(t.Context())
	assert.False(t, state.Ready)
	assert.Equal(t, "behind", state.Migrations)
	assert.Equal(t, "up", state.MySQL)
	assert.Equal(t, "disabled", state.Redis)
	s.start(t)
	s.stop()
	require.NoError(t, wait(t, "Run to return", s.stopped))
}

func TestATakenAddressIsAnErrorBeforeAnythingRuns(t *testing.T) {
	s := newService(t)
	other := newService(t)
	other.admin.Addr = s.adminLn.Addr().String()
	require.NoError(t, other.apiLn.Close())
	require.NoError(t, other.adminLn.Close())
	err := other.Listen(t.Context())
	require.ErrorContains(t, err, "listening for the admin address")
	require.NoError(t, s.apiLn.Close())
	require.NoError(t, s.adminLn.Close())
}

func TestAServerThatFailsStopsTheService(t *testing.T) {
	s := newService(t)
	require.NoError(t, s.apiLn.Close())
	s.start(t)
	require.ErrorContains(t, wait(t, "Run to return", s.stopped), "serving on")
}
