package lane_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/lane"
)

// slowReads is a Sharer whose reads take a second each and give how many there were.
type slowReads struct {
	*lane.Sharer[string, int]
	began []string
	now   int
}

func newSlowReads(keys int) *slowReads {
	r := &slowReads{}
	r.Sharer = lane.NewSharer(keys, func(_ context.Context, key string) (int, error) {
		r.now++
		defer func() { r.now-- }()
		if r.now > 1 {
			return 0, errors.New("two reads at once")
		}
		r.began = append(r.began, key)
		nth := len(r.began)
		time.Sleep(time.Second)
		return nth, nil
	})
	return r
}

// ask asks for a key in the background and puts the answer into one place.
func (r *slowReads) ask(ctx context.Context, key string, value *int, err *error) {
	go func() { *value, *err = r.Do(ctx, key) }()
	synctest.Wait()
}

// end lets all reads end.
func (r *slowReads) end() {
	time.Sleep(time.Minute)
	synctest.Wait()
}

func TestWhoAsksBeforeAReadBeganSharesItAndWhoComesLaterSharesTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := newSlowReads(10)
		var values [5]int
		var errs [5]error
		for i, key := range []string{"a", "a", "b", "a", "b"} {
			reads.ask(t.Context(), key, &values[i], &errs[i])
		}
		reads.end()
		assert.Equal(t, [5]int{1, 2, 3, 2, 3}, values)
		assert.Equal(t, [5]error{}, errs)
		assert.Equal(t, []string{"a", "a", "b"}, reads.began)
	})
}

func TestAReadThatNobodyWaitsForAnyMoreIsNotMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := newSlowReads(10)
		impatient, cancel := context.WithTimeoutCause(t.Context(), time.Second/2, lane.ErrOverloaded)
		defer cancel()
		var first, second, third int
		var errs [3]error
		reads.ask(impatient, "a", &first, &errs[0])
		reads.ask(impatient, "b", &second, &errs[1])
		reads.ask(t.Context(), "c", &third, &errs[2])
		reads.end()
		require.ErrorIs(t, errs[0], lane.ErrOverloaded)
		require.ErrorIs(t, errs[1], lane.ErrOverloaded)
		require.NoError(t, errs[2])
		assert.Equal(t, []string{"a", "c"}, reads.began)
	})
}

func TestOnlySoManyKeysWaitForTheirRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := newSlowReads(2)
		var values [4]int
		var errs [4]error
		for i, key := range []string{"reading", "a", "b", "a"} {
			reads.ask(t.Context(), key, &values[i], &errs[i])
		}
		_, err := reads.Do(t.Context(), "c")
		require.ErrorIs(t, err, lane.ErrOverloaded)
		reads.end()
		assert.Equal(t, [4]error{}, errs)
		assert.Equal(t, [4]int{1, 2, 3, 2}, values)
	})
}
