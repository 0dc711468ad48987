//go:build linux

package chaos

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/flashsale-api/flashsale/internal/testenv"
)

const (
	drainProcesses = 2
	drainRestarts  = 2
	// drainCalm is how many answers there are between two restarts, with all processes.
	drainCalm = 50
	// drainDelay is how long a process that stops serves on, for balancers to learn of it.
	drainDelay = "3s"
)

// Processes are restarted one after the other behind balancers that learn late. Those that
// stop are still there until the balancers know, let their clients go and end what they
// have begun: customers who send each request once have each answered, and so has who
// listens to live stock.
func TestRestartsBehindABalancerFailNoRequest(t *testing.T) {
	d := startDrain(t, "FLASHSALE_SHUTDOWN_DELAY="+drainDelay)
	requests, connections := d.balancer.ofRequests(t, d.fleet.secret), d.balancer.ofConnections(t, d.fleet.secret)
	d.run(requests, connections)
	assert.Zero(t, d.balancer.cut.Load(), "requests and connections that did not get through")
}

// Processes that stop without a delay close their connections under the requests that are
// on their way. A balancer that sends those again, as all may be, has each of them answered,
// and with its effect once.
func TestRestartsWithoutADelayFailNoRequestThatIsSentAgain(t *testing.T) {
	d := startDrain(t)
	d.balancer.again = true
	d.run(d.balancer.ofRequests(t, d.fleet.secret))
}

// drain is a fleet behind a balancer.
type drain struct {
	*testing.T
	fleet    *fleet
	balancer *balancer
	restarts int
	seed     uint64
}

func startDrain(t *testing.T, environ ...string) *drain {
	t.Helper()
	d := &drain{T: t, restarts: testenv.Number(t, "FLASHSALE_TEST_RESTARTS", drainRestarts), seed: testenv.Seed(t)}
	// Not to be answered in time would be another failure.
	d.fleet = startFleet(t, drainProcesses, append(environ, "FLASHSALE_OPERATION_TIMEOUT=5s", "FLASHSALE_SWEEP_INTERVAL=200ms")...)
	d.balancer = newBalancer(t, d.fleet)
	eventually(t, d.balancer.allReady, "the balancer does not use all processes")
	return d
}

// run restarts the processes while customers and listeners use the fronts.
func (d *drain) run(fronts ...*front) {
	d.Helper()
	seen := *d.fleet
	seen.processes = nil
	for _, front := range fronts {
		seen.processes = append(seen.processes, front.process)
	}
	s := startSeason(d.T, &seen, d.seed, func(c *customer) { c.once = true })
	crowd := d.listen(s.products[0], fronts)
	for i := range d.restarts {
		s.awaitAnswers(drainCalm)
		p := d.fleet.processes[i%len(d.fleet.processes)]
		d.fleet.stop(p)
		d.fleet.launch(p)
		d.fleet.awaitReady(p)
		eventually(d, d.balancer.allReady, "the balancer does not use a process again")
	}
	s.awaitAnswers(drainCalm)
	s.end()
	streams := crowd.leave(d.T, d.fleet.processes[0].api)
	s.verify()
	d.Logf("%d answers over %d restarts; %d requests were cut off on their way to a process, %d connections left as asked, %d streams came back",
		s.answers.Load(), d.restarts, d.balancer.cut.Load(), d.retired(fronts), streams)
}

// retired is how many connections were left since their server asked for it.
func (d *drain) retired(fronts []*front) (sum int64) {
	for _, s := range d.balancer.servers {
		sum += s.wires.retired.Load()
	}
	for _, front := range fronts {
		sum += front.wires.retired.Load()
	}
	return sum
}
