package testenv

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/flashsale-api/flashsale/internal/mysql"
)

const (
	mysqlFolder   = "/var/lib/mysql"
	mysqlPassword = "flashsale"
	redisScheme   = "redis://"

	// pollEvery is how often a starting server is asked whether it is ready.
	pollEvery = 100 * time.Millisecond
	// pollLimit bounds one such question.
	pollLimit = 2 * time.Second
)

// mysqlSpec is the shared MySQL. Its data is gone with it, so nothing waits for
// a disk.
func mysqlSpec() spec {
	spec := ownMySQLSpec()
	spec.volume = ""
	spec.tmpfs = map[string]string{mysqlFolder: "rw,size=4g"}
	spec.args = []string{
		"--skip-name-resolve", "--max-connections=1000", "--innodb-buffer-pool-size=512M",
		"--skip-log-bin", "--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=OFF",
	}
	return spec
}

// ownMySQLSpec is a MySQL with the durability it has by default.
func ownMySQLSpec() spec {
	return spec{
		role:   "MySQL",
		image:  "mysql:9.7",
		port:   "3306/tcp",
		env:    map[string]string{"MYSQL_ROOT_PASSWORD": mysqlPassword},
		args:   []string{"--skip-name-resolve", "--max-connections=1000"},
		volume: mysqlFolder,
		url:    func(address string) string { return "root:" + mysqlPassword + "@tcp(" + address + ")/" },
		ready:  pingMySQL,
	}
}

func redisSpec() spec {
	return spec{
		role:  "Redis",
		image: "redis:8",
		port:  "6379/tcp",
		args:  []string{"redis-server", "--save", "", "--appendonly", "no"},
		tmpfs: map[string]string{"/data": "rw"},
		url:   func(address string) string { return redisScheme + address },
		ready: pingRedis,
	}
}

// awaitReady asks until the server answers or ctx ends.
func awaitReady(ctx context.Context, spec spec, url string) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		try, cancel := context.WithTimeout(ctx, pollLimit)
		err := spec.ready(try, url)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s is ready: %w", spec.role, err)
		case <-ticker.C:
		}
	}
}

// pingMySQL says whether accounts can log in: the server listens a while before.
func pingMySQL(ctx context.Context, dsn string) error {
	dsn, err := mysql.WithDatabase(dsn, "information_schema") // one that is always there
	if err != nil {
		return fmt.Errorf("read the DSN: %w", err)
	}
	db, err := mysql.Open(mysql.Config{DSN: dsn, Connections: 1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("open MySQL: %w", err)
	}
	defer func() { _ = db.Close() }()
	if err := db.Ping(ctx); err != nil {
		return fmt.Errorf("ping MySQL: %w", err)
	}
	return nil
}

// pingRedis speaks the protocol itself: one line each way.
func pingRedis(ctx context.Context, url string) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", strings.TrimPrefix(url, redisScheme))
	if err != nil {
		return fmt.Errorf("dial Redis: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return fmt.Errorf("set a deadline: %w", err)
		}
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return fmt.Errorf("ping Redis: %w", err)
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return fmt.Errorf("ping Redis: %w", err)
	}
	if answer != "+PONG\r\n" {
		return fmt.Errorf("ping Redis: it answers %q", answer)
	}
	return nil
}
