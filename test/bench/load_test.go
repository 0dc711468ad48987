//go:build linux

package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
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
	errClosed   = errors.New("the server closed a connection")

	errUnanswered = errors.New("no answer for minutes")
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
	request     func() func() []byte // instead of a buyer, of an open load: gives the next request
	want        []int                // the statuses that are right; the first one is success
	tolerant    bool                 // other statuses are counted, too, and end nothing
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
	unsent    float64         // of an open load: the share that was due, but not sent until its end
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
	if p.rate > 0 {
		return p.runOpen()
	}
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
	r := p.newRace()
	return r.drive(func(running *sync.WaitGroup) {
		for i, w := range wires {
			running.Go(func() { r.work(w, p.buyer(i)) })
		}
	})
}

// runOpen carries an open plan out.
func (p *plan) runOpen() (_ *load, err error) {
	r := p.newRace()
	o, err := r.openLoad()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	sum, err := r.drive(func(running *sync.WaitGroup) {
		running.Go(func() {
			if err := o.run(); err != nil {
				r.fail(err)
			}
			r.add(&o.own)
		})
	})
	sum.unsent = max(1-float64(o.sent)/math.Floor(p.rate*(p.warm+p.window).Seconds()), 0)
	return sum, err
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

func (p *plan) newRace() *race {
	return &race{plan: p, sum: load{window: map[int]int{}, all: map[int]int{}, took: p.window}}
}

// drive starts the senders now and waits for them.
func (r *race) drive(start func(*sync.WaitGroup)) (*load, error) {
	r.start = time.Now()
	r.from, r.to = r.start.Add(r.warm), r.start.Add(r.warm+r.window)
	var running sync.WaitGroup
	start(&running)
	if r.crowd > 0 {
		before := r.pids.usage()
		running.Wait()
		r.sum.took = time.Since(r.start)
		r.sum.processor = r.pids.usage().since(before)
	} else {
		time.Sleep(time.Until(r.from))
		before := r.pids.usage()
		time.Sleep(time.Until(r.to))
		r.sum.processor = r.pids.usage().since(before)
		running.Wait()
	}
	slices.Sort(r.sum.waits)
	return &r.sum, r.err
}

// next says whether there is another operation, which begins now.
func (r *race) next() (now time.Time, more bool) {
	now = time.Now()
	switch {
	case r.broken.Load():
		return now, false
	case r.crowd > 0:
		return now, r.tickets.Add(1) <= r.crowd
	default:
		return now, now.Before(r.to)
	}
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
			err = wrong(status, r.want, body)
		}
		if err != nil {
			r.fail(err)
			break
		}
		r.note(&own, status, intended, time.Now())
	}
	r.add(&own)
}

func wrong(status int, want []int, body []byte) error {
	return fmt.Errorf("the server answered %d, want one of %v: %s", status, want, body)
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
