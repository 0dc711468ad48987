package mysql_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, dsn string, connections int) *mysql.DB {
	t.Helper()
	db, err := mysql.Open(mysql.Config{DSN: dsn, Connections: connections, Timeout: testenv.Timeout, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	return db
}

// counters opens a database with a table of counters, all at zero.
func counters(t *testing.T) (db *mysql.DB, dsn string) {
	t.Helper()
	t.Parallel()
	dsn = testenv.Database(t)
	db = open(t, dsn, 8)
	makeCounters(t, db)
	return db, dsn
}

func makeCounters(t *testing.T, db *mysql.DB) {
	t.Helper()
	for _, query := range []string{
		"CREATE TABLE counters (id INT PRIMARY KEY, n INT NOT NULL)", "INSERT INTO counters VALUES (1, 0), (2, 0)",
	} {
		_, err := db.SQL().ExecContext(t.Context(), query)
		require.NoError(t, err)
	}
}

func increment(ctx context.Context, q store.DBTX, id int) error {
	_, err := q.ExecContext(ctx, "UPDATE counters SET n = n + 1 WHERE id = ?", id)
	return err
}

// incrementOne is the usual work of a transaction.
func incrementOne(ctx context.Context, tx *mysql.Tx) error { return increment(ctx, tx, 1) }

func value(t *testing.T, db *mysql.DB, id int) int {
	t.Helper()
	var n int
	require.NoError(t, db.SQL().QueryRowContext(t.Context(), "SELECT n FROM counters WHERE id = ?", id).Scan(&n))
	return n
}

// incremented settles by the first counter.
func incremented(ctx context.Context, q store.DBTX) (bool, error) {
	var n int
	err := q.QueryRowContext(ctx, "SELECT n FROM counters WHERE id = 1 FOR SHARE").Scan(&n)
	return n > 0, err
}

func unsettled(context.Context, store.DBTX) (bool, error) {
	return false, errors.New("cannot be found out")
}

func requireCode(t *testing.T, err error, code sale.Code) {
	t.Helper()
	var failure *sale.Error
	require.ErrorAs(t, err, &failure)
	require.Equal(t, code, failure.Code, failure.Error())
	require.Positive(t, failure.RetryAfter)
}
