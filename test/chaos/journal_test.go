//go:build linux

package chaos

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// entry is one line of a journal: a request that is about to be sent, or its answer.
type entry struct {
	Story  string `json:"story"` // the customer's name: each story has a customer of its own
	Step   string `json:"step"`
	Status int    `json:"status,omitempty"` // 0: about to be sent
	Code   string `json:"code,omitempty"`   // of a refusal, or what an event came to
	ID     string `json:"id,omitempty"`     // of what was made
}

// journal is what one client wrote down of its requests, before and after each: what it
// knows when everything else is gone.
type journal struct {
	mu   sync.Mutex
	file *os.File
}

func openJournal(tb testing.TB, name string) *journal {
	tb.Helper()
	file, err := os.Create(filepath.Join(tb.TempDir(), name+".jsonl"))
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = file.Close() })
	return &journal{file: file}
}

func (j *journal) write(e entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	_, err = j.file.Write(append(line, '\n'))
	return err
}

// tale is what a journal says of one story: the last answer to each step, and the steps
// that were sent and never answered.
type tale struct {
	answers map[string]entry
	open    map[string]bool
}

// read gives the tales of all journals.
func read(tb testing.TB, journals ...*journal) map[string]*tale {
	tb.Helper()
	tales := map[string]*tale{}
	for _, j := range journals {
		file, err := os.Open(j.file.Name())
		require.NoError(tb, err)
		lines := bufio.NewScanner(file)
		for lines.Scan() {
			var e entry
			require.NoError(tb, json.Unmarshal(lines.Bytes(), &e))
			t := tales[e.Story]
			if t == nil {
				t = &tale{answers: map[string]entry{}, open: map[string]bool{}}
				tales[e.Story] = t
			}
			t.open[e.Step] = e.Status == 0
			if e.Status != 0 {
				t.answers[e.Step] = e
			}
		}
		require.NoError(tb, lines.Err())
		require.NoError(tb, file.Close())
	}
	return tales
}
