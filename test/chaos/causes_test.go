//go:build linux

package chaos

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	// manyConnections is what MySQL takes otherwise.
	manyConnections = 1000
	// lockFor is how long hot rows stay locked each time: longer than an operation.
	lockFor = 2 * time.Second
	// redisPause lies between two blows to Redis.
	redisPause = 5 * time.Millisecond
	// redisWait bounds one of them.
	redisWait = 10 * time.Second
)

// run executes statements as an administrator does.
func (s *season) run(statements ...string) {
	s.Helper()
	for _, statement := range statements {
		_, err := s.core.DB.SQL().ExecContext(s.Context(), statement)
		require.NoError(s, err, statement)
	}
}

func readOnly(s *season) func() {
	s.Helper()
	s.run("SET GLOBAL super_read_only = ON")
	return func() { s.run("SET GLOBAL super_read_only = OFF", "SET GLOBAL read_only = OFF") }
}

// noConnections ends all connections but one and lets MySQL take no other, save the one
// that it keeps for administrators.
func noConnections(s *season) func() {
	s.Helper()
	admin, err := s.core.DB.SQL().Conn(s.Context())
	require.NoError(s, err)
	limit := func(n int) {
		_, err := admin.ExecContext(s.Context(), fmt.Sprintf("SET GLOBAL max_connections = %d", n))
		require.NoError(s, err)
	}
	limit(1)
	for _, id := range connections(s, admin) {
		_, _ = admin.ExecContext(s.Context(), "KILL ?", id) // it may be gone
	}
	return func() {
		limit(manyConnections)
		require.NoError(s, admin.Close())
	}
}

// connections are those of the service's account but the one that asks.
func connections(s *season, admin *sql.Conn) (ids []int64) {
	s.Helper()
	rows, err := admin.QueryContext(s.Context(),
		"SELECT id FROM performance_schema.processlist WHERE user = 'root' AND id <> CONNECTION_ID()")
	require.NoError(s, err)
	defer func() { require.NoError(s, rows.Close()) }()
	for rows.Next() {
		var id int64
		require.NoError(s, rows.Scan(&id))
		ids = append(ids, id)
	}
	require.NoError(s, rows.Err())
	return ids
}

// lockStorm holds the products' rows again and again, each time for longer than anybody
// waits.
func lockStorm(s *season) func() {
	s.Helper()
	return again(s, 0, func(stop <-chan struct{}) error {
		tx, err := s.core.DB.SQL().BeginTx(s.Context(), nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }()
		var units int64
		if err := tx.QueryRowContext(s.Context(),
			"SELECT SUM(available_stock) FROM (SELECT available_stock FROM products ORDER BY id FOR UPDATE) locked").Scan(&units); err != nil {
			return err
		}
		select {
		case <-stop:
		case <-time.After(lockFor):
		}
		return nil
	})
}

func emptied(s *season) func() {
	s.Helper()
	return again(s, redisPause, func(<-chan struct{}) error {
		return s.fleet.tellRedis(s.Context(), "FLUSHALL")
	})
}

// wrongType makes a list of each key, again and again. Nobody takes it away afterwards.
func wrongType(s *season) func() {
	s.Helper()
	return again(s, redisPause, func(<-chan struct{}) error {
		return s.fleet.tellRedis(s.Context(),
			`EVAL "for _, key in ipairs(redis.call('KEYS', '*')) do redis.call('DEL', key) redis.call('LPUSH', key, 'x') end" 0`)
	})
}

func outOfMemory(s *season) func() {
	s.Helper()
	limit := func(bytes string) {
		require.NoError(s, s.fleet.tellRedis(s.Context(), "CONFIG SET maxmemory "+bytes))
	}
	limit("1")
	return func() { limit("0") }
}

// again repeats a blow, which must not fail, until it is ended.
func again(s *season, pause time.Duration, blow func(stop <-chan struct{}) error) (end func()) {
	s.Helper()
	stop := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for {
			if err := blow(stop); err != nil {
				assert.NoError(s, err)
				return
			}
			select {
			case <-stop:
				return
			case <-time.After(pause):
			}
		}
	})
	return func() {
		close(stop)
		running.Wait()
	}
}

// tellRedis sends one command. A refusal is an error.
func (f *fleet) tellRedis(ctx context.Context, command string) error {
	dialer := net.Dialer{Timeout: redisWait}
	conn, err := dialer.DialContext(ctx, "tcp", strings.TrimPrefix(f.redis.URL(), "redis://"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(redisWait)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte(command + "\r\n")); err != nil {
		return err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && strings.HasPrefix(answer, "-") {
		return fmt.Errorf("%s: %s", command, answer)
	}
	return err
}
