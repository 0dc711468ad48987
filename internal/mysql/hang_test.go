package mysql_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/testenv"
)

// The server takes the COMMIT and hangs: nobody can say what became of it, and
// whoever comes after it is refused by the one shared ping, without a statement.
func TestCommitThatHangsIsAnUnknownOutcomeAndNothingIsAskedAfterIt(t *testing.T) {
	t.Parallel()
	for name, settle := range map[string]mysql.Settle{"no question": nil, "a question": incremented} {
		t.Run(name, func(t *testing.T) {
			direct, dsn := counters(t)
			proxy := testenv.NewCommitProxy(t, dsn)
			db := open(t, proxy.DSN(), 8)
			require.NoError(t, db.Ping(t.Context()))
			proxy.FreezeAtNextCommit()
			requireCode(t, db.Tx(t.Context(), settle, incrementOne), sale.CodeOutcomeUnknown)
			assert.Equal(t, int64(1), proxy.Cuts())

			sent := proxy.Queries()
			var others sync.WaitGroup
			errs := make(chan error, 20)
			for range cap(errs) / 2 {
				others.Go(func() { errs <- db.Tx(t.Context(), settle, incrementOne) })
				others.Go(func() { errs <- db.Read(t.Context(), ask) })
			}
			others.Wait()
			for range cap(errs) {
				requireCode(t, <-errs, sale.CodeUnavailable)
			}
			assert.Equal(t, sent, proxy.Queries())

			proxy.Resume()
			require.NoError(t, db.Tx(t.Context(), settle, incrementOne))
			assert.Equal(t, 2, value(t, direct, 1), "the COMMIT that hung took place")
		})
	}
}
