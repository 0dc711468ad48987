package app

import (
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"

	"github.com/flashsale-api/flashsale/internal/httpapi"
)

func TestACrowdThatAsksForReadinessCostsOneLookAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const crowd = 100
		var probe readiness
		looks := 0
		release := make(chan httpapi.Readiness)
		look := func() httpapi.Readiness {
			looks++
			return <-release
		}
		for _, found := range []httpapi.Readiness{{MySQL: "down"}, {Ready: true, MySQL: "up"}} {
			before := looks
			var asking sync.WaitGroup
			for range crowd {
				asking.Go(func() { assert.Equal(t, found, probe.ask(look)) })
			}
			synctest.Wait()
			release <- found
			asking.Wait()
			assert.Equal(t, before+1, looks)
		}
	})
}
