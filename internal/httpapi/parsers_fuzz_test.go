package httpapi

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// FuzzIfNoneMatch: a header that matches names the tag or all; one that begins with the
// tag matches, whatever follows.
func FuzzIfNoneMatch(f *testing.F) {
	for _, header := range []string{`"8"`, `W/"7", "8"`, ` * `, `"a,b", "8`, `,,W/W/"8"`, `"8""8"`, "\t\x00\xff"} {
		f.Add(header, "8")
	}
	f.Fuzz(func(t *testing.T, header, opaque string) {
		tag := `"` + strings.ReplaceAll(opaque, `"`, "") + `"`
		if matchesTag(header, tag) {
			require.True(t, strings.Contains(header, tag) || strings.TrimSpace(header) == "*")
		}
		require.True(t, matchesTag(tag+","+header, tag))
		require.True(t, matchesTag(" , W/"+tag+header, tag))
	})
}

// FuzzCursor: what is taken for a cursor is one that the service writes, letter by
// letter.
func FuzzCursor(f *testing.F) {
	for _, cursor := range []string{writeCursor(aProduct), writeCursor("2"), writeCursor("-1"), writeCursor("+2"), writeCursor("02"), "", "Mg==", "Mh", "M\n", "\xff"} {
		f.Add(cursor)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		if id, err := readCursor(cursor, sale.ParseProductID); err == nil {
			require.Equal(t, cursor, writeCursor(id.String()))
		}
		if id, err := readCursor(cursor, sale.ParseOrderID); err == nil {
			require.Equal(t, cursor, writeCursor(id.String()))
		}
		if version, err := readCursor(cursor, stockVersion); err == nil {
			require.Positive(t, version)
			require.Equal(t, cursor, writeCursor(strconv.FormatInt(version, 10)))
		}
	})
}

// FuzzLastEventID: a version that is named is one, else there is none.
func FuzzLastEventID(f *testing.F) {
	for _, id := range []string{"8", "-8", "", "+8", "08", "9223372036854775808", "1e3", "８"} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		version := lastEvent(id)
		require.GreaterOrEqual(t, version, int64(0))
		if version > 0 {
			require.Regexp(t, `^[0-9]+$`, id)
		}
	})
}

// FuzzRequestIDHeader: what comes back in an answer's header, and goes into the log, can
// end neither.
func FuzzRequestIDHeader(f *testing.F) {
	for _, id := range []string{"checkout-7f3a", "two words", "a\r\nSet-Cookie: b", "\x7f", "é", strings.Repeat("x", 129)} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if isRequestID(id) {
			require.Regexp(t, `^[\x21-\x7e]{1,128}$`, id)
		}
	})
}
