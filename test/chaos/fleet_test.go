//go:build linux

package chaos

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/testenv"
	"github.com/flashsale-api/flashsale/test/apitest"
)

const (
	// startLimit bounds a process's start, pollPause the pause between two looks at it.
	startLimit = time.Minute
	pollPause  = 20 * time.Millisecond
	// answerLimit is longer than anything that the service may take for an answer.
	answerLimit = 15 * time.Second
)

// fleet is the real binary, several times, on a MySQL and a Redis of its own.
type fleet struct {
	tb        testing.TB
	mysql     *testenv.MySQLServer
	redis     *testenv.RedisServer
	secret    string // of webhooks
	binary    string
	environ   []string
	processes []*process
}

// process is one of them. It keeps its address when it is started again.
type process struct {
	addr    string
	environ []string // of its own
	api     *apitest.API
	cmd     *exec.Cmd
	ended   chan struct{}
}

// startFleet starts n processes.
func startFleet(tb testing.TB, n int, environ ...string) *fleet {
	tb.Helper()
	f := fleetOn(tb, testenv.OwnMySQL(tb), build(tb), environ...)
	f.start(n)
	return f
}

// fleetOn prepares a fleet of a program on a MySQL of its own, without a process so far.
func fleetOn(tb testing.TB, mysql *testenv.MySQLServer, binary string, environ ...string) *fleet {
	tb.Helper()
	secret := make([]byte, 32)
	rand.Read(secret)
	f := &fleet{
		tb: tb, mysql: mysql, redis: testenv.OwnRedis(tb),
		secret: "whsec_" + base64.StdEncoding.EncodeToString(secret),
		binary: binary,
	}
	f.environ = append([]string{
		"PATH=" + os.Getenv("PATH"), "FLASHSALE_MYSQL_DSN=" + f.mysql.DSN(), "FLASHSALE_REDIS_URL=" + f.redis.URL(),
		"FLASHSALE_WEBHOOK_SECRETS=" + f.secret, "FLASHSALE_LOG_LEVEL=error", "FLASHSALE_ADMIN_ADDR=127.0.0.1:0",
	}, environ...)
	return f
}

// start starts n processes more and waits until they serve.
func (f *fleet) start(n int) {
	f.tb.Helper()
	for range n {
		f.add()
	}
}

// add starts one more process, with an environment of its own.
func (f *fleet) add(environ ...string) *process {
	f.tb.Helper()
	p := &process{addr: testenv.FreeAddress(f.tb), environ: environ}
	p.api = apitest.Attach(f.tb, "http://"+p.addr, f.secret, answerLimit)
	f.processes = append(f.processes, p)
	f.launch(p)
	f.awaitReady(p)
	return p
}

// build compiles the program that is attacked.
func build(tb testing.TB, flags ...string) string {
	tb.Helper()
	binary := filepath.Join(tb.TempDir(), "flashsale")
	cmd := exec.CommandContext(tb.Context(), "go",
		slices.Concat([]string{"build", "-o", binary}, flags, []string{"github.com/flashsale-api/flashsale/cmd/flashsale"})...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	said, err := cmd.CombinedOutput()
	require.NoError(tb, err, string(said))
	return binary
}

// launch starts a process that does not run.
func (f *fleet) launch(p *process) {
	f.tb.Helper()
	output, err := os.OpenFile(filepath.Join(f.tb.TempDir(), "process-"+strconv.Itoa(len(f.processes))+".log"),
		os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(f.tb, err)
	p.cmd = exec.CommandContext(f.tb.Context(), f.binary, "serve")
	p.cmd.Env = slices.Concat(f.environ, p.environ, []string{"FLASHSALE_ADDR=" + p.addr})
	p.cmd.Stdout, p.cmd.Stderr = output, output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(f.tb, p.cmd.Start())
	p.ended = make(chan struct{})
	cmd, ended := p.cmd, p.ended
	go func() {
		defer close(ended)
		_ = cmd.Wait() // how it ended, its state tells
		_ = output.Close()
	}()
	f.tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
}

// kill ends a process at once.
func (f *fleet) kill(p *process) {
	f.tb.Helper()
	require.NoError(f.tb, p.cmd.Process.Kill())
	<-p.ended
}

// stop ends a process as its operator would, and waits for its end.
func (f *fleet) stop(p *process) {
	f.tb.Helper()
	require.NoError(f.tb, p.cmd.Process.Signal(syscall.SIGTERM))
	<-p.ended
	require.Equal(f.tb, 0, p.cmd.ProcessState.ExitCode(), "it ended otherwise than asked")
}

// freeze stops a process without its knowing; thaw lets it go on.
func (f *fleet) freeze(p *process) { require.NoError(f.tb, p.cmd.Process.Signal(syscall.SIGSTOP)) }
func (f *fleet) thaw(p *process)   { require.NoError(f.tb, p.cmd.Process.Signal(syscall.SIGCONT)) }

// awaitReady waits until a process serves.
func (f *fleet) awaitReady(p *process) {
	f.tb.Helper()
	eventually(f.tb, func() bool {
		reply, err := p.api.GetReadinessWithResponse(f.tb.Context())
		return err == nil && reply.StatusCode() == http.StatusOK
	}, "the process at "+p.addr+" is not ready")
}

// eventually waits for what takes a while.
func eventually(tb testing.TB, holds func() bool, failure string) {
	tb.Helper()
	require.Eventually(tb, holds, startLimit, pollPause, failure)
}

// notDurable are arguments of a MySQL that is not killed: it need not wait for its disk.
func notDurable() []string {
	return []string{"--innodb-flush-log-at-trx-commit=0", "--sync-binlog=0", "--innodb-doublewrite=OFF"}
}
