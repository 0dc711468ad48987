package stress

import (
	"slices"
	"sync"
	"time"
)

const (
	// lookEach is how often progress is told.
	lookEach = 500 * time.Millisecond
	// maxPoints bounds the timeline while requests are sent.
	maxPoints = 300
	// maxSamples bounds the different transport errors that are kept.
	maxSamples = 5
)

// LoadPoint is a piece of the load's time: rates in requests a second, by when
// they were due (offered) or answered.
type LoadPoint struct {
	From     float64 `json:"from_s"`
	To       float64 `json:"to_s"`
	Offered  float64 `json:"offered_per_s"`
	Accepted float64 `json:"accepted_per_s"`
	Refused  float64 `json:"refused_per_s"`
	Failed   float64 `json:"failed_per_s"` // 503, transport errors and others
	// P50 and P99 are latencies of all that were answered then, in milliseconds;
	// nil: none were.
	P50 *float64 `json:"p50_ms"`
	P99 *float64 `json:"p99_ms"`
}

// LoadProgress is how a load goes.
type LoadProgress struct {
	Elapsed  time.Duration
	InFlight int64
	Now      LoadPoint // since the last time
}

// recorder counts what happens, in bounded memory. It is safe for concurrent use.
type recorder struct {
	mu                            sync.Mutex
	seen                          moment
	notSent                       int64
	late, good                    histogram // sending's lag, and the latency of what was accepted
	refusals, unavailable, others map[string]int64
	broken                        int64
	samples                       []string
	perProduct                    []tally
}

// tally is what one product's customers were told, in requests.
type tally struct{ accepted, undecided int64 }

// moment is a state of the counters that go into the timeline.
type moment struct {
	at                                 time.Duration
	offered, accepted, refused, failed int64
	all                                histogram
}

func newRecorder(products int) *recorder {
	return &recorder{
		refusals: map[string]int64{}, unavailable: map[string]int64{}, others: map[string]int64{},
		perProduct: make([]tally, products),
	}
}

// offer counts a request that was due.
func (r *recorder) offer(sent bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen.offered++
	if !sent {
		r.notSent++
	}
}

// add counts what came of a request.
func (r *recorder) add(a answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen.all.add(a.latency)
	r.late.add(a.lag)
	if a.undecided {
		r.perProduct[a.product].undecided++
	}
	switch a.verdict {
	case accepted:
		r.seen.accepted++
		r.good.add(a.latency)
		r.perProduct[a.product].accepted++
	case refused:
		r.seen.refused++
		r.refusals[a.label]++
	case unavailable:
		r.seen.failed++
		r.unavailable[a.label]++
	case broken:
		r.seen.failed++
		r.broken++
		r.sample(a.err.Error())
	case other:
		r.seen.failed++
		r.others[a.label]++
	}
}

func (r *recorder) sample(text string) {
	if len(r.samples) < maxSamples && !slices.Contains(r.samples, text) {
		r.samples = append(r.samples, text)
	}
}

// look copies the state.
func (r *recorder) look(at time.Duration) *moment {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.seen
	now.at = at
	return &now
}

// between is what happened from one moment to a later one.
func between(from, to *moment) LoadPoint {
	span := max(to.at-from.at, 1).Seconds()
	rate := func(before, after int64) float64 { return float64(after-before) / span }
	point := LoadPoint{
		From: from.at.Seconds(), To: to.at.Seconds(),
		Offered: rate(from.offered, to.offered), Accepted: rate(from.accepted, to.accepted),
		Refused: rate(from.refused, to.refused), Failed: rate(from.failed, to.failed),
	}
	if answered := to.all.since(&from.all); answered.total > 0 {
		p50, p99 := millis(answered.quantile(0.5)), millis(answered.quantile(0.99))
		point.P50, point.P99 = &p50, &p99
	}
	return point
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// watch tells progress and gathers the timeline until done.
func (l *loadRun) watch(done <-chan struct{}, workers *crew) []LoadPoint {
	ticker := time.NewTicker(lookEach)
	defer ticker.Stop()
	line, last := newTimeline(l.plan.Duration), &moment{}
	for {
		select {
		case <-done:
			return line.end(l.record.look(time.Since(l.began)))
		case <-ticker.C:
		}
		now := l.record.look(time.Since(l.began))
		line.add(now)
		if l.plan.Progress != nil {
			l.plan.Progress(LoadProgress{Elapsed: now.at, InFlight: workers.busy.Load(), Now: between(last, now)})
		}
		last = now
	}
}

// timeline makes points of moments, each at least width long, so that there are
// no more than maxPoints while requests are sent.
type timeline struct {
	width       time.Duration
	points      []LoadPoint
	start, prev *moment // where the next and the last point begin
}

func newTimeline(whole time.Duration) *timeline {
	looks := (whole + maxPoints*lookEach - 1) / (maxPoints * lookEach)
	return &timeline{width: max(1, looks) * lookEach, start: &moment{}}
}

func (t *timeline) add(now *moment) {
	if now.at-t.start.at < t.width-lookEach/2 { // a tick may come early
		return
	}
	t.points = append(t.points, between(t.start, now))
	t.prev, t.start = t.start, now
}

// end adds what is left, to the last point if it is too short for one of its own.
func (t *timeline) end(now *moment) []LoadPoint {
	if t.prev != nil && now.at-t.start.at < t.width/2 {
		t.points[len(t.points)-1] = between(t.prev, now)
		return t.points
	}
	return append(t.points, between(t.start, now))
}
