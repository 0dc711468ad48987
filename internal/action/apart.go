package action

import (
	"context"

	"github.com/flashsale-api/flashsale/internal/lane"
)

// apartWidth is how many requests of one kind may be at work at a time that no batch does. A
// crowd of them must leave the batches a connection.
const apartWidth = 8

// apart are the requests that no batch does: replays, and those that wait for a row of
// theirs. Of those for one hold or order one works at a time, so that a row that is stuck
// takes one place of the few, whoever asks for it.
type apart[K comparable] struct {
	own *lane.Gates[K]
	all *lane.Gates[struct{}]
}

func newApart[K comparable](d *desk, kind string) *apart[K] {
	meter, patience := d.Meter.Gate(kind), d.patience(forTurn)
	return &apart[K]{
		own: lane.NewGates[K](1, meter, patience),
		all: lane.NewGates[struct{}](apartWidth, meter, patience),
	}
}

// enter waits for a place, and gives the way out. CodeOverloaded when none was free in time.
func (a *apart[K]) enter(ctx context.Context, key K) (leave func(), err error) {
	leaveOwn, err := a.own.Enter(ctx, key)
	if err != nil {
		return nil, overloaded(err)
	}
	leaveAll, err := a.all.Enter(ctx, struct{}{})
	if err != nil {
		leaveOwn()
		return nil, overloaded(err)
	}
	return func() {
		leaveAll()
		leaveOwn()
	}, nil
}
