// Package testenv gives tests real servers: one MySQL and one Redis for the
// whole run, shared by all test processes, a database and a key prefix of its
// own for each test, and servers of its own for a test that stops them.
//
// FLASHSALE_TEST_MYSQL_DSN (an account that may create databases) and
// FLASHSALE_TEST_REDIS_URL name servers that already run. Without them, Docker
// runs them. With neither, a test fails: it is never skipped.
package testenv

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// Timeout is the operation timeout of a test whose subject is not time: a busy
// machine must not answer for the service.
const Timeout = 5 * time.Second

const (
	mysqlVariable = "FLASHSALE_TEST_MYSQL_DSN"
	redisVariable = "FLASHSALE_TEST_REDIS_URL"

	// leftoverAge is when databases and containers of killed runs are removed:
	// no run takes that long.
	leftoverAge = time.Hour
	// cleanupLimit bounds what is done for a test after its end.
	cleanupLimit = 3 * time.Minute
)

// What every test of a process shares. A process asks once, and when that
// failed, each of its tests fails with the same line.
//
//nolint:gochecknoglobals // the life of the process is the right one
var (
	sharedMySQL = sync.OnceValues(func() (string, error) {
		return sharedServer(context.Background(), mysqlVariable, mysqlSpec())
	})
	sharedRedis = sync.OnceValues(func() (string, error) {
		return sharedServer(context.Background(), redisVariable, redisSpec())
	})
)

func sharedServer(ctx context.Context, variable string, spec spec) (string, error) {
	if url := os.Getenv(variable); url != "" {
		return url, nil
	}
	url, err := startShared(ctx, spec)
	if err != nil {
		return "", fmt.Errorf("%s is not set and Docker gives no %s: %w", variable, spec.role, err)
	}
	return url, nil
}

// Redis gives the URL of the run's Redis and a prefix that no other test's keys
// have. A key must begin with it.
func Redis(tb testing.TB) (url, prefix string) {
	tb.Helper()
	url, err := sharedRedis()
	if err != nil {
		tb.Fatal(err)
	}
	return url, "test:" + unique() + ":"
}

// Logger writes to the test's log, which shows when the test fails. Whatever
// logs to it must end before the test does.
func Logger(tb testing.TB) *slog.Logger {
	tb.Helper()
	return slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// unique gives a text that nobody else is given.
func unique() string { return strings.ToLower(rand.Text()) }

// afterTest is a context for cleaning up: tb's own has ended by then.
func afterTest(tb testing.TB) (context.Context, context.CancelFunc) {
	tb.Helper()
	return context.WithTimeout(context.WithoutCancel(tb.Context()), cleanupLimit)
}
