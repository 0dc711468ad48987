package httpapi

import (
	"encoding/base64"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// defaultLimit is how many there are on a page, as the contract says.
const defaultLimit = 20

func limitOf(asked *int) int {
	if asked == nil {
		return defaultLimit
	}
	return *asked
}

// writeCursor makes the cursor of the page that follows the one that ended here.
func writeCursor(last string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(last))
}

// readCursor gives back where a page ended.
func readCursor[T any](cursor string, parse func(string) (T, error)) (T, error) {
	text, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err == nil {
		var last T
		if last, err = parse(string(text)); err == nil {
			return last, nil
		}
	}
	var none T
	return none, sale.Invalid("/query/cursor", "must be the next_cursor of an earlier answer")
}
