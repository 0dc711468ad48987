package mysql_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	driverpkg "github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/budget"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/testenv"
)

func TestTransactionGoesByOneInstantOfTheDatabasesClock(t *testing.T) {
	db, _ := counters(t)
	var before, after time.Time
	now := func(into *time.Time) {
		require.NoError(t, db.SQL().QueryRowContext(t.Context(), "SELECT NOW(6)").Scan(into))
	}
	now(&before)
	require.NoError(t, db.Tx(t.Context(), nil, func(ctx context.Context, tx *mysql.Tx) error {
		assert.False(t, tx.Now.Before(before))
		assert.Equal(t, time.UTC, tx.Now.Location())
		return incrementOne(ctx, tx)
	}))
	now(&after)
	assert.False(t, after.Before(before))
	assert.Equal(t, 1, value(t, db, 1))
}

func TestErrorOfTheWorkUndoesItAndComesBackAsItIs(t *testing.T) {
	db, _ := counters(t)
	for _, cause := range []error{errors.New("unforeseen"), sale.Fail(sale.CodeSoldOut, "gone")} {
		err := db.Tx(t.Context(), nil, func(ctx context.Context, tx *mysql.Tx) error {
			require.NoError(t, incrementOne(ctx, tx))
			return cause
		})
		require.Equal(t, cause, err)
	}
	assert.Zero(t, value(t, db, 1))
}

func TestEachCommitThatTookPlaceIsTimedAndNothingElse(t *testing.T) {
	_, dsn := counters(t)
	commits := 0
	db, err := mysql.Open(mysql.Config{
		DSN: dsn, Connections: 1, Timeout: testenv.Timeout, Log: slog.New(slog.DiscardHandler),
		Committed: func(took time.Duration) {
			assert.Positive(t, took)
			commits++
		},
	})
	require.NoError(t, err)
	defer func() { assert.NoError(t, db.Close()) }()
	failed := errors.New("unforeseen")
	require.ErrorIs(t, db.Tx(t.Context(), nil, func(context.Context, *mysql.Tx) error { return failed }), failed)
	assert.Zero(t, commits)
	for range 2 {
		require.NoError(t, db.Tx(t.Context(), nil, incrementOne))
	}
	assert.Equal(t, 2, commits)
}

func TestCallerWhoGoesAwayDoesNotEndATransactionOrARead(t *testing.T) {
	db, _ := counters(t)
	ctx, cancel := context.WithCancel(t.Context())
	require.NoError(t, db.Tx(ctx, nil, func(ctx context.Context, tx *mysql.Tx) error {
		cancel()
		return incrementOne(ctx, tx)
	}))
	assert.Equal(t, 1, value(t, db, 1))
	require.NoError(t, db.Read(ctx, func(ctx context.Context, q store.DBTX) error {
		_, err := incremented(ctx, q)
		return err
	}))
}

func TestNothingBeginsForARequestWhoseBudgetIsSpent(t *testing.T) {
	db, _ := counters(t)
	spent := budget.Within(t.Context(), 0)
	requireCode(t, db.Tx(spent, nil, incrementOne), sale.CodeOverloaded)
	requireCode(t, db.Read(spent, func(context.Context, store.DBTX) error {
		t.Error("a read has begun")
		return nil
	}), sale.CodeOverloaded)
	assert.Zero(t, value(t, db, 1))
}

func TestTransactionThatHasBegunOutlivesItsBudget(t *testing.T) {
	db, _ := counters(t)
	ctx := budget.Within(t.Context(), time.Second)
	require.NoError(t, db.Tx(ctx, nil, func(inner context.Context, tx *mysql.Tx) error {
		require.Eventually(t, func() bool { return budget.Spent(ctx) }, testenv.Timeout, time.Millisecond)
		return incrementOne(inner, tx)
	}))
	assert.Equal(t, 1, value(t, db, 1))
}

func TestLostAnswerToACommitThatTookPlaceIsASuccessOnce(t *testing.T) {
	direct, dsn := counters(t)
	proxy := testenv.NewCommitProxy(t, dsn)
	db := open(t, proxy.DSN(), 8)
	proxy.CutNextCommitAnswer()
	runs := 0
	require.NoError(t, db.Tx(t.Context(), incremented, func(ctx context.Context, tx *mysql.Tx) error {
		runs++
		return incrementOne(ctx, tx)
	}))
	assert.Equal(t, int64(1), proxy.Cuts())
	assert.Equal(t, 1, runs)
	assert.Equal(t, 1, value(t, direct, 1))
}

func TestCommitThatTheServerNeverSawIsUnavailableAndNothingIsDone(t *testing.T) {
	direct, dsn := counters(t)
	proxy := testenv.NewCommitProxy(t, dsn)
	db := open(t, proxy.DSN(), 8)
	proxy.CutNextCommit()
	requireCode(t, db.Tx(t.Context(), incremented, incrementOne), sale.CodeUnavailable)
	assert.Equal(t, int64(1), proxy.Cuts())
	assert.Zero(t, value(t, direct, 1))
	require.NoError(t, db.Tx(t.Context(), incremented, incrementOne), "the next one works")
}

func TestLostAnswerThatNobodyCanSettleIsAnUnknownOutcome(t *testing.T) {
	_, dsn := counters(t)
	proxy := testenv.NewCommitProxy(t, dsn)
	db := open(t, proxy.DSN(), 8)
	locked := func(context.Context, store.DBTX) (bool, error) {
		return false, fmt.Errorf("waiting for the commit: %w", &driverpkg.MySQLError{Number: 1205})
	}
	for name, settle := range map[string]mysql.Settle{"no question": nil, "no answer": unsettled, "a lock": locked} {
		for _, cut := range []func(){proxy.CutNextCommit, proxy.CutNextCommitAnswer} {
			cut()
			runs := 0
			err := db.Tx(t.Context(), settle, func(ctx context.Context, tx *mysql.Tx) error {
				runs++
				return incrementOne(ctx, tx)
			})
			requireCode(t, err, sale.CodeOutcomeUnknown)
			assert.Equal(t, 1, runs, "%s: what may have been done is not done again", name)
			assert.False(t, mysql.IsDeadlock(err) || mysql.IsLockWait(err), name)
		}
		assert.Positive(t, proxy.Cuts(), name)
	}
}

func TestDeadlockRunsTheWholeTransactionAgain(t *testing.T) {
	db, _ := counters(t)
	var crossing, done sync.WaitGroup
	crossing.Add(2)
	runs := make([]int, 2)
	for side := range 2 {
		done.Go(func() {
			assert.NoError(t, db.Tx(t.Context(), nil, func(ctx context.Context, tx *mysql.Tx) error {
				runs[side]++
				if err := increment(ctx, tx, 1+side); err != nil {
					return err
				}
				if runs[side] == 1 { // each has one row and wants the other's
					crossing.Done()
					crossing.Wait()
				}
				return increment(ctx, tx, 2-side)
			}))
		})
	}
	done.Wait()
	assert.Equal(t, 3, runs[0]+runs[1], "one of them lost, once")
	assert.Equal(t, []int{2, 2}, []int{value(t, db, 1), value(t, db, 2)})
}

func TestRowThatIsNeverFreeIsOverloadedAndTheWaitersWorkIsUndone(t *testing.T) {
	db, _ := counters(t)
	holder, err := db.SQL().BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, holder.Rollback()) }()
	require.NoError(t, increment(t.Context(), holder, 2))
	requireCode(t, db.Tx(t.Context(), nil, func(ctx context.Context, tx *mysql.Tx) error {
		if err := incrementOne(ctx, tx); err != nil {
			return err
		}
		return increment(ctx, tx, 2)
	}), sale.CodeOverloaded)
	assert.Zero(t, value(t, db, 1))
}

func TestDeadlockThatNeverEndsIsOverloadedAfterThreeRetries(t *testing.T) {
	db, _ := counters(t)
	runs := 0
	requireCode(t, db.Tx(t.Context(), nil, func(ctx context.Context, tx *mysql.Tx) error {
		runs++
		require.NoError(t, incrementOne(ctx, tx))
		return fmt.Errorf("updating: %w", &driverpkg.MySQLError{Number: 1213})
	}), sale.CodeOverloaded)
	assert.Equal(t, 4, runs)
	assert.Zero(t, value(t, db, 1))
}

func TestTransactionWhoseWaitForALockWasInVainRunsAgainWhileItHasTime(t *testing.T) {
	db, _ := counters(t)
	holder, err := db.SQL().BeginTx(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, increment(t.Context(), holder, 1))
	runs := 0
	require.NoError(t, db.Tx(t.Context(), nil, func(ctx context.Context, tx *mysql.Tx) error {
		if runs++; runs == 2 {
			require.NoError(t, holder.Rollback())
		}
		if _, err := tx.ExecContext(ctx, "SET innodb_lock_wait_timeout = 1"); err != nil {
			return err
		}
		return incrementOne(ctx, tx)
	}))
	assert.Equal(t, 2, runs)
	assert.Equal(t, 1, value(t, db, 1))
}

// The server ends a wait for a lock when it looks at all of them, once a second: by then the
// operation's time may be over.
func TestTransactionWhoseTimeIsOverInAWaitForALockKeepsNothingLocked(t *testing.T) {
	direct, dsn := counters(t)
	db, err := mysql.Open(mysql.Config{DSN: dsn, Connections: 4, Timeout: testenv.Timeout / 10, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	defer func() { assert.NoError(t, db.Close()) }()
	holder, err := direct.SQL().BeginTx(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, increment(t.Context(), holder, 2))
	err = db.Tx(t.Context(), nil, func(ctx context.Context, tx *mysql.Tx) error {
		if _, err := tx.ExecContext(ctx, "SET innodb_lock_wait_timeout = 1000"); err != nil {
			return err
		}
		if err := incrementOne(ctx, tx); err != nil {
			return err
		}
		return increment(ctx, tx, 2)
	})
	requireCode(t, err, sale.CodeOverloaded)
	assert.True(t, mysql.IsLockWait(err))
	require.NoError(t, direct.Tx(t.Context(), nil, incrementOne))
	assert.Equal(t, 1, value(t, direct, 1))
	require.NoError(t, holder.Rollback())
}

// A busy pool says nothing about the server: others must not be told that it is gone.
func TestFullPoolIsOverloaded(t *testing.T) {
	t.Parallel()
	db := open(t, testenv.Database(t), 1)
	conn, err := db.SQL().Conn(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	requireCode(t, db.Tx(t.Context(), nil, func(context.Context, *mysql.Tx) error { return nil }), sale.CodeOverloaded)
}

func TestErrorsAreSortedByWhatTheyMeanForTheClient(t *testing.T) {
	db, _ := counters(t)
	server := func(number uint16) error { return fmt.Errorf("querying: %w", &driverpkg.MySQLError{Number: number}) }
	domain := sale.Fail(sale.CodeSoldOut, "gone")
	for _, row := range []struct {
		err  error
		code sale.Code // "" for an error that stays as it is
	}{
		{server(1213), sale.CodeOverloaded},
		{server(1205), sale.CodeOverloaded},
		{sql.ErrTxDone, sale.CodeOverloaded},
		{fmt.Errorf("beginning: %w", context.DeadlineExceeded), sale.CodeOverloaded},
		{server(1021), sale.CodeUnavailable},
		{server(1026), sale.CodeUnavailable},
		{server(1040), sale.CodeUnavailable},
		{server(1053), sale.CodeUnavailable},
		{server(1114), sale.CodeUnavailable},
		{server(1129), sale.CodeUnavailable},
		{server(1203), sale.CodeUnavailable},
		{server(1290), sale.CodeUnavailable},
		{server(1792), sale.CodeUnavailable},
		{server(1836), sale.CodeUnavailable},
		{server(1317), sale.CodeUnavailable},
		{server(3024), sale.CodeUnavailable},
		{server(3032), sale.CodeUnavailable},
		{driver.ErrBadConn, sale.CodeUnavailable},
		{driverpkg.ErrInvalidConn, sale.CodeUnavailable},
		{io.EOF, sale.CodeUnavailable},
		{io.ErrUnexpectedEOF, sale.CodeUnavailable},
		{net.ErrClosed, sale.CodeUnavailable},
		{sql.ErrConnDone, sale.CodeUnavailable},
		{&net.OpError{Op: "dial", Err: errors.New("refused")}, sale.CodeUnavailable},
		{server(1062), ""},
		{server(3819), ""},
		{server(1064), ""},
		{sql.ErrNoRows, ""},
		{domain, ""},
	} {
		err := db.Read(t.Context(), func(context.Context, store.DBTX) error { return row.err })
		survey := db.Survey(t.Context(), func(context.Context, store.DBTX) error { return row.err })
		if row.code == "" {
			require.Equal(t, row.err, err)
			require.Equal(t, row.err, survey)
			continue
		}
		requireCode(t, err, row.code)
		requireCode(t, survey, row.code)
		require.ErrorIs(t, err, row.err, "logs show the cause")
	}
	require.NoError(t, db.Read(t.Context(), func(context.Context, store.DBTX) error { return nil }))
	assert.True(t, mysql.IsDuplicate(server(1062)))
	assert.False(t, mysql.IsDuplicate(server(1213)))
	assert.False(t, mysql.IsDuplicate(nil))
}
