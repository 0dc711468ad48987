package stress

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
)

const (
	// crowdTimeout bounds a whole run, so that a stuck process cannot hang it.
	crowdTimeout = 5 * time.Minute
	// exitDelay is what a process gets to end once it has told its outcome.
	exitDelay = 10 * time.Second
	// maxComplaint bounds what is kept of a process's stderr, in bytes.
	maxComplaint = 4 << 10
)

// Launch makes the command that becomes a worker process: one that calls Work
// with its stdin and stdout.
type Launch func(context.Context) (*exec.Cmd, error)

// crowd is worker processes that take their steps together.
type crowd struct {
	processes []*process
	progress  func()
}

type process struct {
	cmd       *exec.Cmd
	in        io.WriteCloser
	lines     *bufio.Scanner
	complaint *head
	wait      func() error // may be called several times
}

// runCrowd starts a process for each task, lets all of them take their steps
// together and returns what came of each. progress is called, by one goroutine,
// when a process has taken a step.
func runCrowd(ctx context.Context, launch Launch, tasks []Task, steps int, progress func()) (outcomes []Outcome, err error) {
	ctx, cancel := context.WithTimeout(ctx, crowdTimeout)
	c := &crowd{progress: progress}
	defer func() {
		cancel()
		c.reap()
	}()
	if err := c.start(ctx, launch, tasks); err != nil {
		return nil, err
	}
	for range steps - 1 {
		if err := c.meet(); err != nil {
			return nil, err
		}
	}
	outcomes = make([]Outcome, len(tasks))
	err = c.all(func(i int, p *process) error { return readJSON(p.lines, &outcomes[i]) })
	if err != nil {
		return nil, err
	}
	return outcomes, c.leave()
}

func (c *crowd) start(ctx context.Context, launch Launch, tasks []Task) error {
	for _, task := range tasks {
		p, err := startProcess(ctx, launch)
		if err != nil {
			return fmt.Errorf("starting process %d of %d: %w", len(c.processes)+1, len(tasks), err)
		}
		c.processes = append(c.processes, p)
		if err := json.NewEncoder(p.in).Encode(task); err != nil {
			return p.failed(fmt.Errorf("giving a process its task: %w", err))
		}
	}
	return nil
}

func startProcess(ctx context.Context, launch Launch) (*process, error) {
	cmd, err := launch(ctx)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, complaint: &head{}, wait: sync.OnceValue(cmd.Wait)}
	cmd.Stderr = p.complaint
	cmd.WaitDelay = exitDelay
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("opening its stdin: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("opening its stdout: %w", err)
	}
	p.in, p.lines = in, bufio.NewScanner(out)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return p, nil
}

// meet waits until all have taken a step, and only then lets any take the next.
func (c *crowd) meet() error {
	err := c.all(func(_ int, p *process) error {
		word, err := readLine(p.lines)
		if err == nil && word != wordReady {
			err = fmt.Errorf("it said %q instead of %q", word, wordReady)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, p := range c.processes {
		if _, err := fmt.Fprintln(p.in, wordGo); err != nil {
			return p.failed(fmt.Errorf("letting a process go: %w", err))
		}
	}
	return nil
}

// all does one thing with all processes at the same time, and returns the first
// failure at once.
func (c *crowd) all(do func(int, *process) error) error {
	done := make(chan error, len(c.processes))
	for i, p := range c.processes {
		go func() {
			err := do(i, p)
			if err != nil {
				err = p.failed(err)
			}
			done <- err
		}()
	}
	for range c.processes {
		if err := <-done; err != nil {
			return err
		}
		c.progress()
	}
	return nil
}

// leave waits for all to end well.
func (c *crowd) leave() error {
	for _, p := range c.processes {
		if err := p.wait(); err != nil {
			return p.failed(err)
		}
	}
	c.processes = nil
	return nil
}

// reap leaves no process behind: those that are left were killed with the context.
func (c *crowd) reap() {
	for _, p := range c.processes {
		_ = p.wait() // it was killed, and the first error is the one to tell
	}
}

// failed ends a process and says what it complained of, if it did.
func (p *process) failed(err error) error {
	_ = p.cmd.Process.Kill() // most likely it has ended by itself
	_ = p.wait()             // until all that it wrote is there
	if said := strings.Join(strings.Fields(p.complaint.String()), " "); said != "" {
		return fmt.Errorf("a process failed: %w: %s", err, said)
	}
	return fmt.Errorf("a process failed: %w", err)
}

// head keeps the beginning of what is written to it.
type head struct{ bytes.Buffer }

// Write takes everything and keeps up to maxComplaint bytes.
func (h *head) Write(text []byte) (int, error) {
	if room := maxComplaint - h.Len(); room > 0 {
		h.Buffer.Write(text[:min(room, len(text))])
	}
	return len(text), nil
}
