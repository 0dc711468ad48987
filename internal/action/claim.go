package action

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/budget"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

const (
	// keyLife is how long a key answers again.
	keyLife = 24 * time.Hour
	// claimBytes is the size of a key's hash and of a body's fingerprint.
	claimBytes = 16
)

// errTaken says that a key's record is there already: this transaction did nothing.
var errTaken = errors.New("the idempotency key is taken")

// insertNew inserts rows; errTaken when one of them is there already.
func insertNew(ctx context.Context, tx *mysql.Tx, insert string, rows []any) error {
	_, err := tx.ExecContext(ctx, insert, rows...)
	if mysql.IsDuplicate(err) {
		return errTaken
	}
	return err
}

// claim is one request's mark in the database: it commits with the effect, makes a
// key count once, and tells after a lost commit whether the effect took place. A
// request without a key has a claim that nobody else can meet.
type claim struct {
	id          [claimBytes]byte
	fingerprint [claimBytes]byte
}

// newClaim hashes the scope of a key (operation and the thing it is about) and
// what was asked: bytes as they are, all else as JSON.
func newClaim(operation, subject, key string, asked any) (claim, error) {
	var c claim
	body, ready := asked.([]byte)
	if !ready {
		var err error
		if body, err = json.Marshal(asked); err != nil {
			return c, fmt.Errorf("fingerprinting a request: %w", err)
		}
	}
	fingerprint := sha256.Sum256(body)
	copy(c.fingerprint[:], fingerprint[:])
	if key == "" {
		rand.Read(c.id[:])
		return c, nil
	}
	scope := sha256.Sum256([]byte(operation + "\x00" + subject + "\x00" + key))
	copy(c.id[:], scope[:])
	return c, nil
}

// write makes the mark; target is the id of what came of the request. errTaken
// when another request had this effect and its record still counts.
func (c claim) write(ctx context.Context, q *store.Queries, tx *mysql.Tx, target [claimBytes]byte) error {
	return writeClaims(ctx, q, tx, []marked{{c, target}})
}

// marked is a claim and what came of its request.
type marked struct {
	claim  claim
	target [claimBytes]byte
}

// writeClaims makes many marks in one statement, in the order of their ids, so that
// transactions with common keys wait for each other and do not deadlock. Records
// that are too old to count make room. errTaken when one counts.
func writeClaims(ctx context.Context, q *store.Queries, tx *mysql.Tx, marks []marked) error {
	if len(marks) == 0 {
		return nil
	}
	slices.SortFunc(marks, func(x, y marked) int { return bytes.Compare(x.claim.id[:], y.claim.id[:]) })
	err := insertClaims(ctx, tx, marks)
	if mysql.IsDuplicate(err) {
		if err := forgetOld(ctx, q, tx, marks); err != nil {
			return err
		}
		err = insertClaims(ctx, tx, marks)
	}
	switch {
	case mysql.IsDuplicate(err):
		return errTaken
	case err != nil:
		return fmt.Errorf("writing %d idempotency keys: %w", len(marks), err)
	}
	return nil
}

// forgetOld deletes those of these marks' records that are too old to count. errTaken when
// there is none.
func forgetOld(ctx context.Context, q *store.Queries, tx *mysql.Tx, marks []marked) error {
	before := tx.Now.Add(-keyLife)
	old, err := q.OldIdempotencyKeys(ctx, tx, store.OldIdempotencyKeysParams{Ids: idsOf(marks), Before: before})
	switch {
	case err != nil:
		return fmt.Errorf("looking for old idempotency keys: %w", err)
	case len(old) == 0:
		return errTaken
	}
	_, err = q.DeleteOldIdempotencyKeys(ctx, tx, store.DeleteOldIdempotencyKeysParams{Ids: old, Before: before})
	if err != nil {
		return fmt.Errorf("forgetting %d old idempotency keys: %w", len(old), err)
	}
	return nil
}

func insertClaims(ctx context.Context, tx *mysql.Tx, marks []marked) error {
	args := make([]any, 0, len(marks)*claimColumns)
	for _, mark := range marks {
		args = append(args, mark.claim.id[:], mark.claim.fingerprint[:], mark.target[:], tx.Now)
	}
	_, err := tx.ExecContext(ctx, mysql.ExpandRows(store.InsertIdempotencyKey, len(marks)), args...)
	return err
}

func idsOf(marks []marked) [][]byte {
	ids := make([][]byte, len(marks))
	for i := range marks {
		ids[i] = marks[i].claim.id[:]
	}
	return ids
}

// claimColumns is how many values one row of InsertIdempotencyKey takes.
const claimColumns = 4

// settle asks whether the transaction that wrote this mark at made took place.
func (c claim) settle(q *store.Queries, target [claimBytes]byte, made *time.Time) mysql.Settle {
	return func(ctx context.Context, conn store.DBTX) (bool, error) {
		n, err := q.IdempotencyKeyExists(ctx, conn, store.IdempotencyKeyExistsParams{
			ID: c.id[:], Target: target[:], CreatedAt: *made,
		})
		return n > 0, err
	}
}

// recall gives what a taken key came to. CodeKeyReused when something else was
// asked with it.
func (c claim) recall(ctx context.Context, db *mysql.DB, q *store.Queries) ([claimBytes]byte, error) {
	var target [claimBytes]byte
	err := db.Read(ctx, func(ctx context.Context, conn store.DBTX) error {
		row, err := q.GetIdempotencyKey(ctx, conn, c.id[:])
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return keyInProgress()
		case err != nil:
			return fmt.Errorf("reading an idempotency key: %w", err)
		}
		target = [claimBytes]byte(row.Target)
		return c.compare(row.Fingerprint)
	})
	return target, err
}

// usedKeys are the records of keys that had an effect within their life.
type usedKeys map[[claimBytes]byte]store.IdempotencyKeysThereRow

// keysThere says which of these keys had an effect within their life, and which.
func (d *desk) keysThere(ctx context.Context, q store.DBTX, keys [][]byte) (usedKeys, error) {
	if len(keys) == 0 {
		return usedKeys{}, nil
	}
	rows, err := d.q.IdempotencyKeysThere(ctx, q, store.IdempotencyKeysThereParams{
		Ids: keys, LifeSeconds: inSeconds(keyLife),
	})
	if err != nil {
		return nil, fmt.Errorf("looking for idempotency keys: %w", err)
	}
	there := make(usedKeys, len(rows))
	for _, row := range rows {
		there[[claimBytes]byte(row.ID)] = row
	}
	return there, nil
}

// compare returns CodeKeyReused for the record of another request with this key.
func (c claim) compare(fingerprint []byte) error {
	if [claimBytes]byte(fingerprint) != c.fingerprint {
		return keyReused()
	}
	return nil
}

func keyReused() *sale.Error {
	return sale.Fail(sale.CodeKeyReused, "This Idempotency-Key was used for another request.")
}

func keyInProgress() *sale.Error {
	return &sale.Error{
		Code: sale.CodeKeyInProgress, RetryAfter: time.Second,
		Detail: "A request with this Idempotency-Key is still running.",
	}
}

// flights make equal keys of one process follow each other. In the database they
// would wait with a connection each, and deadlock when the first rolls back.
type flights struct {
	maxWait time.Duration // for an equal key
	mu      sync.Mutex
	running map[[claimBytes]byte]chan struct{}
}

func newFlights(maxWait time.Duration) *flights {
	return &flights{maxWait: maxWait, running: map[[claimBytes]byte]chan struct{}{}}
}

// begin waits until no equal key runs, at most maxWait and no longer than the request's
// budget, then runs it.
func (f *flights) begin(ctx context.Context, id [claimBytes]byte) (end func(), err error) {
	done := make(chan struct{})
	other := f.enter(id, done)
	if other != nil {
		timer := time.NewTimer(budget.Left(ctx, f.maxWait))
		defer timer.Stop()
		for ; other != nil; other = f.enter(id, done) {
			select {
			case <-other:
			case <-timer.C:
				return nil, keyInProgress()
			case <-ctx.Done():
				return nil, fmt.Errorf("waiting for an equal key: %w", ctx.Err())
			}
		}
	}
	return func() { f.end(id, done) }, nil
}

// enter makes this the request that runs with a key, unless another does; then it
// gives what is closed at the other's end.
func (f *flights) enter(id [claimBytes]byte, done chan struct{}) (other chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if other, busy := f.running[id]; busy {
		return other
	}
	f.running[id] = done
	return nil
}

func (f *flights) end(id [claimBytes]byte, done chan struct{}) {
	f.mu.Lock()
	delete(f.running, id)
	f.mu.Unlock()
	close(done)
}
