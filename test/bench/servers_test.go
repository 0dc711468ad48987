//go:build linux

package bench

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/app"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/testenv"
)

const (
	// startLimit bounds a process's start.
	startLimit = 30 * time.Second
	pollPause  = 20 * time.Millisecond
	// plenty is more than any load takes.
	plenty = 100_000_000
)

// process is a server in an operating system process of its own.
type process struct {
	addr  string
	admin string
	pid   int
}

// start runs a command with an environment of its own until the benchmark ends,
// its output in a file, and waits until it answers.
func (e *engine) start(name string, cmd *exec.Cmd, p process, environment ...string) *process {
	e.b.Helper()
	output, err := os.Create(filepath.Join(e.out, name+".log"))
	require.NoError(e.b, err)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, environment...)
	// It does not outlive a benchmark that is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	require.NoError(e.b, cmd.Start())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // it is told to end, and what failed before shows in its answers
	}()
	e.b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(startLimit):
			_ = cmd.Process.Kill()
			<-ended
		}
		_ = output.Close()
	})
	p.pid = cmd.Process.Pid
	deadline := time.Now().Add(startLimit)
	for {
		status, err := e.get("http://"+p.addr+"/livez", io.Discard)
		if err == nil && status == http.StatusOK {
			return &p
		}
		require.True(e.b, time.Now().Before(deadline), "%s does not start: %v; see %s", name, err, output.Name())
		time.Sleep(pollPause)
	}
}

// service runs the real binary.
func (e *engine) service(name, dsn, coalesce string) *process {
	e.b.Helper()
	p := process{addr: testenv.FreeAddress(e.b), admin: testenv.FreeAddress(e.b)}
	cmd := exec.CommandContext(e.b.Context(), e.binary, "serve")
	return e.start(name, cmd, p, "FLASHSALE_ADDR="+p.addr, "FLASHSALE_ADMIN_ADDR="+p.admin,
		"FLASHSALE_MYSQL_DSN="+dsn, "FLASHSALE_REDIS_URL="+e.redis.URL(), "FLASHSALE_COALESCE="+coalesce,
		"FLASHSALE_LOG_LEVEL=warn", "FLASHSALE_WEBHOOK_SECRETS="+webhookSecret)
}

// role runs this very program as one of the other contenders.
func (e *engine) role(role string, environment ...string) *process {
	e.b.Helper()
	p := process{addr: testenv.FreeAddress(e.b)}
	own, err := os.Executable()
	require.NoError(e.b, err)
	cmd := exec.CommandContext(e.b.Context(), own)
	return e.start(role, cmd, p, append(environment, envRole+"="+role, envListen+"="+p.addr)...)
}

// get reads a page of a server.
func (e *engine) get(url string, into io.Writer) (status int, err error) {
	request, err := http.NewRequestWithContext(e.b.Context(), http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	response, err := e.http.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	_, err = io.Copy(into, response.Body)
	return response.StatusCode, err
}

// metric reads one number of a service.
func (e *engine) metric(p *process, name string) float64 {
	e.b.Helper()
	var text bytes.Buffer
	_, err := e.get("http://"+p.admin+"/metrics", &text)
	require.NoError(e.b, err)
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindSubmatch(text.Bytes())
	require.NotNil(e.b, found, "there is no metric %s", name)
	return number(string(found[1]))
}

// build compiles the binary that is measured.
func (e *engine) build() {
	e.b.Helper()
	e.binary = filepath.Join(e.b.TempDir(), "flashsale")
	cmd := exec.CommandContext(e.b.Context(), "go", "build", "-trimpath", "-o", e.binary,
		"github.com/flashsale-api/flashsale/cmd/flashsale")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	said, err := cmd.CombinedOutput()
	require.NoError(e.b, err, string(said))
}

// database is one contender's own, on the one server.
type database struct {
	dsn   string
	core  *app.Core // to make products and audit them
	admin *sql.DB   // without the service's timeouts
	made  int64
	sold  map[sale.ProductID]int64 // holds that were answered with 201
}

// database makes one and migrates it.
func (e *engine) database(name string) *database {
	e.b.Helper()
	ctx := e.b.Context()
	dsn, err := mysql.WithDatabase(e.mysql.DirectDSN(), name)
	require.NoError(e.b, err)
	_, err = e.status.ExecContext(ctx, "CREATE DATABASE "+name)
	require.NoError(e.b, err)
	_, err = mysql.MigrateUp(ctx, dsn)
	require.NoError(e.b, err)
	core, err := app.Open(ctx, app.Config{MySQLDSN: dsn, LatePayment: sale.LatePaymentRebook}, slog.New(slog.DiscardHandler))
	require.NoError(e.b, err)
	e.b.Cleanup(func() { require.NoError(e.b, core.Close()) })
	admin, err := sql.Open("mysql", dsn) // registered by package mysql
	require.NoError(e.b, err)
	e.b.Cleanup(func() { require.NoError(e.b, admin.Close()) })
	return &database{dsn: dsn, core: core, admin: admin, sold: map[sale.ProductID]int64{}}
}

// product puts units on sale.
func (d *database) product(ctx context.Context, stock int64) (sale.ProductID, error) {
	d.made++
	result, err := d.core.Actions.CreateProduct.Do(ctx, action.CreateProductInput{
		SKU: "sku-" + strconv.FormatInt(d.made, 10), Name: "Thing", Stock: stock,
		Rules: sale.Rules{Price: sale.Money{Amount: price, Currency: currency}, HoldTTL: holdTTL},
	})
	return result.Value.ID, err
}

// verify proves that the books balance and that every hold that was answered is there.
func (d *database) verify(tb testing.TB) {
	tb.Helper()
	books, err := d.core.Actions.Audit.Do(tb.Context())
	require.NoError(tb, err)
	for _, b := range books {
		require.True(tb, b.Balanced(), "books do not balance: %+v", b)
	}
	d.verifyLines(tb)
}

func (d *database) verifyLines(tb testing.TB) {
	tb.Helper()
	for product, sold := range d.sold {
		require.GreaterOrEqual(tb, d.count(tb, "SELECT COUNT(*) FROM hold_lines WHERE product_id = ?", product), sold,
			"holds were lost")
	}
}

func (d *database) count(tb testing.TB, query string, args ...any) int64 {
	tb.Helper()
	var n int64
	require.NoError(tb, d.admin.QueryRowContext(tb.Context(), query, args...).Scan(&n))
	return n
}

// fillLines writes so many old lines of a product: units that came back, with the
// stock and the ledger as if they had never been away.
func (d *database) fillLines(ctx context.Context, product sale.ProductID, n int64) error {
	const chunk = 100_000
	const fill = `INSERT INTO hold_lines (id, position, product_id, customer_id, quantity, price_amount, currency, state,
			ended, due_at, expires_at, ttl_seconds, payment_window_seconds, created_at)
		WITH RECURSIVE digits AS (SELECT 0 AS d UNION ALL SELECT d + 1 FROM digits WHERE d < 9)
		SELECT CONCAT(UNHEX(LPAD(HEX(1700000000000 + ? + a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d), 12, '0')), RANDOM_BYTES(10)),
			0, ?, CONCAT('old-', HEX(RANDOM_BYTES(8))), 1, ` + "1000, 'USD'" + `, 'returned', 'expired',
			NOW(6) - INTERVAL 1 DAY, NOW(6) - INTERVAL 1 DAY, 300, 900, NOW(6) - INTERVAL 2 DAY
		FROM digits a, digits b, digits c, digits e, digits f
		WHERE a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d < ?`
	for from := int64(0); from < n; from += chunk {
		if _, err := d.admin.ExecContext(ctx, fill, from, product, min(chunk, n-from)); err != nil {
			return fmt.Errorf("write old lines: %w", err)
		}
	}
	return nil
}

// empty begins anew.
func (d *database) empty(ctx context.Context) error {
	for _, table := range []string{"products", "hold_lines", "movements", "idempotency_keys"} {
		if _, err := d.admin.ExecContext(ctx, "TRUNCATE TABLE "+table); err != nil {
			return fmt.Errorf("empty %s: %w", table, err)
		}
	}
	d.sold = map[sale.ProductID]int64{}
	return nil
}

// counter reads one of the MySQL server's counters.
func (e *engine) counter(name string) float64 {
	e.b.Helper()
	var value float64
	// The tables of performance_schema leave out the counters of commands.
	require.NoError(e.b, e.status.QueryRowContext(e.b.Context(),
		"SHOW GLOBAL STATUS WHERE Variable_name = '"+name+"'").Scan(&name, &value))
	return value
}

// redisCommands is how many commands Redis has served.
func (e *engine) redisCommands() float64 {
	e.b.Helper()
	w, err := dial(e.b.Context(), strings.TrimPrefix(e.redis.URL(), "redis://"))
	require.NoError(e.b, err)
	defer func() { _ = w.conn.Close() }()
	_, err = w.conn.Write([]byte("INFO stats\r\n"))
	require.NoError(e.b, err)
	n, err := w.conn.Read(w.buffer[:])
	require.NoError(e.b, err)
	_, after, found := strings.Cut(string(w.buffer[:n]), "total_commands_processed:")
	require.True(e.b, found)
	return number(strings.Fields(after)[0])
}
