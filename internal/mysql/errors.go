package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// The server's error numbers that mean something to us.
const (
	diskFull            = 1021
	writeError          = 1026
	tooManyConnections  = 1040
	shutdownInProgress  = 1053
	duplicateEntry      = 1062
	unknownThread       = 1094
	tableFull           = 1114
	hostBlocked         = 1129
	noSuchTable         = 1146
	tooManyOfAccount    = 1203
	lockWaitTimeout     = 1205
	deadlock            = 1213
	readOnlyServer      = 1290
	queryInterrupted    = 1317
	queryTimeout        = 3024
	readOnlyTransaction = 1792
	readOnlyMode        = 1836
	offlineMode         = 3032
)

// retryAfter is how long a client does well to wait when the database could not
// serve it.
const retryAfter = time.Second

// IsDuplicate says that a row with this key is there already.
func IsDuplicate(err error) bool { return isServerError(err, duplicateEntry) }

func isServerError(err error, numbers ...uint16) bool {
	var serverErr *mysql.MySQLError
	if !errors.As(err, &serverErr) {
		return false
	}
	for _, number := range numbers {
		if serverErr.Number == number {
			return true
		}
	}
	return false
}

// IsDeadlock says that the transaction was undone for the sake of others: with fewer rows it
// may be done.
func IsDeadlock(err error) bool { return isContention(err) && isServerError(err, deadlock) }

// IsLockWait says that the transaction was undone after it waited in vain, for what somebody else
// had locked as far as one can tell: that took nearly all of its time, or more than there was.
func IsLockWait(err error) bool {
	return errors.Is(err, &sale.Error{Code: sale.CodeOverloaded}) &&
		(isServerError(err, lockWaitTimeout) || errors.Is(err, context.DeadlineExceeded))
}

// isContention says that the transaction lost against others and may run again. One whose
// COMMIT was sent may have been done: not even when the search for its outcome lost.
func isContention(err error) bool {
	return isServerError(err, deadlock, lockWaitTimeout) && !errors.Is(err, &sale.Error{Code: sale.CodeOutcomeUnknown})
}

// isFull says that a change did not fit on the server's disk.
func isFull(err error) bool { return isServerError(err, diskFull, writeError, tableFull) }

// isUnreachable says that the server could not be asked, is going away, or has no room
// for a change.
func isUnreachable(err error) bool {
	var netErr net.Error
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.As(err, &netErr) && !errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, sql.ErrConnDone) || isFull(err) ||
		isServerError(err, tooManyConnections, tooManyOfAccount, hostBlocked, shutdownInProgress, readOnlyServer,
			readOnlyTransaction, readOnlyMode, offlineMode, queryInterrupted, queryTimeout)
}

// classify makes of a failure that did nothing what a client may see of it; an
// error of the domain, or one that nobody foresaw, stays as it is.
func classify(err error) error {
	switch {
	case err == nil || isKnown(err):
		return err
	case isContention(err), errors.Is(err, context.DeadlineExceeded), errors.Is(err, sql.ErrTxDone):
		return &sale.Error{
			Code: sale.CodeOverloaded, RetryAfter: retryAfter, Cause: err,
			Detail: "Too much is going on at once. Nothing was done; try again.",
		}
	case isUnreachable(err):
		return Unavailable(err)
	default:
		return err
	}
}

// errSpent is for logs.
var errSpent = errors.New("the time that the request had to begin things is over")

// tooLate is what a client sees whose request has waited for so long that nothing more
// begins for it.
func tooLate() error {
	return &sale.Error{
		Code: sale.CodeOverloaded, RetryAfter: retryAfter, Cause: errSpent,
		Detail: "The request waited too long for its turn and did nothing. Try again, with the same key where there was one.",
	}
}

// isKnown says that it was decided already what a client may see.
func isKnown(err error) bool {
	var known *sale.Error
	return errors.As(err, &known)
}

// Unavailable is what a client sees when the database could not be asked.
func Unavailable(cause error) error {
	return &sale.Error{
		Code: sale.CodeUnavailable, RetryAfter: retryAfter, Cause: cause,
		Detail: "The database cannot be reached. Nothing was done; try again.",
	}
}

// OutcomeUnknown is what a client sees when something may have been done, or was
// and cannot be shown.
func OutcomeUnknown(cause error) error {
	return &sale.Error{
		Code: sale.CodeOutcomeUnknown, RetryAfter: retryAfter, Cause: cause,
		Detail: "The answer to the commit was lost: it may have been done. Ask again, with the same key where there was one.",
	}
}
