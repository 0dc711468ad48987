// Package crash kills the service at its commits, from outside, and proves that
// nothing is lost or done twice.
package crash

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/app"
	"github.com/flashsale-api/flashsale/internal/testenv"
)

// allVariable asks for a story for each crash, instead of all crashes in one.
const allVariable = "FLASHSALE_TEST_CRASH_ALL"

// crashesOfStep is how many crashes one step of the story meets at most: a step of
// two commits meets four. What commits each time that it is asked would meet no end.
const crashesOfStep = 4

func never(int, int) testenv.Crash { return testenv.CrashNowhere }

// always is a crash before each commit and one after it.
func always(_, ofStep int) testenv.Crash {
	switch {
	case ofStep > crashesOfStep:
		return testenv.CrashNowhere
	case ofStep%2 == 1:
		return testenv.CrashBefore
	default:
		return testenv.CrashAfter
	}
}

// once is one crash, at one of all commits.
func once(commit int, crash testenv.Crash) plan {
	return func(ofAll, _ int) testenv.Crash {
		if ofAll == commit {
			return crash
		}
		return testenv.CrashNowhere
	}
}

// The whole story, whatever crashes it meets, leaves what testdata/left.txt says.
func TestCrashBeforeAndAfterEachCommitLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	if os.Getenv(allVariable) != "" {
		t.Run("merged", func(t *testing.T) { crashOnceEach(t) })
		t.Run("plain", func(t *testing.T) { crashOnceEach(t, app.EnvCoalesce+"=off") })
		return
	}
	calm, crashed := run(t, never), run(t, always)
	assert.GreaterOrEqual(t, crashed.proxy.Cuts(), int64(2*calm.allCommits()))
}

// crashOnceEach tells a story for each commit and side of it.
func crashOnceEach(t *testing.T, settings ...string) {
	t.Helper()
	t.Parallel()
	calm := run(t, never, settings...)
	for name, crash := range map[string]testenv.Crash{"before": testenv.CrashBefore, "after": testenv.CrashAfter} {
		for commit := 1; commit <= calm.allCommits(); commit++ {
			t.Run(fmt.Sprint(name, " ", commit), func(t *testing.T) {
				crashed := run(t, once(commit, crash), settings...)
				assert.Equal(t, int64(1), crashed.proxy.Cuts())
			})
		}
	}
}

// run plays the story in a world of its own, and looks at what it left.
func run(t *testing.T, crash plan, settings ...string) *world {
	t.Helper()
	w := newWorld(t, crash, settings...)
	w.play()
	want, err := os.ReadFile("testdata/left.txt")
	require.NoError(t, err)
	assert.Equal(t, string(want), strings.Join(w.left(), "\n")+"\n")
	return w
}
