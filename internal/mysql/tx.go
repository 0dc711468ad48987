package mysql

import (
	"cmp"
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
		if !isContention(err) || retry == maxRetries || timed.Err() != nil {
			db.space.note(err, looks)
			return db.verdict(ctx, err)
		}
		pause(timed, retry)
	}
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
	sqlTx, leave, err := db.begin(ctx)
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	defer leave()
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
		if ctx.Err() != nil {
			db.abandon(ctx, start.Add(db.timeouts.commit), instant)
		}
		return err
	}
	return db.commit(ctx, start, sqlTx, instant, settle)
}

// begin begins a transaction that keeps its connection until it is ended, whatever becomes of
// ctx: as long as it does, the connection's number is nobody else's. leave comes after that.
func (db *DB) begin(ctx context.Context) (tx *sql.Tx, leave func(), err error) {
	begun, leave := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, leave)
	if tx, err = db.pool.BeginTx(begun, nil); err == nil && stop() {
		return tx, leave, nil
	}
	leave() // which undoes what has begun
	return nil, nil, cmp.Or(ctx.Err(), err)
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

// abandon ends what a transaction whose time was over before its COMMIT still does on the server,
// and waits until it is undone. A statement in a lock's queue would stay there, with all that the
// transaction has locked: the server does not notice that its connection is gone. The caller has
// the connection still, so its number is nobody else's but after a restart of the server.
func (db *DB) abandon(ctx context.Context, deadline time.Time, begun store.InstantRow) {
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	seen, err := seeConnection(ctx, db.proof, begun)
	for err == nil && seen.same {
		if err = kill(ctx, db.proof, begun.ConnectionID); err == nil {
			pause(ctx, 0)
			seen, err = seeConnection(ctx, db.proof, begun)
		}
	}
	if err != nil {
		db.log.WarnContext(ctx, "mysql.not_abandoned", slog.Any("error", err))
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
// the write to the binary log, upon which the whole server aborts.
func endIdle(ctx context.Context, q store.DBTX, begun store.InstantRow) error {
	seen, err := seeConnection(ctx, q, begun)
	if err != nil || !seen.same || !seen.idle {
		return err
	}
	return kill(ctx, q, begun.ConnectionID)
}

// connectionSeen is what the server says of a transaction's connection.
type connectionSeen struct {
	idle bool
	same bool // not somebody else's, of a server that started after the transaction
}

// seeConnection finds a transaction's connection; one that is gone is not the same.
func seeConnection(ctx context.Context, q store.DBTX, begun store.InstantRow) (seen connectionSeen, err error) {
	err = q.QueryRowContext(ctx, connectionSince, begun.Now, begun.ConnectionID).Scan(&seen.idle, &seen.same)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return seen, fmt.Errorf("looking for the old connection: %w", err)
	}
	return seen, nil
}

func kill(ctx context.Context, q store.DBTX, connection int64) error {
	if _, err := q.ExecContext(ctx, "KILL ?", connection); err != nil && !isServerError(err, unknownThread) {
		return fmt.Errorf("ending the old connection: %w", err)
	}
	return nil
}

// connectionSince asks whether a connection is idle, and whether the server was there at an
// instant. The server counts whole seconds, so for the first of them it says no.
const connectionSince = `
SELECT command = 'Sleep', ? > NOW(6) - INTERVAL (
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
