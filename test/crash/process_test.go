package crash

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/flashsale-api/flashsale/internal/app"
)

// actAsService makes this test's own executable the service.
const actAsService = "FLASHSALE_TEST_ACT_AS_SERVICE"

// patience is what a test waits for something that has to come, before it fails.
const patience = time.Minute

func TestMain(m *testing.M) {
	if os.Getenv(actAsService) != "" {
		go endWithParent()
		fmt.Fprintln(os.Stderr, serve(context.Background()))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// endWithParent ends a service whose test is gone.
func endWithParent() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(1)
}

// serve runs the service of this environment and prints its address.
func serve(ctx context.Context) error {
	cfg, err := app.LoadConfig(os.Environ())
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	service, err := app.New(ctx, cfg, "test", log)
	if err != nil {
		return err
	}
	if err := service.Listen(ctx); err != nil {
		return err
	}
	fmt.Println(service.Addr())
	return service.Run(ctx)
}

// process is the service as a process of its own.
type process struct {
	cmd  *exec.Cmd
	url  string
	gone chan struct{} // closed when it has ended
}

func start(t *testing.T, environ []string) *process {
	t.Helper()
	executable, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), executable)
	cmd.Env = append([]string{actAsService + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, environ...)
	cmd.Stderr = t.Output()
	cmd.WaitDelay = time.Second
	_, err = cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	address, err := bufio.NewReader(out).ReadString('\n')
	p := &process{cmd: cmd, url: "http://" + strings.TrimSpace(address), gone: make(chan struct{})}
	go func() {
		defer close(p.gone)
		_ = cmd.Wait() // it was killed
	}()
	require.NoError(t, err, "the service ended at once")
	return p
}

// kill ends it as a crash does, and waits until it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may be gone
	<-p.gone
}

func (p *process) isGone() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}
