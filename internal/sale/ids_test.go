package sale_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/flashsale-api/flashsale/internal/sale"
)

func anyID(t *rapid.T, name string) sale.HoldID {
	return sale.HoldID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, name))
}

func TestIDsComeBackFromTextAndDatabase(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		id := anyID(t, "id")
		parsed, err := sale.ParseHoldID(id.String())
		require.NoError(t, err)
		assert.Equal(t, id, parsed)
		value, err := id.Value()
		require.NoError(t, err)
		var scanned sale.HoldID
		require.NoError(t, scanned.Scan(value))
		assert.Equal(t, id, scanned)
		text, err := id.MarshalText()
		require.NoError(t, err)
		var read sale.HoldID
		require.NoError(t, read.UnmarshalText(text))
		assert.Equal(t, id, read)
	})
}

func TestTextsOfIDsSortAsTheirBytes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		one, other := anyID(t, "one"), anyID(t, "other")
		assert.Equal(t, bytes.Compare(one[:], other[:]), one.Compare(other))
		assert.Equal(t, one.Compare(other), strings.Compare(one.String(), other.String()))
	})
}

func TestNewIDsAreUUIDv7OfTheirTimeAndNeverTheSame(t *testing.T) {
	t.Parallel()
	ids := make([]sale.ProductID, 1000)
	for i := range ids {
		ids[i] = sale.NewProductID()
		assert.Equal(t, byte(7), ids[i][6]>>4)
		assert.Equal(t, byte(0b10), ids[i][8]>>6)
		if i > 0 {
			assert.LessOrEqual(t, bytes.Compare(ids[i-1][:6], ids[i][:6]), 0, "later ids have later times")
		}
	}
	slices.SortFunc(ids, sale.ProductID.Compare)
	assert.Len(t, slices.Compact(ids), 1000)
	one, other := sale.NewEventID(), sale.NewEventID()
	assert.NotEqual(t, one, other)
}

func TestIDsUntilAnInstantAreLessThanItsBoundAndLaterOnesAreNot(t *testing.T) {
	t.Parallel()
	before := time.Now()
	hold, event := sale.NewHoldID(sale.NewProductID()), sale.NewEventID()
	after := time.Now()
	assert.Negative(t, hold.Compare(sale.HoldIDsUntil(after)))
	assert.Negative(t, event.Compare(sale.EventIDsUntil(after)))
	assert.Positive(t, hold.Compare(sale.HoldIDsUntil(before.Add(-time.Millisecond))))
	assert.Positive(t, event.Compare(sale.EventIDsUntil(before.Add(-time.Millisecond))))
}

func TestHoldIDEndsAsItsHomeDoes(t *testing.T) {
	t.Parallel()
	home := sale.NewProductID()
	id := sale.NewHoldID(home)
	assert.Equal(t, home[14:], id[14:])
	assert.True(t, sale.IsHoldIDFor(id, home))
	for name, change := range map[string]func(*sale.HoldID){
		"another home":    func(id *sale.HoldID) { id[15]++ },
		"another version": func(id *sale.HoldID) { id[6] = id[6]&0x0f | 0x40 },
		"another variant": func(id *sale.HoldID) { id[8] |= 0xc0 },
	} {
		wrong := id
		change(&wrong)
		assert.False(t, sale.IsHoldIDFor(wrong, home), name)
	}
	assert.Equal(t, id, sale.HoldOf(sale.OrderOf(id)))
	assert.Equal(t, strings.TrimPrefix(id.String(), "hold_"), strings.TrimPrefix(sale.OrderOf(id).String(), "ord_"))
}

func TestTextsThatAreNoIDsAreMalformed(t *testing.T) {
	t.Parallel()
	good := sale.NewProductID().String()
	for name, text := range map[string]string{
		"empty": "", "prefix only": "prod_", "another kind": strings.Replace(good, "prod_", "hold_", 1),
		"no prefix": good[5:], "too short": good[:len(good)-1], "too long": good + "0",
		"upper case": "prod_" + strings.ToUpper(good[5:]), "a letter that is no digit": good[:len(good)-1] + "u",
		"more than 128 bits": "prod_8" + good[6:], "not ASCII": good[:len(good)-2] + "é",
	} {
		_, err := sale.ParseProductID(text)
		require.ErrorIs(t, err, sale.ErrMalformedID, name)
		var id sale.ProductID
		require.ErrorIs(t, id.UnmarshalText([]byte(text)), sale.ErrMalformedID, name)
	}
	var id sale.ProductID
	for _, value := range []any{nil, "text", []byte("short"), make([]byte, 17), int64(1)} {
		require.ErrorIs(t, id.Scan(value), sale.ErrMalformedID)
	}
	assert.True(t, id.IsZero())
	assert.False(t, sale.NewProductID().IsZero())
}

func FuzzParseID(f *testing.F) {
	f.Add("ord_00000000000000000000000000")
	f.Add("ord_7zzzzzzzzzzzzzzzzzzzzzzzzz")
	f.Add("ord_80000000000000000000000000")
	f.Add("hold_0")
	f.Fuzz(func(t *testing.T, text string) {
		id, err := sale.ParseOrderID(text)
		if err != nil {
			require.ErrorIs(t, err, sale.ErrMalformedID)
			return
		}
		assert.Equal(t, text, id.String(), "an id has one text only")
	})
}
