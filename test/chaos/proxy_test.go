//go:build linux

package chaos

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// proxyBuffer is how much a proxy reads at once: more than most packets and answers.
const proxyBuffer = 32 << 10

// faults say how often a piece of traffic, as it was read, meets what: each is a
// probability, and the first that strikes is what happens.
type faults struct {
	lose   float64       // its connection is cut before it passes; of answers only
	cut    float64       // its connection is cut after some of its bytes
	stall  float64       // it is held up for up to patience
	delay  float64       // it is held up for up to latency
	pieces float64       // it is written in pieces
	stalls time.Duration // the longest stall
	delays time.Duration // the longest delay
}

// tally is how often each fault struck.
type tally struct{ lost, cut, stalled, delayed, pieces, links atomic.Int64 }

// proxy stands before a server, carries bytes both ways, and does harm to them on demand.
type proxy struct {
	listener net.Listener
	target   string
	harm     atomic.Pointer[faults] // nil: none
	tally    tally
	running  sync.WaitGroup
	ended    chan struct{}

	mu    sync.Mutex
	dice  *rand.Rand
	links map[net.Conn]struct{} // both ends of each
}

// startProxy starts one before an address until the test's end.
func startProxy(tb testing.TB, target string, seed uint64) *proxy {
	tb.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(tb.Context(), "tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	p := &proxy{
		listener: listener, target: target, ended: make(chan struct{}),
		dice: rand.New(rand.NewPCG(seed, 0)), links: map[net.Conn]struct{}{},
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	p.running.Go(func() { p.accept(ctx) })
	tb.Cleanup(func() {
		cancel()
		p.close()
	})
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

// inflict does harm to all traffic from now on, none for nil. What is stalled stays so for
// its time.
func (p *proxy) inflict(f *faults) { p.harm.Store(f) }

func (p *proxy) accept(ctx context.Context) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		var dialer net.Dialer
		server, err := dialer.DialContext(ctx, "tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.tally.links.Add(1)
		p.serve(client, server)
	}
}

func (p *proxy) serve(client, server net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.links[client], p.links[server] = struct{}{}, struct{}{}
	select {
	case <-p.ended:
		_, _ = client.Close(), server.Close()
		return
	default:
	}
	p.running.Go(func() { p.carry(client, server, false) })
	p.running.Go(func() { p.carry(server, client, true) })
}

func (p *proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	close(p.ended)
	for link := range p.links {
		_ = link.Close()
	}
	p.mu.Unlock()
	p.running.Wait()
}

// carry passes on what comes from one end to the other until either is gone.
func (p *proxy) carry(from, to net.Conn, answers bool) {
	defer p.end(from, to)
	buffer := make([]byte, proxyBuffer)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !p.pass(to, buffer[:n], answers) || err != nil {
			return
		}
	}
}

func (p *proxy) end(from, to net.Conn) {
	_, _ = from.Close(), to.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, from)
	delete(p.links, to)
}

// pass writes what was read, or does harm to it, and says whether the connection lives on.
func (p *proxy) pass(to net.Conn, data []byte, answers bool) bool {
	harm := p.harm.Load()
	if harm == nil {
		_, err := to.Write(data)
		return err == nil
	}
	lot := p.lot()
	struck := func(probability float64, count *atomic.Int64) bool {
		lot -= probability
		if lot >= 0 || lot+probability < 0 {
			return false
		}
		count.Add(1)
		return true
	}
	switch {
	case answers && struck(harm.lose, &p.tally.lost):
		return false
	case struck(harm.cut, &p.tally.cut):
		p.cut(to, data)
		return false
	case struck(harm.stall, &p.tally.stalled):
		p.wait(harm.stalls)
	case struck(harm.delay, &p.tally.delayed):
		p.wait(harm.delays)
	case struck(harm.pieces, &p.tally.pieces):
		return p.writePieces(to, data)
	}
	_, err := to.Write(data)
	return err == nil
}

// cut lets some bytes pass. Half of the connections end with a reset.
func (p *proxy) cut(to net.Conn, data []byte) {
	_, _ = to.Write(data[:int(p.lot()*float64(len(data)))])
	if tcp, ok := to.(*net.TCPConn); ok && p.lot() < 0.5 {
		_ = tcp.SetLinger(0)
	}
}

func (p *proxy) writePieces(to net.Conn, data []byte) bool {
	for len(data) > 0 {
		n := 1 + int(p.lot()*float64(len(data)))
		if _, err := to.Write(data[:n]); err != nil {
			return false
		}
		data = data[n:]
	}
	return true
}

// wait holds up for a random time up to the longest, or until the proxy ends.
func (p *proxy) wait(longest time.Duration) {
	timer := time.NewTimer(time.Duration(p.lot() * float64(longest)))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.ended:
	}
}

// lot is a number from 0 up to 1.
func (p *proxy) lot() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dice.Float64()
}
