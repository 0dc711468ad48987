package app

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/flashsale-api/flashsale/internal/cache"
	"github.com/flashsale-api/flashsale/internal/httpapi"
	"github.com/flashsale-api/flashsale/internal/mysql"
)

// readyTimeout bounds what a readiness probe waits for MySQL.
const readyTimeout = time.Second

// readiness shares a look at what the service stands on among all who ask while it lasts.
// Anybody may ask, as often as they like: a crowd that does must not make the answer late,
// nor take the connections that are there to find out whether MySQL answers.
type readiness struct{ looks singleflight.Group }

// ask gives what the look that lasts finds, or else one of its own.
func (r *readiness) ask(look func() httpapi.Readiness) httpapi.Readiness {
	answer, _, _ := r.looks.Do("", func() (any, error) { return look(), nil })
	found, _ := answer.(httpapi.Readiness)
	return found
}

// ready is what /readyz tells: MySQL has to be there and migrated, Redis is only
// reported. The look goes on without the caller who began it.
func (c *Core) ready(ctx context.Context) httpapi.Readiness {
	return c.readiness.ask(func() httpapi.Readiness { return c.look(context.WithoutCancel(ctx)) })
}

func (c *Core) look(ctx context.Context) httpapi.Readiness {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	state := httpapi.Readiness{Ready: true, MySQL: "up", Migrations: "current", Redis: redisWord(c.cache.State())}
	switch version, err := c.DB.Ready(ctx); {
	case errors.Is(err, mysql.ErrNotMigrated):
		state.Ready, state.Migrations = false, "behind"
	case err != nil:
		state.Ready, state.MySQL, state.Migrations = false, "down", "unknown"
	case version > mysql.LatestVersion():
		state.Migrations = "ahead"
	}
	return state
}

// redisWord says the cache's state in the contract's words.
func redisWord(state string) string {
	switch state {
	case cache.StateOK:
		return "up"
	case cache.StateOff:
		return "disabled"
	default:
		return "down"
	}
}
