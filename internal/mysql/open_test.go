package mysql_test

import (
	"context"
	"database/sql"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/testenv"
)

func TestBadDSNIsRefusedWithoutItsPassword(t *testing.T) {
	t.Parallel()
	for _, dsn := range []string{"", "flashsale:secret@", "flashsale:secret@tcp(mysql:3306)/", "flashsale:secret@tcp(mysql:3306)", "secret"} {
		_, err := mysql.Open(mysql.Config{DSN: dsn, Log: slog.New(slog.DiscardHandler)})
		require.Error(t, err, dsn)
		assert.NotContains(t, err.Error(), "secret")
	}
}

func TestOpenNeedsNoServer(t *testing.T) {
	t.Parallel()
	db, err := mysql.Open(mysql.Config{DSN: "flashsale:secret@tcp(127.0.0.1:1)/flashsale", Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.Error(t, db.Ping(t.Context()))
	require.NoError(t, db.Close())
}

func TestEveryConnectionHasTheSessionVariables(t *testing.T) {
	t.Parallel()
	db := open(t, testenv.Database(t)+"?clientFoundRows=true&multiStatements=true&time_zone=%27%2B02:00%27", 3)
	for range 3 { // kept open, so that each is another one
		conn, err := db.SQL().Conn(t.Context())
		require.NoError(t, err)
		defer func() { assert.NoError(t, conn.Close()) }()
		var zone, isolation, mode string
		var lockWait, wait int
		require.NoError(t, conn.QueryRowContext(t.Context(),
			"SELECT @@time_zone, @@transaction_isolation, @@sql_mode, @@innodb_lock_wait_timeout, @@wait_timeout").
			Scan(&zone, &isolation, &mode, &lockWait, &wait))
		assert.Equal(t, "+00:00", zone)
		assert.Equal(t, "READ-COMMITTED", isolation)
		assert.Contains(t, mode, "STRICT_ALL_TABLES")
		assert.Contains(t, mode, "ONLY_FULL_GROUP_BY")
		assert.Equal(t, int(testenv.Timeout/time.Second)-1, lockWait, "less than an operation may take")
		assert.Equal(t, 30, wait)
	}
}

func TestAffectedMeansChangedAndStatementsComeOneByOne(t *testing.T) {
	t.Parallel()
	db := open(t, testenv.Database(t)+"?clientFoundRows=true&multiStatements=true", 2)
	makeCounters(t, db)
	result, err := db.SQL().ExecContext(t.Context(), "UPDATE counters SET n = 0")
	require.NoError(t, err)
	changed, err := result.RowsAffected()
	require.NoError(t, err)
	assert.Zero(t, changed)
	_, err = db.SQL().ExecContext(t.Context(), "UPDATE counters SET n = 1; UPDATE counters SET n = 2")
	assert.Error(t, err)
}

func TestSchemaGoesUpAndDownAndUpAgain(t *testing.T) {
	t.Parallel()
	dsn, newest := testenv.Database(t), mysql.LatestVersion()
	db := open(t, dsn, 2)
	requireVersion := func(want uint) {
		t.Helper()
		version, dirty, err := mysql.MigrationVersion(t.Context(), dsn)
		require.NoError(t, err)
		require.False(t, dirty)
		require.Equal(t, want, version)
	}
	move := func(want uint, do func() (uint, error)) {
		t.Helper()
		version, err := do()
		require.NoError(t, err)
		require.Equal(t, want, version)
		requireVersion(want)
	}
	up := func() (uint, error) { return mysql.MigrateUp(t.Context(), dsn) }
	before := definitions(t, db.SQL())

	version, err := db.Ready(t.Context())
	require.NoError(t, err)
	require.Equal(t, newest, version)
	move(newest, up) // nothing to do
	move(newest-1, func() (uint, error) { return mysql.MigrateDown(t.Context(), dsn, 1) })
	_, err = db.Ready(t.Context())
	require.ErrorIs(t, err, mysql.ErrNotMigrated)
	move(0, func() (uint, error) { return mysql.MigrateDown(t.Context(), dsn, int(newest-1)) })
	_, err = db.Ready(t.Context())
	require.ErrorIs(t, err, mysql.ErrNotMigrated)
	assert.Empty(t, definitions(t, db.SQL()), "nothing is left behind")
	move(newest, up)
	_, err = db.Ready(t.Context())
	require.NoError(t, err)
	assert.Equal(t, before, definitions(t, db.SQL()))
}

func TestDatabaseThatWasNeverMigratedOrIsHalfMadeIsNotReady(t *testing.T) {
	t.Parallel()
	db := open(t, testenv.Database(t), 2)
	for _, query := range []string{
		"UPDATE schema_migrations SET dirty = TRUE", "DELETE FROM schema_migrations", "DROP TABLE schema_migrations",
	} {
		_, err := db.SQL().ExecContext(t.Context(), query)
		require.NoError(t, err)
		_, err = db.Ready(t.Context())
		require.ErrorIs(t, err, mysql.ErrNotMigrated, query)
	}
}

// A server whose rows others hold answers nevertheless: it is not to leave a load balancer.
func TestABusyPoolIsReady(t *testing.T) {
	t.Parallel()
	db := open(t, testenv.Database(t), 1)
	busy, err := db.SQL().Conn(t.Context())
	require.NoError(t, err)
	defer func() { assert.NoError(t, busy.Close()) }()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err = db.Ready(ctx)
	require.NoError(t, err)
}

func TestServerThatCannotBeReachedIsNotCalledUnmigrated(t *testing.T) {
	t.Parallel()
	const dsn = "flashsale:secret@tcp(127.0.0.1:1)/flashsale"
	_, err := open(t, dsn, 1).Ready(t.Context())
	require.Error(t, err)
	require.NotErrorIs(t, err, mysql.ErrNotMigrated)
	_, err = mysql.MigrateUp(t.Context(), dsn)
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "secret")
}

// definitions are the statements that made the tables, but for the migrations' own.
func definitions(t *testing.T, db *sql.DB) map[string]string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(),
		"SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name <> 'schema_migrations'")
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	made := map[string]string{}
	for rows.Next() {
		var table, statement string
		require.NoError(t, rows.Scan(&table))
		require.NoError(t, db.QueryRowContext(t.Context(), "SHOW CREATE TABLE "+table).Scan(&table, &statement))
		made[table] = statement
	}
	require.NoError(t, rows.Err())
	return made
}

func TestWithDatabaseChangesTheNameOnly(t *testing.T) {
	t.Parallel()
	const dsn = "flashsale:secret@tcp(mysql:3306)/one?tls=true"
	other, err := mysql.WithDatabase(dsn, "other")
	require.NoError(t, err)
	assert.Equal(t, "flashsale:secret@tcp(mysql:3306)/other?tls=true", other)
	none, err := mysql.WithDatabase(dsn, "")
	require.NoError(t, err)
	assert.Equal(t, "flashsale:secret@tcp(mysql:3306)/?tls=true", none)
	_, err = mysql.WithDatabase("secret", "other")
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "secret")
}

func TestExpandedInsertRepeatsItsTuple(t *testing.T) {
	t.Parallel()
	const insert = "-- name: X :exec\nINSERT INTO x (a, b)\nVALUES (?, 'held')\n"
	for n, want := range map[int]string{
		1: "-- name: X :exec\nINSERT INTO x (a, b)\nVALUES (?, 'held')",
		3: "-- name: X :exec\nINSERT INTO x (a, b)\nVALUES (?, 'held'), (?, 'held'), (?, 'held')",
	} {
		assert.Equal(t, want, mysql.ExpandRows(insert, n))
	}
	assert.Equal(t, "INSERT INTO x VALUES (?, NOW(6)), (?, NOW(6))", mysql.ExpandRows("INSERT INTO x VALUES (?, NOW(6))", 2))
	assert.Equal(t, "INSERT INTO x VALUES (?), (?)\nON DUPLICATE KEY UPDATE a = COALESCE(a)",
		mysql.ExpandRows("INSERT INTO x VALUES (?)\nON DUPLICATE KEY UPDATE a = COALESCE(a)\n", 2))
}
