// Package budget bounds how long a request may go on beginning things: waits for its
// turn, and operations on the database. What has begun ends in its own time, so a
// budget is no deadline of a context, which would break it off.
package budget

import (
	"context"
	"time"
)

// limited is a context with a budget.
type limited struct {
	context.Context
	until time.Time // zero: there is none
}

type key struct{}

// Value finds the budget, and what the context's parents have.
func (l *limited) Value(of any) any {
	if of == (key{}) {
		return l
	}
	return l.Context.Value(of)
}

// Within gives a context whose owner may begin things for so long from now, or for as
// long as before, where that is less.
func Within(ctx context.Context, limit time.Duration) context.Context {
	return &limited{Context: ctx, until: time.Now().Add(Left(ctx, limit))}
}

// Lifted gives a context without a budget, for what has to follow from something that
// is done.
func Lifted(ctx context.Context) context.Context {
	if _, bounded := end(ctx); !bounded {
		return ctx
	}
	return &limited{Context: ctx}
}

// Left is how long a wait may last: at most so long, and not longer than the budget,
// where there is one. It can be negative.
func Left(ctx context.Context, atMost time.Duration) time.Duration {
	if until, bounded := end(ctx); bounded {
		return min(atMost, time.Until(until))
	}
	return atMost
}

// Spent says that nothing more may begin.
func Spent(ctx context.Context) bool {
	until, bounded := end(ctx)
	return bounded && time.Until(until) <= 0
}

func end(ctx context.Context) (until time.Time, bounded bool) {
	l, ok := ctx.Value(key{}).(*limited)
	if !ok || l.until.IsZero() {
		return time.Time{}, false
	}
	return l.until, true
}
