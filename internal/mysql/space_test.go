package mysql_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// A table in memory is full as one on a full disk is.
func fill(ctx context.Context, tx *mysql.Tx) error {
	for {
		if _, err := tx.ExecContext(ctx, "INSERT INTO small SELECT * FROM small UNION ALL SELECT REPEAT('x', 200)"); err != nil {
			return err
		}
	}
}

// What does not fit is undone, for which InnoDB may need room that is not there; then it
// ends the server. So few may try.
func TestServerWithoutRoomIsLeftAloneButForOneLookNowAndThen(t *testing.T) {
	db, _ := counters(t)
	_, err := db.SQL().ExecContext(t.Context(), "CREATE TABLE small (x CHAR(200)) ENGINE = MEMORY MAX_ROWS = 100")
	require.NoError(t, err)
	requireCode(t, db.Tx(t.Context(), nil, fill), sale.CodeUnavailable)
	for range 10 {
		requireCode(t, db.Tx(t.Context(), nil, func(context.Context, *mysql.Tx) error {
			assert.Fail(t, "it is tried at once")
			return nil
		}), sale.CodeUnavailable)
		require.NoError(t, db.Read(t.Context(), ask), "reads need no room")
	}
	// The first look finds none.
	require.Eventually(t, func() bool {
		looked := false
		requireCode(t, db.Tx(t.Context(), nil, func(ctx context.Context, tx *mysql.Tx) error {
			looked = true
			return fill(ctx, tx)
		}), sale.CodeUnavailable)
		return looked
	}, recovery, pollGap)
	requireCode(t, db.Tx(t.Context(), incremented, incrementOne), sale.CodeUnavailable)
	assert.Zero(t, value(t, db, 1))
	// The next one finds some.
	require.Eventually(t, func() bool { return db.Tx(t.Context(), incremented, incrementOne) == nil }, recovery, pollGap)
	require.NoError(t, db.Tx(t.Context(), incremented, incrementOne))
	assert.Equal(t, 2, value(t, db, 1))
}

// A client that asks again and again for what is refused must not keep the others out.
func TestALookThatIsRefusedLeavesTheNextChangeToLook(t *testing.T) {
	db, _ := counters(t)
	_, err := db.SQL().ExecContext(t.Context(), "CREATE TABLE small (x CHAR(200)) ENGINE = MEMORY MAX_ROWS = 100")
	require.NoError(t, err)
	requireCode(t, db.Tx(t.Context(), nil, fill), sale.CodeUnavailable)
	require.Eventually(t, func() bool {
		looked := false
		err := db.Tx(t.Context(), nil, func(ctx context.Context, tx *mysql.Tx) error {
			looked = true
			require.NoError(t, incrementOne(ctx, tx), "it fits")
			return sale.Fail(sale.CodeHoldExpired, "gone")
		})
		require.Error(t, err)
		return looked
	}, recovery, pollGap)
	require.NoError(t, db.Tx(t.Context(), incremented, incrementOne))
}
