//go:build linux

package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// answerLimit is more than any answer has, in bytes.
	answerLimit = 16 << 10
	// wireLife bounds all that is done over one connection.
	wireLife = 3 * time.Minute
	// backlogGrace is how long after its end an open load still sends what was
	// due before.
	backlogGrace = time.Second
)

var (
	errNoLength = errors.New("an answer without Content-Length")
	errTooLong  = errors.New("an answer that is too long")
)

// wire is one keep-alive connection. It sends bytes that are ready and looks at
// no more of the answer than it must: net/http's client would take the very
// processors that are being measured.
type wire struct {
	conn   net.Conn
	buffer [answerLimit]byte
}

func dial(ctx context.Context, addr string) (*wire, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("dial the server: %w", err)
	}
	if err := conn.SetDeadline(time.Now().Add(wireLife)); err != nil {
		return nil, errors.Join(fmt.Errorf("set a deadline: %w", err), conn.Close())
	}
	return &wire{conn: conn}, nil
}

// ask sends a request and gives the answer's status and body, which is valid
// until the next call.
func (w *wire) ask(request []byte) (status int, body []byte, err error) {
	if _, err := w.conn.Write(request); err != nil {
		return 0, nil, fmt.Errorf("send a request: %w", err)
	}
	for n := 0; n < len(w.buffer); {
		more, err := w.conn.Read(w.buffer[n:])
		n += more
		status, body, whole, parseErr := parseAnswer(w.buffer[:n])
		if whole || parseErr != nil {
			return status, body, parseErr
		}
		if err != nil {
			return 0, nil, fmt.Errorf("read an answer: %w", err)
		}
	}
	return 0, nil, errTooLong
}

// parseAnswer reads the status, the length and the body of an HTTP/1.1 answer, as
// soon as it is whole.
func parseAnswer(answer []byte) (status int, body []byte, whole bool, err error) {
	const statusAt = len("HTTP/1.1 ")
	length := []byte("\r\nContent-Length: ")
	head := bytes.Index(answer, []byte("\r\n\r\n"))
	if head < 0 {
		return 0, nil, false, nil
	}
	for _, digit := range answer[statusAt : statusAt+3] {
		status = status*10 + int(digit-'0')
	}
	at := bytes.Index(answer[:head], length)
	if at < 0 {
		return status, nil, false, errNoLength
	}
	size := 0
	for _, digit := range answer[at+len(length):] {
		if digit < '0' || digit > '9' {
			break
		}
		size = size*10 + int(digit-'0')
	}
	start := head + len("\r\n\r\n")
	if len(answer) < start+size {
		return 0, nil, false, nil
	}
	return status, answer[start : start+size], true, nil
}

// buyer does one operation over its connection. It gives the last answer's status
// and body.
type buyer func(w *wire) (status int, body []byte, err error)

// plan is a load: closed, where each connection asks again as soon as it is
// answered; open, where so many arrive each second whatever the answers do; or a
// crowd, where so many come as fast as they are served.
type plan struct {
	addr        string
	pids        pids
	connections int
	buyer       func(connection int) buyer
	want        []int // the statuses that are right; the first one is success
	tolerant    bool  // other statuses are counted, too, and end nothing
	warm        time.Duration
	window      time.Duration
	rate        float64 // of an open load, a second
	crowd       int64
}

// load is what came of a plan. Window counts answers within the window, all of
// them from the first to the last.
type load struct {
	window    map[int]int
	all       map[int]int
	took      time.Duration   // the window
	waits     []time.Duration // of the successes, ascending, from the intended send
	unsent    int64           // of an open load: due, but not sent until its end
	lastGood  time.Duration   // when the last success came
	latest    time.Duration   // the longest wait for any answer, from the intended send
	processor usage
}

func (l *load) perSecond(status int) float64 { return float64(l.window[status]) / l.took.Seconds() }

// quantile is in milliseconds.
func (l *load) quantile(q float64) float64 {
	if len(l.waits) == 0 {
		return 0
	}
	at := min(int(q*float64(len(l.waits))), len(l.waits)-1)
	return float64(l.waits[at].Microseconds()) / 1000
}

// run carries the plan out. It fails on the first answer that is not wanted.
func (p *plan) run(ctx context.Context) (_ *load, err error) {
	wires := make([]*wire, p.connections)
	defer func() {
		for _, w := range wires {
			if w != nil {
				_ = w.conn.Close()
			}
		}
	}()
	for i := range wires {
		if wires[i], err = dial(ctx, p.addr); err != nil {
			return nil, err
		}
	}
	return p.drive(wires)
}

// race is a running plan.
type race struct {
	*plan
	start, from, to time.Time
	tickets         atomic.Int64
	broken          atomic.Bool
	mu              sync.Mutex
	sum             load
	err             error
}

func (p *plan) drive(wires []*wire) (*load, error) {
	start := time.Now()
	r := &race{plan: p, start: start, from: start.Add(p.warm), to: start.Add(p.warm + p.window)}
	r.sum = load{window: map[int]int{}, all: map[int]int{}, took: p.window}
	var running sync.WaitGroup
	for i, w := range wires {
		running.Go(func() { r.work(w, p.buyer(i)) })
	}
	if p.crowd > 0 {
		before := p.pids.usage()
		running.Wait()
		r.sum.took = time.Since(start)
		r.sum.processor = p.pids.usage().since(before)
	} else {
		time.Sleep(time.Until(r.from))
		before := p.pids.usage()
		time.Sleep(time.Until(r.to))
		r.sum.processor = p.pids.usage().since(before)
		running.Wait()
	}
	if p.rate > 0 {
		r.sum.unsent = max(int64(p.rate*(p.warm+p.window).Seconds())-r.tickets.Load(), 0)
	}
	slices.Sort(r.sum.waits)
	return &r.sum, r.err
}

// next says when an operation is meant to begin, and waits until then.
func (r *race) next() (intended time.Time, more bool) {
	now := time.Now()
	switch {
	case r.broken.Load():
		return now, false
	case r.crowd > 0:
		return now, r.tickets.Add(1) <= r.crowd
	case r.rate == 0:
		return now, now.Before(r.to)
	case now.After(r.to.Add(backlogGrace)):
		return now, false
	}
	intended = r.start.Add(time.Duration(float64(r.tickets.Add(1)-1) / r.rate * float64(time.Second)))
	if intended.After(r.to) {
		return intended, false
	}
	time.Sleep(time.Until(intended))
	return intended, true
}

func (r *race) work(w *wire, buy buyer) {
	own := load{window: map[int]int{}, all: map[int]int{}}
	for {
		intended, more := r.next()
		if !more {
			break
		}
		status, body, err := buy(w)
		if err == nil && !r.tolerant && !slices.Contains(r.want, status) {
			err = fmt.Errorf("the server answered %d, want one of %v: %s", status, r.want, body)
		}
		if err != nil {
			r.fail(err)
			break
		}
		r.note(&own, status, intended, time.Now())
	}
	r.add(&own)
}

func (r *race) note(own *load, status int, intended, answered time.Time) {
	own.all[status]++
	own.latest = max(own.latest, answered.Sub(intended))
	if r.crowd > 0 || answered.After(r.from) && !answered.After(r.to) {
		own.window[status]++
	}
	if status != r.want[0] {
		return
	}
	own.lastGood = answered.Sub(r.start)
	if r.crowd > 0 || intended.After(r.from) && !intended.After(r.to) {
		own.waits = append(own.waits, answered.Sub(intended))
	}
}

func (r *race) fail(err error) {
	r.broken.Store(true)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
}

func (r *race) add(own *load) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for status, n := range own.window {
		r.sum.window[status] += n
	}
	for status, n := range own.all {
		r.sum.all[status] += n
	}
	r.sum.waits = append(r.sum.waits, own.waits...)
	r.sum.lastGood = max(r.sum.lastGood, own.lastGood)
	r.sum.latest = max(r.sum.latest, own.latest)
}

// accepted is how many holds were made, the warm-up's among them.
func (l *load) accepted() int64 { return int64(l.all[http.StatusCreated]) }

// answers is how many came, of whatever status, the warm-up's among them.
func (l *load) answers() int {
	n := 0
	for _, count := range l.all {
		n += count
	}
	return n
}
