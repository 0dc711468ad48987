package main

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/app"
	"github.com/flashsale-api/flashsale/internal/demo"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/testenv"
)

// actAs makes this test's own executable the program, so that the tests run it
// as its users do, with the race detector where they have it.
const actAs = "FLASHSALE_TEST_ACT_AS_PROGRAM"

const (
	secret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	// patience is what a test waits for something that has to come, before it fails.
	patience = time.Minute
	// pollGap lies between two looks for it.
	pollGap = 50 * time.Millisecond
)

func TestMain(m *testing.M) {
	if os.Getenv(actAs) != "" {
		main()
	}
	os.Exit(m.Run())
}

// result is what a run of the program came to.
type result struct {
	code     int
	out, err string
}

// program prepares a run with these settings and nothing else of its own.
func program(ctx context.Context, t *testing.T, settings []string, args ...string) *exec.Cmd {
	t.Helper()
	executable, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(ctx, executable, args...)
	cmd.Env = append([]string{actAs + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, settings...)
	cmd.WaitDelay = patience
	return cmd
}

func run(t *testing.T, settings []string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := program(ctx, t, settings, args...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return result{code: cmd.ProcessState.ExitCode(), out: out.String(), err: complaint.String()}
}

// decode reads the JSON that a run printed.
func decode[T any](t *testing.T, r result) T {
	t.Helper()
	var value T
	require.NoError(t, json.Unmarshal([]byte(r.out), &value), r.out+r.err)
	return value
}

// database gives the settings of a database of the test's own, and a pool on it.
func database(t *testing.T) ([]string, *sql.DB) {
	t.Helper()
	dsn := testenv.Database(t)
	db, err := mysql.Open(mysql.Config{DSN: dsn, Connections: 2, Timeout: testenv.Timeout, Log: testenv.Logger(t)})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	return []string{
		app.EnvMySQLDSN + "=" + dsn, app.EnvWebhookSecrets + "=" + secret,
		app.EnvOperationTimeout + "=" + testenv.Timeout.String(),
	}, db.SQL()
}

// server runs `flashsale serve` and gives its addresses, and a function that ends
// it by SIGTERM and gives its exit code.
func server(t *testing.T, settings []string) (api, admin string, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	settings = append(settings, app.EnvAddr+"=127.0.0.1:0", app.EnvAdminAddr+"=127.0.0.1:0")
	cmd := program(ctx, t, settings, "serve")
	logs, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	started, ended := make(chan [2]string, 1), make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(logs); lines.Scan(); {
			var record struct {
				Msg, Addr string
				AdminAddr string `json:"admin_addr"`
			}
			if json.Unmarshal(lines.Bytes(), &record) == nil && record.Msg == "server.started" {
				started <- [2]string{"http://" + record.Addr, "http://" + record.AdminAddr}
			}
		}
	}()
	stop = func() int {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended, which its code tells
		<-ended
		_ = cmd.Wait() // the code tells
		return cmd.ProcessState.ExitCode()
	}
	t.Cleanup(func() {
		cancel()
		if cmd.ProcessState == nil {
			stop()
		}
	})
	select {
	case addrs := <-started:
		return addrs[0], addrs[1], stop
	case <-ended:
		t.Fatal("the server ended at once")
	case <-time.After(patience):
		t.Fatal("the server did not start")
	}
	panic("unreachable")
}

func TestWrongUsageExitsWith2AndOneLine(t *testing.T) {
	t.Parallel()
	good := []string{app.EnvMySQLDSN + "=u:p@tcp(127.0.0.1:1)/x", app.EnvWebhookSecrets + "=" + secret}
	tests := map[string]struct {
		settings []string
		args     string
	}{
		"an unknown command":                {good, "sell"},
		"an unknown flag":                   {good, "audit --yaml"},
		"a flag that is no number":          {good, "stress inventory --processes many"},
		"a group without a command":         {good, "migrate"},
		"an unknown command of a group":     {good, "migrate sideways"},
		"help with an unknown command":      {good, "help sell"},
		"help with what a group has not":    {good, "help migrate sideways"},
		"help with an argument":             {good, "help serve now"},
		"an argument that is not taken":     {good, "serve now"},
		"no steps":                          {good, "migrate down --steps 0"},
		"no processes":                      {good, "stress inventory --processes 0"},
		"too many processes":                {good, "stress inventory --processes 1001"},
		"less than no stock":                {good, "stress inventory --stock -1"},
		"a self-check that cannot bite":     {good, "stress inventory --self-check --processes 1"},
		"a self-check of nothing":           {good, "stress inventory --self-check --stock 0"},
		"an address with a path":            {good, "stress inventory --url http://localhost/api"},
		"an address that is none":           {good, "demo setup --wipe --url localhost"},
		"a product id that is none":         {good, "audit ticket"},
		"an order id that is none":          {good, "demo webhook --order 17"},
		"an order id that is missing":       {good, "demo webhook"},
		"an endpoint's id that is missing":  {good, "webhooks redeliver --since 1h"},
		"nothing to redeliver":              {good, "webhooks redeliver --endpoint whe_01kjmma2g0f398qskz672th7hq"},
		"a redelivery of both":              {good, "webhooks redeliver --endpoint whe_01kjmma2g0f398qskz672th7hq --since 1h --event evt_01kjmma2g0f398qskz672th7hq"},
		"a redelivery from the future":      {good, "webhooks redeliver --endpoint whe_01kjmma2g0f398qskz672th7hq --since -1h"},
		"an event's id that is none":        {good, "webhooks redeliver --endpoint whe_01kjmma2g0f398qskz672th7hq --event 17"},
		"a webhook of an unknown type":      {good, "demo webhook --order ord_01kjmma2g0f398qskz672th7hq --type paid"},
		"a configuration without database":  {nil, "serve"},
		"a DSN without a name":              {[]string{app.EnvMySQLDSN + "=user:password@tcp(127.0.0.1:1)/"}, "migrate up"},
		"a Redis without a number":          {append([]string{app.EnvRedisURL + "=redis://127.0.0.1:1/x"}, good...), "serve"},
		"a stress without database":         {nil, "stress inventory"},
		"a self-check without database":     {nil, "stress inventory --self-check --url http://localhost"},
		"a demo without secret":             {good[:1], "demo setup --wipe"},
		"a setting with a slip of the pen":  {append([]string{"FLASHSALE_ADR=:80"}, good...), "serve"},
		"a demo that may not wipe":          {good, "demo setup"},
		"a database's version with nothing": {nil, "migrate version"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := run(t, test.settings, strings.Fields(test.args)...)
			assert.Equal(t, exitUsage, r.code, r.err)
			assert.Empty(t, r.out)
			assert.Equal(t, 1, strings.Count(r.err, "\n"), r.err)
			assert.Contains(t, r.err, "flashsale: ")
		})
	}
}

func TestEachFaultOfTheConfigurationIsALine(t *testing.T) {
	t.Parallel()
	r := run(t, []string{"FLASHSALE_LOG_LEVEL=loud", "FLASHSALE_ADDR=x"}, "serve")
	assert.Equal(t, exitUsage, r.code)
	assert.Equal(t, 3, strings.Count(r.err, "\n"), r.err)
}

func TestADatabaseThatIsNotThereIsAFailureAndNoSecretShows(t *testing.T) {
	t.Parallel()
	settings := []string{app.EnvMySQLDSN + "=user:hidden-password@tcp(127.0.0.1:1)/x"}
	for _, args := range []string{"audit", "holds release", "webhooks list", "migrate up", "migrate version", "stress inventory --processes 2"} {
		r := run(t, settings, strings.Fields(args)...)
		assert.Equal(t, exitFailed, r.code, args+": "+r.err)
		assert.NotContains(t, r.err, "hidden-password")
	}
}

func TestEveryCommandHasHelpWithAnExample(t *testing.T) {
	t.Parallel()
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		if cmd.Hidden {
			return
		}
		assert.NotEmpty(t, cmd.Short, cmd.CommandPath())
		if !cmd.HasSubCommands() {
			assert.NotEmpty(t, cmd.Example, cmd.CommandPath())
		}
		for _, child := range cmd.Commands() {
			visit(child)
		}
	}
	visit((&shell{}).root())
	r := run(t, nil, "stress", "inventory", "--help")
	assert.Equal(t, exitFine, r.code)
	assert.Contains(t, r.out, "flashsale stress inventory --processes 30 --stock 10")
}

func TestCompletionIsThereAndHidesTheWorker(t *testing.T) {
	t.Parallel()
	r := run(t, nil, "completion", "bash")
	assert.Equal(t, exitFine, r.code)
	assert.Contains(t, r.out, "complete -o default")
	r = run(t, nil, "__complete", "stress", "")
	assert.Contains(t, r.out, "inventory")
	assert.NotContains(t, r.out, workerName)
}

func TestVersionTellsTheToolchain(t *testing.T) {
	t.Parallel()
	b := decode[build](t, run(t, nil, "version", "--json"))
	assert.NotEmpty(t, b.Version)
	assert.Contains(t, b.Go, "go1.")
	assert.Contains(t, run(t, nil, "version").out, "flashsale "+b.Version)
}

func TestMetricsShowTheVersion(t *testing.T) {
	t.Parallel()
	settings, _ := database(t)
	_, admin, _ := server(t, settings)
	resp, err := http.Get(admin + "/metrics") //nolint:noctx // of a server of the test's own
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, errors.Join(err, resp.Body.Close()))
	b := decode[build](t, run(t, nil, "version", "--json"))
	assert.Contains(t, string(text), fmt.Sprintf("flashsale_build_info{go_version=%q,version=%q} 1\n", b.Go, b.Version))
}

func TestMigrateGoesDownAndUpAndTellsWhereItIs(t *testing.T) {
	t.Parallel()
	settings, _ := database(t)
	latest := decode[app.Schema](t, run(t, settings, "migrate", "version", "--json"))
	require.Equal(t, latest.Latest, latest.Version)
	down := decode[app.Schema](t, run(t, settings, "migrate", "down", "--steps", "2", "--json"))
	assert.Equal(t, latest.Version-2, down.Version)
	up := run(t, settings, "migrate", "up")
	assert.Equal(t, fmt.Sprintf("version %d of %d\n", latest.Latest, latest.Latest), up.out)
	assert.Equal(t, exitFine, run(t, settings, "migrate", "up").code, "a second time changes nothing")
}

func TestDemoSetupWipesOnlyWhenItIsTold(t *testing.T) {
	t.Parallel()
	settings, db := database(t)
	products := func() (n int) {
		require.NoError(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM products").Scan(&n))
		return n
	}
	ids := func(r result) string {
		require.Equal(t, exitFine, r.code, r.err)
		return decode[demo.Document](t, r).Products[0].ID.String()
	}
	assert.Equal(t, exitUsage, run(t, settings, "demo", "setup").code)
	assert.Zero(t, products(), "a refusal touches nothing")
	first := ids(run(t, settings, "demo", "setup", "--wipe", "--json"))
	made := products()
	assert.Equal(t, 6, made)
	assert.Equal(t, exitUsage, run(t, settings, "demo", "setup").code)
	assert.Equal(t, made, products())
	second := ids(run(t, append(settings, app.EnvAllowWipe+"=true"), "demo", "setup", "--json"))
	assert.NotEqual(t, first, second, "everything is new")
	assert.Equal(t, made, products(), "and nothing old is left")
	assert.Equal(t, exitFine, run(t, settings, "audit").code)
}

func TestEveryLineOfTheDemoAnswersWithItsStatus(t *testing.T) {
	t.Parallel()
	settings, _ := database(t)
	api, admin, stop := server(t, settings)
	r := run(t, settings, "demo", "setup", "--wipe", "--json", "--url", api, "--admin-url", admin)
	require.Equal(t, exitFine, r.code, r.err)
	document := decode[demo.Document](t, r)
	for _, entry := range document.Requests {
		status, body := send(t, entry)
		require.Equal(t, entry.Status, status, "%s\n%s\n%s", entry.Title, entry.Curl, body)
	}
	audit := run(t, settings, "audit")
	assert.Equal(t, exitFine, audit.code, audit.out)
	assert.Equal(t, exitFine, stop())
}

func send(t *testing.T, entry demo.RequestEntry) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), entry.Method, entry.URL, strings.NewReader(entry.Body))
	require.NoError(t, err)
	for name, value := range entry.Headers {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { assert.NoError(t, resp.Body.Close()) }()
	if entry.Seconds > 0 {
		return resp.StatusCode, "" // it does not end by itself
	}
	var text bytes.Buffer
	_, err = text.ReadFrom(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, text.String()
}

func TestAFreshDemoWebhookPaysItsOrder(t *testing.T) {
	t.Parallel()
	settings, _ := database(t)
	api, _, _ := server(t, settings)
	r := run(t, settings, "demo", "setup", "--wipe", "--json", "--url", api)
	require.Equal(t, exitFine, r.code, r.err)
	for _, entry := range decode[demo.Document](t, r).Requests {
		status, body := send(t, entry)
		if entry.Title != "Order the 2 tickets" {
			continue
		}
		require.Equal(t, http.StatusCreated, status)
		var order struct{ ID string }
		require.NoError(t, json.Unmarshal([]byte(body), &order))
		webhook := []string{"demo", "webhook", "--order", order.ID, "--url", api}
		line := run(t, settings, webhook...)
		require.Equal(t, exitFine, line.code, line.err)
		assert.Contains(t, line.out, "# payment.succeeded for an order that is pending_payment: 200\ncurl -i -X POST '"+api)
		status, body = send(t, decode[demo.RequestEntry](t, run(t, settings, append(webhook, "--json")...)))
		assert.Equal(t, http.StatusOK, status)
		assert.Contains(t, body, `"paid"`)
		return
	}
	t.Fatal("the story has no order")
}

func TestAuditPassesOnBalancedBooksAndExitsWith1OnDrift(t *testing.T) {
	t.Parallel()
	settings, db := database(t)
	setup := decode[demo.Document](t, run(t, settings, "demo", "setup", "--wipe", "--json"))
	balanced := run(t, settings, "audit")
	require.Equal(t, exitFine, balanced.code, balanced.err)
	assert.Contains(t, balanced.out, "BALANCED")
	id := setup.Products[0].ID
	_, err := db.ExecContext(t.Context(), "UPDATE products SET available_stock = available_stock - 1 WHERE id = ?", id)
	require.NoError(t, err)

	drifted := run(t, settings, "audit", "--json")
	assert.Equal(t, exitFailed, drifted.code)
	assert.Contains(t, drifted.err, "1 of 6 products are out of balance")
	for _, book := range decode[[]booksJSON](t, drifted) {
		assert.Equal(t, book.ProductID != id, book.Balanced, book.SKU)
	}
	assert.Equal(t, exitFailed, run(t, settings, "audit", id.String()).code)
	assert.Equal(t, exitFine, run(t, settings, "audit", setup.Products[1].ID.String()).code)
	unknown := run(t, settings, "audit", "prod_01kjma0fm0ek0tz2p1tewg37hq")
	assert.Equal(t, exitFailed, unknown.code)
	assert.Contains(t, unknown.err, "product_not_found")
}

func TestHoldsReleaseSaysHowManyUnitsWentBackAndTheyGoBackOnce(t *testing.T) {
	t.Parallel()
	settings, db := database(t)
	require.Equal(t, exitFine, run(t, settings, "demo", "setup", "--wipe").code)
	_, err := db.ExecContext(t.Context(),
		"UPDATE hold_lines SET due_at = NOW(6) - INTERVAL 1 SECOND, expires_at = due_at WHERE state = 'held'")
	require.NoError(t, err)
	first := run(t, settings, "holds", "release", "--json")
	require.Equal(t, exitFine, first.code, first.err)
	assert.Equal(t, int64(1), decode[map[string]int64](t, first)["stock_restored"])
	assert.Contains(t, first.err, `"holds.released"`)
	assert.Contains(t, first.err, `"stock_restored":1`)
	second := run(t, settings, "holds", "release")
	assert.Contains(t, second.out, "stock_restored 0")
	assert.Equal(t, exitFine, run(t, settings, "audit").code)
}

func TestThirtyProcessesCannotOversellTenUnitsAndTheProofBites(t *testing.T) {
	t.Parallel()
	settings, db := database(t)
	r := run(t, settings, "stress", "inventory", "--processes", "30", "--stock", "10", "--self-check", "--json")
	require.Equal(t, exitFine, r.code, r.err+r.out)
	report := decode[inventoryReport](t, r)
	assert.True(t, report.Passed)
	assert.Equal(t, int64(0), report.Found.Available)
	assert.Equal(t, int64(10), report.Found.Holds)
	assert.Equal(t, int64(20), report.Found.Rejected)
	assert.True(t, report.Balanced)
	assert.True(t, report.SelfCheck.Caught)
	assert.Equal(t, int64(30), report.SelfCheck.Found.Holds, "the unsafe sale sold to everybody")
	var lines, customers int
	require.NoError(t, db.QueryRowContext(t.Context(),
		"SELECT COUNT(*), COUNT(DISTINCT customer_id) FROM hold_lines").Scan(&lines, &customers))
	assert.Equal(t, []int{10, 10}, []int{lines, customers})
	var tables int
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM information_schema.tables
		WHERE table_schema = DATABASE() AND table_name = 'stress_self_check'`).Scan(&tables))
	assert.Zero(t, tables, "the self-check's table is gone")
}

func TestStressGoesThroughAServerWithAndWithoutADatabaseToAudit(t *testing.T) {
	t.Parallel()
	settings, _ := database(t)
	api, _, _ := server(t, settings)
	audited := run(t, settings, "stress", "inventory", "--processes", "6", "--stock", "4", "--url", api)
	require.Equal(t, exitFine, audited.code, audited.err+audited.out)
	assert.Contains(t, audited.out, "balanced: yes")
	remote := run(t, nil, "stress", "inventory", "--processes", "6", "--stock", "4", "--url", api, "--json")
	require.Equal(t, exitFine, remote.code, remote.err+remote.out)
	report := decode[inventoryReport](t, remote)
	assert.True(t, report.Passed)
	assert.True(t, report.Balanced)
	assert.Equal(t, int64(2), report.Found.Rejected)
}

func TestHealthcheckAsksTheServerOnThisMachine(t *testing.T) {
	t.Parallel()
	settings, db := database(t)
	api, _, stop := server(t, settings)
	addr := app.EnvAddr + "=" + strings.TrimPrefix(api, "http://")
	require.Eventually(t, func() bool { return run(t, []string{addr}, "healthcheck").code == exitFine }, patience, pollGap)
	_, err := db.ExecContext(t.Context(), "UPDATE schema_migrations SET version = version - 1")
	require.NoError(t, err)
	assert.Equal(t, exitFailed, run(t, []string{addr}, "healthcheck").code, "up, but not ready")
	assert.Equal(t, exitFine, stop())
	assert.Equal(t, exitFailed, run(t, []string{addr}, "healthcheck").code, "gone")
}

func TestHealthcheckReadsNothingButTheAddress(t *testing.T) {
	t.Parallel()
	ready := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(ready.Close)
	rotated := app.EnvMySQLDSN + "_FILE=" + filepath.Join(t.TempDir(), "missing")
	addr := app.EnvAddr + "=" + strings.TrimPrefix(ready.URL, "http://")
	r := run(t, []string{addr, rotated}, "healthcheck")
	assert.Equal(t, exitFine, r.code, r.err)
	assert.Equal(t, exitUsage, run(t, []string{app.EnvAddr + "=here"}, "healthcheck").code)
}

func TestHealthcheckAsksWhereTheServerListens(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		":8080":            "http://127.0.0.1:8080/readyz",
		"0.0.0.0:8080":     "http://127.0.0.1:8080/readyz",
		"[::]:8080":        "http://127.0.0.1:8080/readyz",
		"10.0.0.5:80":      "http://10.0.0.5:80/readyz",
		"[fd00::5]:8080":   "http://[fd00::5]:8080/readyz",
		"flashsale-0:8080": "http://flashsale-0:8080/readyz",
	}
	for addr, url := range tests {
		got, err := readinessURL(addr)
		require.NoError(t, err)
		assert.Equal(t, url, got)
	}
}

func TestTheProgramBuildsWithoutCgoAndTellsItsVersion(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "flashsale")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-X main.version=1.2.3", "-o", binary, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	output, err := cmd.CombinedOutput()
	require.NoError(t, err, string(output))
	said, err := exec.CommandContext(t.Context(), binary, "version").Output()
	require.NoError(t, err)
	assert.Contains(t, string(said), "flashsale 1.2.3")
}

func TestWebhooksAreListedAndRedelivered(t *testing.T) {
	t.Parallel()
	settings, db := database(t)
	require.Equal(t, exitFine, run(t, settings, "demo", "setup", "--wipe").code)
	exec := func(statement string) {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	exec("UPDATE webhook_endpoints SET disabled_at = NOW(6), disabled_reason = 'It was tired.', types = '[]'")
	exec("DELETE FROM announcements")
	list := func() endpointJSON {
		r := run(t, settings, "webhooks", "list", "--json")
		require.Equal(t, exitFine, r.code, r.err)
		endpoints := decode[[]endpointJSON](t, r)
		require.Len(t, endpoints, 1)
		return endpoints[0]
	}
	before := list()
	assert.Equal(t, []any{"disabled", "It was tired.", int64(0)}, []any{before.Status, before.DisabledReason, before.Pending})
	table := run(t, settings, "webhooks", "list")
	assert.Contains(t, table.out, "It was tired.")
	assert.NotContains(t, table.out, "whsec_")

	redeliver := []string{"webhooks", "redeliver", "--endpoint", before.ID.String()}
	r := run(t, settings, append(redeliver, "--since", "1h", "--json")...)
	require.Equal(t, exitFine, r.code, r.err)
	assert.Equal(t, map[string]any{"endpoint_id": before.ID.String(), "events": 2.0, "enabled": true}, decode[map[string]any](t, r))
	after := list()
	assert.Equal(t, []any{"enabled", int64(2)}, []any{after.Status, after.Pending})

	var event sale.EventID
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT id FROM outbox LIMIT 1").Scan(&event))
	r = run(t, settings, append(redeliver, "--event", event.String())...)
	assert.Equal(t, "events due again: 1\n", r.out, r.err)
	unknown := run(t, settings, append(redeliver, "--event", "evt_01kjmma2g0f398qskz672th7hq")...)
	assert.Equal(t, exitFailed, unknown.code)
	assert.Contains(t, unknown.err, "evt_01kjmma2g0f398qskz672th7hq")
}
