package crash

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/app"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/signature"
	"github.com/flashsale-api/flashsale/internal/testenv"
)

const secret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

// plan says where the service dies at a commit, by its number among all and among
// those of the story's step.
type plan func(ofAll, ofStep int) testenv.Crash

// world is a service that dies of its commits as planned and is started again, and
// its database.
type world struct {
	t       *testing.T
	core    *app.Core // straight on the database
	environ []string
	client  *http.Client
	proxy   *testenv.CommitProxy

	mu      sync.Mutex
	process *process

	counting sync.Mutex
	commits  int // of all
	ofStep   int
}

func newWorld(t *testing.T, crash plan, settings ...string) *world {
	t.Helper()
	dsn := testenv.Database(t)
	w := &world{t: t, client: &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}}
	w.proxy = testenv.NewCommitProxy(t, dsn)
	w.proxy.CrashClients(func() testenv.Crash { return crash(w.countCommit()) }, w.kill)
	w.environ = append([]string{
		app.EnvAddr + "=127.0.0.1:0", app.EnvAdminAddr + "=127.0.0.1:0", app.EnvMySQLDSN + "=" + w.proxy.DSN(),
		app.EnvWebhookSecrets + "=" + secret, app.EnvOperationTimeout + "=" + testenv.Timeout.String(),
		app.EnvSweepInterval + "=1h", app.EnvWebhookInterval + "=1h", app.EnvAuditInterval + "=0", app.EnvPurgeInterval + "=0",
	}, settings...)
	cfg, err := app.LoadConfig([]string{
		app.EnvMySQLDSN + "=" + dsn, app.EnvOperationTimeout + "=" + testenv.Timeout.String(),
	})
	require.NoError(t, err)
	w.core, err = app.Open(t.Context(), cfg, testenv.Logger(t))
	require.NoError(t, err)
	t.Cleanup(func() {
		w.kill()
		assert.NoError(t, w.core.Close())
	})
	return w
}

func (w *world) countCommit() (ofAll, ofStep int) {
	w.counting.Lock()
	defer w.counting.Unlock()
	w.commits++
	w.ofStep++
	return w.commits, w.ofStep
}

// allCommits is how many came so far.
func (w *world) allCommits() int {
	w.counting.Lock()
	defer w.counting.Unlock()
	return w.commits
}

// nextStep begins to count anew.
func (w *world) nextStep() {
	w.counting.Lock()
	defer w.counting.Unlock()
	w.ofStep = 0
}

// current is the service, a new one where the last has died.
func (w *world) current() *process {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.process == nil || w.process.isGone() {
		w.process = start(w.t, w.environ)
	}
	return w.process
}

// kill ends the service that runs now, if one does.
func (w *world) kill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.process != nil {
		w.process.kill()
	}
}

// request is one that is sent again byte by byte.
type request struct {
	method, target string
	header         http.Header
	body           []byte
}

// answer is what of all answers the story goes on with.
type answer struct {
	ID string
}

// ask sends a request until it is answered, to one process after another.
func (w *world) ask(r request) answer {
	w.t.Helper()
	for {
		process := w.current()
		status, body, err := w.send(process.url, r)
		if err != nil {
			w.awaitEnd(process, err)
			continue
		}
		require.Less(w.t, status, http.StatusMultipleChoices, "%s %s: %s", r.method, r.target, body)
		var a answer
		require.NoError(w.t, json.Unmarshal(body, &a), "%s", body)
		return a
	}
}

// awaitEnd waits for the crash that left a request without an answer.
func (w *world) awaitEnd(p *process, cause error) {
	w.t.Helper()
	select {
	case <-p.gone:
	case <-time.After(patience):
		require.NoError(w.t, cause, "no answer of a service that lives")
	}
}

func (w *world) send(url string, r request) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	sent, err := http.NewRequestWithContext(ctx, r.method, url+r.target, bytes.NewReader(r.body))
	if err != nil {
		return 0, nil, err
	}
	sent.Header = r.header
	response, err := w.client.Do(sent)
	if err != nil {
		return 0, nil, err
	}
	body, err = io.ReadAll(response.Body)
	return response.StatusCode, body, errors.Join(err, response.Body.Close())
}

// post is one step of the story: a request with a key.
func (w *world) post(target, key string, body any) answer {
	w.t.Helper()
	return w.step(http.MethodPost, target, http.Header{"Idempotency-Key": {key}}, body)
}

func (w *world) step(method, target string, header http.Header, body any) answer {
	w.t.Helper()
	w.nextStep()
	text, err := json.Marshal(body)
	require.NoError(w.t, err)
	header.Set("Content-Type", "application/json")
	return w.ask(request{method: method, target: target, header: header, body: text})
}

// tell is one step of the story: a payment event of an order's whole total.
func (w *world) tell(kind, order, id string, amount int64) {
	w.t.Helper()
	w.nextStep()
	body, err := json.Marshal(map[string]any{
		"type": "payment." + kind, "timestamp": time.Now().UTC().Format(time.RFC3339),
		"data": map[string]any{"order_id": order, "payment_id": id, "amount": amount, "currency": "USD"},
	})
	require.NoError(w.t, err)
	header, err := signature.Header(kind+"-"+id, time.Now(), body, secret)
	require.NoError(w.t, err)
	header.Set("Content-Type", "application/json")
	w.ask(request{method: http.MethodPost, target: "/api/payments/webhook", header: header, body: body})
}

// expire makes a hold or its order overdue.
func (w *world) expire(id string) {
	w.t.Helper()
	hold, err := sale.ParseHoldID(id)
	require.NoError(w.t, err)
	for _, statement := range []string{
		"UPDATE orders SET pay_by = NOW(6) - INTERVAL 1 SECOND WHERE id = ?",
		"UPDATE hold_lines SET due_at = NOW(6) - INTERVAL 1 SECOND, expires_at = NOW(6) - INTERVAL 1 SECOND WHERE id = ?",
	} {
		_, err := w.core.DB.SQL().ExecContext(w.t.Context(), statement, hold)
		require.NoError(w.t, err)
	}
}

// sweep is one step of the story: a service that starts gives back what is overdue.
func (w *world) sweep() {
	w.t.Helper()
	w.nextStep()
	w.kill()
	const overdue = "SELECT COUNT(*) FROM hold_lines WHERE state IN ('held', 'pending') AND due_at <= NOW(6)"
	for until := time.Now().Add(patience); w.rows(overdue)[0] != "0"; {
		require.True(w.t, time.Now().Before(until), "nothing is swept")
		w.current()
	}
}

// rows gives the one text that each row of a query is.
func (w *world) rows(query string) []string {
	w.t.Helper()
	rows, err := w.core.DB.SQL().QueryContext(w.t.Context(), query)
	require.NoError(w.t, err)
	defer func() { require.NoError(w.t, rows.Close()) }()
	var all []string
	for rows.Next() {
		var row sql.NullString
		require.NoError(w.t, rows.Scan(&row))
		all = append(all, row.String)
	}
	require.NoError(w.t, rows.Err())
	return all
}
