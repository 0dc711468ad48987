// Package stress proves that a flash sale does not oversell: many operating
// system processes ask for the same units at once, and then the books are read.
package stress

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// The words between the parent and a worker, one a line. The parent writes a
// Task first. The worker answers wordReady after each step but its last, and its
// Outcome after that; it waits for wordGo before each step but its first.
const (
	wordReady = "ready"
	wordGo    = "go"
)

// Task is what a worker process is to do.
type Task struct {
	Product  string `json:"product,omitempty"`  // to hold one unit of
	Customer string `json:"customer,omitempty"` // who holds it
	URL      string `json:"url,omitempty"`      // of the server; "": straight on MySQL
	Unsafe   bool   `json:"unsafe,omitempty"`   // the self-check's read-modify-write instead
}

// Outcome is what came of a worker's attempt: one of the three.
type Outcome struct {
	Created bool   `json:"created,omitempty"`
	Refusal string `json:"refusal,omitempty"` // the code of a refusal
	Error   string `json:"error,omitempty"`
}

// Worker is one process's attempt: steps that all processes take together, and
// what came of them.
type Worker struct {
	Steps   []func(context.Context) error
	Outcome func() Outcome
}

// Work is the worker's side of the conversation. The error says that the worker
// could not get as far as its outcome.
func Work(ctx context.Context, in io.Reader, out io.Writer, prepare func(Task) (Worker, error)) error {
	lines := bufio.NewScanner(in)
	var task Task
	if err := readJSON(lines, &task); err != nil {
		return fmt.Errorf("reading the task: %w", err)
	}
	worker, err := prepare(task)
	if err != nil {
		return err
	}
	for i, step := range worker.Steps {
		if i > 0 {
			if err := handOver(lines, out); err != nil {
				return err
			}
		}
		if err := step(ctx); err != nil {
			return err
		}
	}
	if err := json.NewEncoder(out).Encode(worker.Outcome()); err != nil {
		return fmt.Errorf("telling the outcome: %w", err)
	}
	return nil
}

// handOver says that a step is done and waits for all others to be as far.
func handOver(lines *bufio.Scanner, out io.Writer) error {
	if _, err := fmt.Fprintln(out, wordReady); err != nil {
		return fmt.Errorf("saying ready: %w", err)
	}
	word, err := readLine(lines)
	if err != nil {
		return fmt.Errorf("waiting for the start: %w", err)
	}
	if word != wordGo {
		return fmt.Errorf("waiting for the start: got %q", word)
	}
	return nil
}

func readLine(lines *bufio.Scanner) (string, error) {
	if lines.Scan() {
		return lines.Text(), nil
	}
	return "", errors.Join(io.ErrUnexpectedEOF, lines.Err())
}

func readJSON(lines *bufio.Scanner, target any) error {
	line, err := readLine(lines)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(line), target); err != nil {
		return fmt.Errorf("%q: %w", line, err)
	}
	return nil
}
