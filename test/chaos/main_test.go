package chaos

import (
	"flag"
	"os"
	"testing"
)

// modelRuns is how many runs of commands the model is compared over, with each way of
// making a hold, unless RAPID_CHECKS says otherwise.
const modelRuns = "25"

func TestMain(m *testing.M) {
	if os.Getenv("RAPID_CHECKS") == "" {
		if err := flag.Set("rapid.checks", modelRuns); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}
