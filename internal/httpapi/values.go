package httpapi

import "time"

// value is what a pointer points to, the zero value for none.
func value[T any](pointer *T) T {
	if pointer == nil {
		var zero T
		return zero
	}
	return *pointer
}

// optional leaves an empty text out of an answer.
func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// replayed leaves the header out of a first answer.
func replayed(again bool) *bool {
	if !again {
		return nil
	}
	return &again
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	return new(t.UTC())
}

// stored cuts a time to what the database keeps, so that it comes back as it
// went in and is never rounded past the last year.
func stored(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	return new(t.UTC().Truncate(time.Microsecond))
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }
