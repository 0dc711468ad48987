//go:build linux

package chaos

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	// samplesOfLoad is how often a process is looked at while a load lasts, samplePause the
	// least time between two looks.
	samplesOfLoad = 300
	samplePause   = 50 * time.Millisecond
	kibibyte      = 1 << 10
	mebibyte      = 1 << 20
)

// sample is what a process needs at one moment.
type sample struct {
	goroutines  float64
	descriptors float64
	memory      float64 // resident, in bytes
}

// need is one of them: by how much the last third of a load may need more of it than the
// second one.
type need struct {
	name   string
	of     func(sample) float64
	share  float64 // of what it was
	least  float64 // what is always allowed
	unit   float64
	suffix string
}

// needs allow for a busier third: a request in service has a goroutine more than its
// connection.
func needs() []need {
	return []need{
		{"goroutines", func(s sample) float64 { return s.goroutines }, 0.10, soakCustomers, 1, ""},
		{"descriptors", func(s sample) float64 { return s.descriptors }, 0.10, 5, 1, ""},
		{"resident memory", func(s sample) float64 { return s.memory }, 0.15, 8 * mebibyte, mebibyte, " MiB"},
	}
}

// verify compares the medians of the two thirds after the first, which warms up.
func (n need) verify(t *testing.T, samples []sample) {
	t.Helper()
	third := len(samples) / 3
	before, after := n.median(samples[third:2*third]), n.median(samples[2*third:])
	t.Logf("%s: %.0f%s in the second third, %.0f%s in the last", n.name, before/n.unit, n.suffix, after/n.unit, n.suffix)
	assert.LessOrEqual(t, after, before+max(before*n.share, n.least), "%s grow", n.name)
}

func (n need) median(samples []sample) float64 {
	var values []float64
	for _, s := range samples {
		values = append(values, n.of(s))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// probe looks at a process from time to time.
type probe struct {
	stop    chan struct{}
	running sync.WaitGroup
	samples []sample
	err     error
}

// watch looks at the process over a load of that length.
func (k *soak) watch(length time.Duration) *probe {
	p := &probe{stop: make(chan struct{})}
	p.running.Go(func() {
		ticker := time.NewTicker(max(length/samplesOfLoad, samplePause))
		defer ticker.Stop()
		for p.err == nil {
			select {
			case <-p.stop:
				return
			case <-ticker.C:
			}
			var s sample
			s, p.err = k.sample()
			p.samples = append(p.samples, s)
		}
	})
	return p
}

// end gives what was seen.
func (p *probe) end(t *testing.T) []sample {
	t.Helper()
	close(p.stop)
	p.running.Wait()
	require.NoError(t, p.err)
	return p.samples
}

func (k *soak) sample() (s sample, err error) {
	request, err := http.NewRequestWithContext(k.Context(), http.MethodGet, "http://"+k.admin+"/metrics", http.NoBody)
	if err != nil {
		return s, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return s, err
	}
	defer func() { _ = response.Body.Close() }()
	metrics, err := io.ReadAll(response.Body)
	if err != nil {
		return s, err
	}
	if s.goroutines, err = numberIn(metrics, `(?m)^go_goroutines (\S+)$`); err != nil {
		return s, err
	}
	folder := "/proc/" + strconv.Itoa(k.fleet.processes[0].cmd.Process.Pid)
	descriptors, err := os.ReadDir(folder + "/fd")
	if err != nil {
		return s, err
	}
	s.descriptors = float64(len(descriptors))
	status, err := os.ReadFile(folder + "/status")
	if err != nil {
		return s, err
	}
	s.memory, err = numberIn(status, `(?m)^VmRSS:\s+(\d+) kB$`)
	s.memory *= kibibyte
	return s, err
}

func numberIn(text []byte, pattern string) (float64, error) {
	found := regexp.MustCompile(pattern).FindSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("there is no %s", pattern)
	}
	return strconv.ParseFloat(string(found[1]), 64)
}
