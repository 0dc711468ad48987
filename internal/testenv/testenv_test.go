package testenv_test

import (
	"context"
	"database/sql"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, dsn string) *mysql.DB {
	t.Helper()
	db, err := mysql.Open(mysql.Config{DSN: dsn, Connections: 4, Timeout: testenv.Timeout, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	return db
}

func TestDatabaseIsMigratedAndKeepsItsConstraintsAndIndexes(t *testing.T) {
	t.Parallel()
	db := open(t, testenv.Database(t))
	requireReady(t, db)

	var constraints, indexes int
	require.NoError(t, db.SQL().QueryRowContext(t.Context(),
		"SELECT COUNT(*) FROM information_schema.check_constraints WHERE constraint_schema = DATABASE() AND constraint_name = 'products_never_oversold'").
		Scan(&constraints))
	assert.Equal(t, 1, constraints)
	require.NoError(t, db.SQL().QueryRowContext(t.Context(),
		"SELECT COUNT(DISTINCT index_name) FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = 'products'").
		Scan(&indexes))
	assert.Equal(t, 2, indexes, "the primary key and the unique sku")
}

func TestDatabasesAreApart(t *testing.T) {
	t.Parallel()
	one, other := open(t, testenv.Database(t)), open(t, testenv.Database(t))
	_, err := one.SQL().ExecContext(t.Context(), "CREATE TABLE mine (id INT PRIMARY KEY)")
	require.NoError(t, err)
	_, err = other.SQL().ExecContext(t.Context(), "SELECT id FROM mine")
	assert.Error(t, err)
}

func TestDatabaseIsDroppedAtTheTestsEnd(t *testing.T) {
	t.Parallel()
	var dsn string
	require.True(t, t.Run("inner", func(t *testing.T) { dsn = testenv.Database(t) }))
	assert.Error(t, open(t, dsn).Ping(t.Context()))
}

func TestRedisPrefixesAreApart(t *testing.T) {
	t.Parallel()
	url, one := testenv.Redis(t)
	_, other := testenv.Redis(t)
	assert.NotEmpty(t, url)
	assert.NotEqual(t, one, other)
}

func TestOwnMySQLKeepsItsAddressAndDataWhenStopped(t *testing.T) {
	t.Parallel()
	server := testenv.OwnMySQL(t)
	db := open(t, server.DSN())
	_, err := db.SQL().ExecContext(t.Context(), "CREATE TABLE kept (id INT PRIMARY KEY)")
	require.NoError(t, err)

	server.Stop()
	require.Error(t, db.Ping(t.Context()))
	server.Start()
	requireReady(t, db)
	_, err = db.SQL().ExecContext(t.Context(), "SELECT id FROM kept")
	require.NoError(t, err)

	server.Pause()
	require.Error(t, db.Ping(t.Context()))
	server.Unpause()
	assert.NoError(t, db.Ping(t.Context()))
}

func TestCommitProxyLosesOneCommitOrItsAnswer(t *testing.T) {
	t.Parallel()
	dsn := testenv.Database(t)
	direct := open(t, dsn)
	_, err := direct.SQL().ExecContext(t.Context(), "CREATE TABLE written (id INT PRIMARY KEY)")
	require.NoError(t, err)
	proxy := testenv.NewCommitProxy(t, dsn)
	through := open(t, proxy.DSN())

	require.NoError(t, write(t.Context(), through.SQL(), 1))
	proxy.CutNextCommit()
	require.Error(t, write(t.Context(), through.SQL(), 2))
	proxy.CutNextCommitAnswer()
	require.Error(t, write(t.Context(), through.SQL(), 3))
	require.NoError(t, write(t.Context(), through.SQL(), 4))

	requireWritten(t, direct, "1,3,4")
	assert.Equal(t, int64(2), proxy.Cuts())
}

func TestCommitProxyEndsAClientBeforeOrAfterACommit(t *testing.T) {
	t.Parallel()
	dsn := testenv.Database(t)
	direct := open(t, dsn)
	_, err := direct.SQL().ExecContext(t.Context(), "CREATE TABLE written (id INT PRIMARY KEY)")
	require.NoError(t, err)
	proxy := testenv.NewCommitProxy(t, dsn)
	through := open(t, proxy.DSN())
	where := make(chan testenv.Crash, 1)
	seen := make(chan string, 1)
	proxy.CrashClients(func() testenv.Crash { return <-where }, func() {
		var ids string
		assert.NoError(t, direct.SQL().QueryRowContext(t.Context(), "SELECT GROUP_CONCAT(id ORDER BY id) FROM written").Scan(&ids))
		seen <- ids
	})

	where <- testenv.CrashNowhere
	require.NoError(t, write(t.Context(), through.SQL(), 1))
	where <- testenv.CrashBefore
	require.Error(t, write(t.Context(), through.SQL(), 2))
	assert.Equal(t, "1", <-seen)
	where <- testenv.CrashAfter
	require.Error(t, write(t.Context(), through.SQL(), 3))
	assert.Equal(t, "1,3", <-seen)
	assert.Equal(t, int64(2), proxy.Cuts())
	requireWritten(t, direct, "1,3")
}

func TestCommitProxyHangsAtACommitUntilItIsResumed(t *testing.T) {
	t.Parallel()
	dsn := testenv.Database(t)
	direct := open(t, dsn)
	_, err := direct.SQL().ExecContext(t.Context(), "CREATE TABLE written (id INT PRIMARY KEY)")
	require.NoError(t, err)
	proxy := testenv.NewCommitProxy(t, dsn)
	through := open(t, proxy.DSN())

	proxy.FreezeAtNextCommit()
	require.Error(t, write(t.Context(), through.SQL(), 1), "the driver gives up")
	assert.Equal(t, int64(1), proxy.Cuts())
	sent := proxy.Queries()
	require.Error(t, through.Ping(t.Context()), "a new connection gets no answer either")
	assert.Equal(t, sent, proxy.Queries(), "a ping is no query")
	proxy.Resume()
	require.NoError(t, write(t.Context(), through.SQL(), 2))
	assert.Greater(t, proxy.Queries(), sent)
	requireWritten(t, direct, "1,2")
}

func TestCommitProxyAnswersACommitAndIsGoneUntilItIsResumed(t *testing.T) {
	t.Parallel()
	dsn := testenv.Database(t)
	direct := open(t, dsn)
	_, err := direct.SQL().ExecContext(t.Context(), "CREATE TABLE written (id INT PRIMARY KEY)")
	require.NoError(t, err)
	proxy := testenv.NewCommitProxy(t, dsn)
	through := open(t, proxy.DSN())

	other, err := through.SQL().Conn(t.Context())
	require.NoError(t, err)
	proxy.DieAfterNextCommit()
	require.NoError(t, write(t.Context(), through.SQL(), 1))
	assert.Equal(t, int64(1), proxy.Cuts())
	require.Error(t, other.PingContext(t.Context()), "a connection that was open is closed")
	require.Error(t, through.Ping(t.Context()), "a new one is refused")
	_ = other.Close()
	proxy.Resume()
	require.NoError(t, write(t.Context(), through.SQL(), 2))
	requireWritten(t, direct, "1,2")
}

func requireWritten(t *testing.T, db *mysql.DB, want string) {
	t.Helper()
	var ids string
	require.NoError(t, db.SQL().QueryRowContext(t.Context(),
		"SELECT GROUP_CONCAT(id ORDER BY id) FROM written").Scan(&ids))
	require.Equal(t, want, ids)
}

func write(ctx context.Context, db *sql.DB, id int) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, "INSERT INTO written (id) VALUES (?)", id); err != nil {
		return err
	}
	return tx.Commit()
}

func requireReady(t *testing.T, db *mysql.DB) {
	t.Helper()
	version, err := db.Ready(t.Context())
	require.NoError(t, err)
	require.Equal(t, mysql.LatestVersion(), version)
}
