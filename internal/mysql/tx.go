package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/budget"
)

// DefaultTimeout is how long an operation may take up to its COMMIT. With it nobody
// waits longer than two seconds for a server that hangs.
const DefaultTimeout = 1200 * time.Millisecond

// timeouts are the deadlines of one operation, counted from its start.
type timeouts struct {
	operation time.Duration // of a read, and of a transaction up to its COMMIT
	lock      time.Duration // of a wait for one lock, in whole seconds
	commit    time.Duration // when an answer to COMMIT is waited for no longer
	settle    time.Duration // when the search for a lost COMMIT's outcome ends
	// answer bounds the wait for any single answer. It is longer than the others,
	// which decide what a client is told; this one only frees the connection.
	answer time.Duration
	// proof bounds the ping that ends a doubt of the server.
	proof time.Duration
	// room is how long a server without room for changes is left alone.
	room time.Duration
}

func timeoutsFor(operation time.Duration) timeouts {
	return timeouts{
		operation: operation,
		lock:      max(time.Second, (operation - 1).Truncate(time.Second)),
		commit:    operation * 5 / 4,
		settle:    operation * 19 / 12,
		answer:    operation * 5 / 3,
		proof:     operation / 4,
		room:      operation,
	}
}

// Timeout is how long an operation may take up to its COMMIT.
func (db *DB) Timeout() time.Duration { return db.timeouts.operation }

const (
	// maxRetries is how often a transaction that lost against others runs again.
	maxRetries = 3
	// retryPause is the mean pause before the first retry; it doubles.
	retryPause = 4 * time.Millisecond
)

// errUnanswered says that the server owes the answer to a COMMIT or a ROLLBACK.
var errUnanswered = errors.New("no answer to the transaction's end in time")

// errNoRoom is for logs.
var errNoRoom = errors.New("a disk of the server was full a moment ago")

// Tx is a running transaction and the one instant that it goes by, the database's
// clock at its start. Queries of gen/store take it as their DBTX.
type Tx struct {
	store.DBTX
	Clock
}

// Clock is the database's clock at an instant of this process's.
type Clock struct {
	Now time.Time
	at  time.Time
}

// ClockAt is what the database has just told of its clock.
func ClockAt(now time.Time) Clock { return Clock{Now: now, at: time.Now()} }

// Of is what the database's clock was at another instant of this process's, however long
// ago it was asked.
func (c Clock) Of(instant time.Time) time.Time { return c.Now.Add(instant.Sub(c.at)) }

// Settle finds out, with a locking read by primary key, whether a transaction
// whose COMMIT was not answered took place.
type Settle func(ctx context.Context, q store.DBTX) (bool, error)

// Tx runs work in one transaction and commits it, again from the start when it
// lost a deadlock or a lock wait. The caller's going away does not end it, time
// does. When the answer to COMMIT is lost, settle finds the outcome out; nil when
// nobody can tell. Errors that clients may see are *sale.Error: unavailable and
// overloaded when nothing was done, outcome_unknown when that is not known. Nothing
// begins for a request whose budget is spent, or for a while after a disk was full.
func (db *DB) Tx(ctx context.Context, settle Settle, work func(ctx context.Context, tx *Tx) error) error {
	if budget.Spent(ctx) {
		return tooLate()
	}
	if err := db.doubt.clear(ctx, db.probe); err != nil {
		return Unavailable(err)
	}
	admitted, looks := db.space.admit()
	if !admitted {
		return Unavailable(errNoRoom)
	}
	start := time.Now()
	timed, cancel := context.WithDeadline(context.WithoutCancel(ctx), start.Add(db.timeouts.operation))
	defer cancel()
	for retry := 0; ; retry++ {
		err := db.once(timed, start, settle, work)
		if !isContention(err) || retry == maxRetries || timed.Err() != nil || db.inVain(timed, err) {
			db.space.note(err, looks)
			return db.verdict(ctx, err)
		}
		pause(timed, retry)
	}
}

// inVain says that a transaction which waited for a lock cannot wait for it as long again.
// Broken off in its wait it would stay in the lock's queue, with all that it had locked itself.
func (db *DB) inVain(ctx context.Context, err error) bool {
	deadline, _ := ctx.Deadline()
	return isServerError(err, lockWaitTimeout) && time.Until(deadline) < db.timeouts.lock
}

// verdict remembers what an error says about the server, then classifies it. What
// is known already stays: an unknown outcome is not made 'nothing was done'.
func (db *DB) verdict(ctx context.Context, err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errUnanswered) {
		db.doubt.raise()
		if isKnown(err) {
			return err
		}
		if provenErr := db.doubt.clear(ctx, db.probe); provenErr != nil {
			return Unavailable(errors.Join(err, provenErr))
		}
	}
	err = classify(err)
	if err != nil && isUnreachable(err) {
		db.log.WarnContext(ctx, "mysql.unreachable", slog.Any("error", err))
	}
	return err
}

func (db *DB) once(
	ctx context.Context, start time.Time, settle Settle, work func(context.Context, *Tx) error,
) (err error) {
	sqlTx, err := db.pool.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	defer func() {
		if err != nil {
			db.undo(sqlTx, start.Add(db.timeouts.commit))
		}
	}()
	instant, err := store.New().Instant(ctx, sqlTx)
	if err != nil {
		return fmt.Errorf("asking for the time: %w", err)
	}
	if err := work(ctx, &Tx{DBTX: sqlTx, Clock: ClockAt(instant.Now)}); err != nil {
		return err
	}
	return db.commit(ctx, start, sqlTx, instant, settle)
}

// commit ends a transaction. The server's own refusal means that nothing was done;
// no answer means that the outcome has to be found out.
func (db *DB) commit(ctx context.Context, start time.Time, tx *sql.Tx, begun store.InstantRow, settle Settle) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("before the commit: %w", err)
	}
	began := time.Now()
	err := answered(tx.Commit, start.Add(db.timeouts.commit))
	if err == nil {
		db.committed(time.Since(began))
		return nil
	}
	if isContention(err) || errors.Is(err, sql.ErrTxDone) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	db.log.WarnContext(ctx, "mysql.commit_unanswered", slog.Any("error", err))
	if settle == nil {
		return OutcomeUnknown(err)
	}
	committed, settleErr := db.settle(ctx, start.Add(db.timeouts.settle), begun, settle)
	switch {
	case settleErr != nil:
		return OutcomeUnknown(errors.Join(err, settleErr))
	case !committed:
		return Unavailable(fmt.Errorf("the commit did not take place: %w", err))
	default:
		return nil
	}
}

// undo rolls back. The error that ended the work says more than a failed rollback, which
// only means that the connection is gone and the server rolls back.
func (db *DB) undo(tx *sql.Tx, deadline time.Time) {
	if errors.Is(answered(tx.Rollback, deadline), errUnanswered) {
		db.doubt.raise()
	}
}

// answered ends a transaction and waits for the answer until the deadline. The driver
// gives up on its own a little later, and the connection with it.
func answered(end func() error, deadline time.Time) error {
	answer := make(chan error, 1)
	go func() { answer <- end() }()
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case err := <-answer:
		return err
	case <-timer.C:
		return errUnanswered
	}
}

// settle ends the old connection, where the COMMIT never came, then asks with a locking
// read, which waits for one that is under way.
func (db *DB) settle(ctx context.Context, deadline time.Time, begun store.InstantRow, settle Settle) (bool, error) {
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	conn, err := db.pool.Conn(ctx)
	if err != nil {
		return false, fmt.Errorf("connecting to find a commit's outcome: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if err := endIdle(ctx, conn, begun); err != nil {
		return false, err
	}
	committed, err := settle(ctx, conn)
	if err != nil {
		return false, fmt.Errorf("finding a commit's outcome: %w", err)
	}
	return committed, nil
}

// endIdle ends a transaction's connection when it is seen idle. One that is committing is
// left alone: on a full disk MySQL waits for space within a COMMIT, and a KILL there fails
// the write to the binary log, upon which the whole server aborts. So is one of a server
// that started after the transaction: the number is somebody else's there.
func endIdle(ctx context.Context, conn *sql.Conn, begun store.InstantRow) error {
	var idle bool
	err := conn.QueryRowContext(ctx, idleSinceBefore, begun.Now, begun.ConnectionID).Scan(&idle)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("looking for the old connection: %w", err)
	}
	if !idle {
		return nil
	}
	if _, err := conn.ExecContext(ctx, "KILL ?", begun.ConnectionID); err != nil && !isServerError(err, unknownThread) {
		return fmt.Errorf("ending the old connection: %w", err)
	}
	return nil
}

// idleSinceBefore asks whether a connection is idle and the server was there at an instant.
// The server counts whole seconds, so for the first of them it says no.
const idleSinceBefore = `
SELECT command = 'Sleep' AND ? > NOW(6) - INTERVAL (
    SELECT variable_value FROM performance_schema.global_status WHERE variable_name = 'Uptime') SECOND
FROM performance_schema.processlist WHERE id = ?`

func pause(ctx context.Context, retry int) {
	longest := retryPause << (retry + 1)
	timer := time.NewTimer(rand.N(longest)) //nolint:gosec // jitter, not a secret
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Read runs reads outside of a transaction, each seeing what is committed. Its
// errors are those of Tx that say that nothing was done.
func (db *DB) Read(ctx context.Context, read func(ctx context.Context, q store.DBTX) error) error {
	if budget.Spent(ctx) {
		return tooLate()
	}
	if err := db.doubt.clear(ctx, db.probe); err != nil {
		return Unavailable(err)
	}
	timed, cancel := context.WithTimeout(context.WithoutCancel(ctx), db.timeouts.operation)
	defer cancel()
	return db.verdict(ctx, read(timed, db.pool))
}

// Peek is Read that also sees what others have written and not committed. It waits for nobody.
func (db *DB) Peek(ctx context.Context, read func(ctx context.Context, q store.DBTX) error) error {
	return db.Read(ctx, func(ctx context.Context, _ store.DBTX) error {
		tx, err := db.pool.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadUncommitted, ReadOnly: true})
		if err != nil {
			return fmt.Errorf("beginning to peek: %w", err)
		}
		defer func() { _ = tx.Rollback() }() // nothing was written
		return read(ctx, tx)
	})
}

// Survey runs reads that may take long, whole tables for example, on connections
// of their own, until the caller's context ends.
func (db *DB) Survey(ctx context.Context, read func(ctx context.Context, q store.DBTX) error) error {
	return classify(read(ctx, db.patient))
}
