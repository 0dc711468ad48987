package testenv

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"
	"github.com/testcontainers/testcontainers-go"

	"github.com/flashsale-api/flashsale/internal/mysql"
)

const (
	// stopGrace is how long a server may take to stop by itself.
	stopGrace = 20 * time.Second
	// databaseName is that of the one database on a server of a test's own.
	databaseName = "flashsale"
)

// Server is a container of one test's own, at one address for its whole life.
// Its methods fail the test when Docker does not obey.
type Server struct {
	tb        testing.TB
	docker    *docker
	container testcontainers.Container
	spec      spec
	url       string
}

// MySQLServer is a MySQL with default durability on disk, whose data outlives a
// stop, and a migrated database.
type MySQLServer struct {
	Server
	dsn string
}

// RedisServer is a Redis that forgets everything when it is stopped.
type RedisServer struct{ Server }

// OwnMySQL starts a MySQL for this test alone, with more arguments for mysqld if
// there are any, removed at its end.
func OwnMySQL(tb testing.TB, args ...string) *MySQLServer {
	tb.Helper()
	spec := ownMySQLSpec()
	spec.args = append(spec.args, args...)
	return ownMySQL(tb, spec)
}

// ownMySQL starts one and makes its database.
func ownMySQL(tb testing.TB, spec spec) *MySQLServer {
	tb.Helper()
	server := &MySQLServer{Server: own(tb, spec)}
	admin := openAdmin(tb, server.url)
	_, err := admin.ExecContext(tb.Context(), "CREATE DATABASE "+databaseName)
	require.NoError(tb, err)
	require.NoError(tb, admin.Close())
	server.dsn, err = mysql.WithDatabase(server.url, databaseName)
	require.NoError(tb, err)
	_, err = mysql.MigrateUp(tb.Context(), server.dsn)
	require.NoError(tb, err)
	return server
}

// OwnRedis starts a Redis for this test alone, removed at its end.
func OwnRedis(tb testing.TB) *RedisServer {
	tb.Helper()
	return &RedisServer{Server: own(tb, redisSpec())}
}

// DSN leads to the server's migrated database.
func (s *MySQLServer) DSN() string { return s.dsn }

// DirectDSN leads to the same past Docker's proxy, which takes its share of the
// processors, where this machine reaches the container's own address.
func (s *MySQLServer) DirectDSN() string {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(s.tb.Context(), pollLimit)
	defer cancel()
	ip, err := s.container.ContainerIP(ctx)
	require.NoError(s.tb, err)
	port, _, _ := strings.Cut(s.spec.port, "/")
	url := s.spec.url(net.JoinHostPort(ip, port))
	if s.spec.ready(ctx, url) != nil {
		return s.dsn
	}
	dsn, err := mysql.WithDatabase(url, databaseName)
	require.NoError(s.tb, err)
	return dsn
}

// URL is the server's.
func (s *RedisServer) URL() string { return s.url }

func own(tb testing.TB, spec spec) Server {
	tb.Helper()
	docker, err := openDocker()
	require.NoError(tb, err, "a test that stops its server needs Docker")
	tb.Cleanup(docker.close)
	ctx, cancel := context.WithTimeout(tb.Context(), startLimit)
	defer cancel()
	_, err = docker.imageID(ctx, spec.image)
	require.NoError(tb, err)
	port, err := freePort(ctx)
	require.NoError(tb, err)
	request := spec.request(useOwn)
	// Docker would publish another port after each start.
	request.HostConfigModifier = func(host *container.HostConfig) {
		host.PortBindings = network.PortMap{network.MustParsePort(spec.port): {{HostPort: port}}}
	}
	container, err := docker.provider.CreateContainer(ctx, request)
	require.NoError(tb, err)
	tb.Cleanup(func() { terminate(tb, docker, container.GetContainerID()) })
	require.NoError(tb, container.Start(ctx))
	address, err := container.PortEndpoint(ctx, spec.port, "")
	require.NoError(tb, err)
	url := spec.url(address)
	require.NoError(tb, awaitReady(ctx, spec, url))
	return Server{tb: tb, docker: docker, container: container, spec: spec, url: url}
}

func terminate(tb testing.TB, docker *docker, id string) {
	tb.Helper()
	ctx, cancel := afterTest(tb)
	defer cancel()
	found, err := docker.client.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	require.NoError(tb, err)
	require.NoError(tb, docker.remove(ctx, id))
	for _, mount := range found.Container.Mounts {
		require.NoError(tb, docker.removeVolume(ctx, mount.Name))
	}
}

// Stop ends the server as an operator would; connections to it are refused from
// then on.
func (s *Server) Stop() {
	s.tb.Helper()
	grace := stopGrace
	require.NoError(s.tb, s.container.Stop(s.tb.Context(), &grace))
}

// Start starts a stopped server again and waits until it answers.
func (s *Server) Start() {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(s.tb.Context(), startLimit)
	defer cancel()
	require.NoError(s.tb, s.container.Start(ctx))
	require.NoError(s.tb, awaitReady(ctx, s.spec, s.url))
}

// Pause freezes the server: connections stay open and get no answers. A signal does
// what Docker's own pause does not on a busy machine: work each time. It stops one thread
// after the other, so Pause waits until it has stopped them all.
func (s *Server) Pause() {
	s.tb.Helper()
	s.signal("SIGSTOP")
	const untilAllStand = "while grep -sL '^State:.*stopped' /proc/1/task/*/status | grep -q .; do sleep 0.01; done"
	status, _, err := s.container.Exec(s.tb.Context(), []string{"sh", "-c", untilAllStand})
	require.NoError(s.tb, err)
	require.Zero(s.tb, status, "the server runs on")
}

// Unpause lets a paused server go on where it was.
func (s *Server) Unpause() {
	s.tb.Helper()
	s.signal("SIGCONT")
}

func (s *Server) signal(signal string) {
	s.tb.Helper()
	_, err := s.docker.client.ContainerKill(s.tb.Context(), s.container.GetContainerID(), client.ContainerKillOptions{Signal: signal})
	require.NoError(s.tb, err)
}

// Kill ends the server at once, as a power cut of its machine would for its clients:
// nothing is written or said any more.
func (s *Server) Kill() {
	s.tb.Helper()
	s.signal("SIGKILL")
	wait := s.docker.client.ContainerWait(s.tb.Context(), s.container.GetContainerID(), client.ContainerWaitOptions{})
	select {
	case err := <-wait.Error:
		require.NoError(s.tb, err)
	case <-wait.Result:
	}
}
