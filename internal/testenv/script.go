package testenv

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// seedVariable replays a test that draws lots.
const seedVariable = "FLASHSALE_TEST_SEED"

// Seed is what a test draws its lots from: a new one, which the test's log names, or the
// one that FLASHSALE_TEST_SEED gives.
func Seed(tb testing.TB) uint64 {
	tb.Helper()
	seed := rand.Uint64() //nolint:gosec // lots of a test
	if text := os.Getenv(seedVariable); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			tb.Fatalf("%s: %v", seedVariable, err)
		}
	}
	tb.Logf("%s=%d", seedVariable, seed)
	return seed
}

// Number is how large a test is to be: as a variable of the environment says, or its
// short form.
func Number(tb testing.TB, variable string, short int) int {
	tb.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return short
	}
	number, err := strconv.Atoi(text)
	if err != nil || number < 1 {
		tb.Fatalf("%s: %q is not a number above 0", variable, text)
	}
	return number
}

// Duration is how long a test is to take: as a variable of the environment says, or its
// short form.
func Duration(tb testing.TB, variable string, short time.Duration) time.Duration {
	tb.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return short
	}
	duration, err := time.ParseDuration(text)
	if err != nil || duration <= 0 {
		tb.Fatalf("%s: %q is not a duration above 0", variable, text)
	}
	return duration
}
