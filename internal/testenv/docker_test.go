package testenv

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAMissingImageSaysHowToMakeIt(t *testing.T) {
	t.Parallel()
	spec := redisSpec()
	spec.image = "flashsale-no-such-image:0"
	_, err := startShared(t.Context(), spec)
	require.ErrorIs(t, err, errNoImage)
	assert.ErrorContains(t, err, spec.image)
}

func TestServersOfOtherArgumentsOrImagesAreOthers(t *testing.T) {
	t.Parallel()
	spec := redisSpec()
	name := spec.name("image")
	assert.Equal(t, name, redisSpec().name("image"))
	assert.NotEqual(t, name, spec.name("another image"))
	spec.args = append(spec.args, "--maxmemory", "1mb")
	assert.NotEqual(t, name, spec.name("image"))
}
