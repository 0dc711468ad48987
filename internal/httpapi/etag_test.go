package httpapi

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestIfNoneMatchIsComparedAsHTTPSays(t *testing.T) {
	for header, want := range map[string]bool{
		``:                  false,
		`"8"`:               true,
		`W/"8"`:             true,
		`*`:                 true,
		` * `:               true,
		`"7"`:               false,
		`"7", "8"`:          true,
		`"7","8"`:           true,
		`"7" , W/"8" `:      true,
		`W/"7", W/"88"`:     false,
		`8`:                 false,
		`8, "8"`:            true,
		`"a,b", "8"`:        true,
		`"a,"8",b"`:         false,
		`"8`:                false,
		`w/"8"`:             false,
		`, ,"8"`:            true,
		`"*"`:               false,
		`"7", *`:            false,
		`W/`:                false,
		`"7"; "8"`:          false,
		`"unfinished, "8"`:  false,
		"\t\"7\",\t\"8\"\t": true,
	} {
		require.Equal(t, want, matchesTag(header, `"8"`), "%q", header)
	}
}
