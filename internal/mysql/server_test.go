package mysql_test

import (
	"context"
	"database/sql"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/testenv"
)

func ask(ctx context.Context, q store.DBTX) error {
	var n int
	return q.QueryRowContext(ctx, "SELECT n FROM counters WHERE id = 2").Scan(&n)
}

// A server that is back is believed after one ping, which a busy machine may keep waiting.
const (
	recovery = 30 * time.Second
	pollGap  = 5 * time.Millisecond
)

// One server plays all parts in turn, since each takes seconds to start.
func TestServerThatHangsOrIsGoneIsUnavailableAndTheServiceRecovers(t *testing.T) {
	t.Parallel()
	server := testenv.OwnMySQL(t)
	db := open(t, server.DSN(), 4)
	makeCounters(t, db)
	requireUnavailable := func() {
		t.Helper()
		requireCode(t, db.Tx(t.Context(), incremented, incrementOne), sale.CodeUnavailable)
		requireCode(t, db.Read(t.Context(), ask), sale.CodeUnavailable)
		require.Error(t, db.Ping(t.Context()))
	}
	requireServed := func() {
		t.Helper()
		require.Eventually(t, func() bool { return db.Read(t.Context(), ask) == nil }, recovery, pollGap)
		require.NoError(t, db.Tx(t.Context(), incremented, incrementOne))
	}

	server.Pause()
	requireUnavailable()
	server.Unpause()
	requireServed()
	assert.Equal(t, 1, value(t, db, 1), "what was refused while it hung was not done")

	requireCode(t, db.Tx(t.Context(), incremented, func(ctx context.Context, tx *mysql.Tx) error {
		if err := increment(ctx, tx, 2); err != nil {
			return err
		}
		server.Pause()
		return nil
	}), sale.CodeOutcomeUnknown)
	server.Unpause()

	server.Stop()
	requireUnavailable()
	server.Start()
	requireServed()
	assert.Equal(t, 2, value(t, db, 1))
}

// A server that starts again counts its connections from the beginning.
func TestConnectionThatHasTheNumberOfOneBeforeARestartIsNotEnded(t *testing.T) {
	t.Parallel()
	const (
		before   = 64 // more connections than a start makes
		patience = time.Minute
	)
	server := testenv.OwnMySQL(t)
	db, err := mysql.Open(mysql.Config{
		DSN: server.DSN(), Connections: 2 * before, Timeout: patience, Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	for range before {
		connect(t, db)
	}
	makeCounters(t, db)

	var stranger *sql.Conn
	err = db.Tx(t.Context(), incremented, func(ctx context.Context, tx *mysql.Tx) error {
		number := numberOf(ctx, t, tx)
		server.Stop()
		server.Start()
		others := open(t, server.DSN(), 2*before)
		for stranger == nil || numberOf(ctx, t, stranger) < number {
			stranger = connect(t, others)
		}
		require.Equal(t, number, numberOf(ctx, t, stranger), "the number is taken already")
		return nil
	})
	requireCode(t, err, sale.CodeUnavailable)
	assert.NoError(t, stranger.PingContext(t.Context()), "the stranger's connection")
}

// connect takes a connection that stays open until the test ends.
func connect(t *testing.T, db *mysql.DB) *sql.Conn {
	t.Helper()
	conn, err := db.SQL().Conn(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func numberOf(ctx context.Context, t *testing.T, q store.DBTX) int64 {
	t.Helper()
	instant, err := store.New().Instant(ctx, q)
	require.NoError(t, err)
	return instant.ConnectionID
}

// MySQL waits for space within a COMMIT, and aborts some seconds after that was killed.
func TestCommitThatWaitsForTheBinaryLogsDiskIsAnUnknownOutcomeAndTheServerLives(t *testing.T) {
	t.Parallel()
	const (
		times   = 6  // together longer than the abort takes
		mostFit = 64 // commits into what is left of the log's last page
	)
	server := testenv.OwnMySQLOn(t, []testenv.Disk{{Folder: testenv.BinlogFolder, Megabytes: 8}})
	db := open(t, server.DSN(), 4)
	makeCounters(t, db)

	server.Fill(testenv.BinlogFolder)
	commit := func(id int) error {
		return db.Tx(t.Context(), settledBy(id), func(ctx context.Context, tx *mysql.Tx) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO counters VALUES (?, 0)", 100+id)
			return err
		})
	}
	fit := 0
	for fit < mostFit && commit(fit) == nil {
		fit++
	}
	require.Less(t, fit, mostFit, "the disk is not full")
	for id := range times {
		requireCode(t, commit(fit+1+id), sale.CodeOutcomeUnknown)
	}
	require.NoError(t, db.Read(t.Context(), ask), "the server is still there")
}

// settledBy settles by whether a counter is there.
func settledBy(id int) mysql.Settle {
	return func(ctx context.Context, q store.DBTX) (bool, error) {
		var n int
		err := q.QueryRowContext(ctx, "SELECT COUNT(*) FROM counters WHERE id = ? FOR SHARE", 100+id).Scan(&n)
		return n > 0, err
	}
}
