//go:build linux

package chaos

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// wires is an http.RoundTripper with keep-alive connections to one address. Unlike that of
// net/http it sends each request once: a connection that the server closes under a request
// is a failure.
type wires struct {
	addr    string
	retired atomic.Int64 // connections whose end the server asked for

	mu   sync.Mutex
	idle []*wire
}

func newWires(tb testing.TB, addr string) *wires {
	tb.Helper()
	p := &wires{addr: addr}
	tb.Cleanup(p.close)
	return p
}

// wire is one connection.
type wire struct {
	*net.TCPConn
	reader *bufio.Reader
}

// RoundTrip sends a request over a connection that idles, or a new one.
func (p *wires) RoundTrip(r *http.Request) (*http.Response, error) {
	w, err := p.take(r.Context())
	if err != nil {
		return nil, err
	}
	left := context.AfterFunc(r.Context(), func() { _ = w.Close() })
	response, err := w.ask(r)
	if err != nil {
		left()
		return nil, errors.Join(err, w.Close())
	}
	response.Body = &reading{ReadCloser: response.Body, end: func(whole bool) {
		if left() && whole && !response.Close {
			p.put(w)
			return
		}
		if response.Close {
			p.retired.Add(1)
		}
		_ = w.Close() // nothing is left to say
	}}
	return response, nil
}

func (w *wire) ask(r *http.Request) (*http.Response, error) {
	if err := r.Write(w); err != nil {
		return nil, fmt.Errorf("send a request: %w", err)
	}
	response, err := http.ReadResponse(w.reader, r)
	if err != nil {
		return nil, fmt.Errorf("read an answer: %w", err)
	}
	return response, nil
}

// take gives the connection that has idled longest, so that none idles for long while
// requests are sent. One that the server closed meanwhile is none.
func (p *wires) take(ctx context.Context) (*wire, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle) > 0 {
		w := p.idle[0]
		p.idle = p.idle[1:]
		if !w.closed() {
			return w, nil
		}
		_ = w.Close() // the server has, too
	}
	return dial(ctx, p.addr)
}

func (p *wires) put(w *wire) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, w)
}

func (p *wires) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.idle {
		_ = w.Close() // nothing is under way
	}
	p.idle = nil
}

func dial(ctx context.Context, addr string) (*wire, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	return &wire{TCPConn: conn.(*net.TCPConn), reader: bufio.NewReader(conn)}, nil //nolint:errcheck,forcetypeassert // of the network tcp
}

// closed says whether the server has closed a connection that idles: then there is an
// end to read.
func (w *wire) closed() bool {
	raw, err := w.SyscallConn()
	if err != nil {
		return true
	}
	var peeked error
	err = raw.Read(func(fd uintptr) bool {
		_, _, peeked = syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return true
	})
	return err != nil || !errors.Is(peeked, syscall.EAGAIN)
}

// reading is an answer's body. It tells its end once, and whether it was read whole.
type reading struct {
	io.ReadCloser
	once sync.Once
	end  func(whole bool)
}

func (b *reading) Read(into []byte) (int, error) {
	n, err := b.ReadCloser.Read(into)
	if err != nil {
		b.once.Do(func() { b.end(errors.Is(err, io.EOF)) })
	}
	return n, err
}

// Close leaves a body. What was not read of it is not waited for.
func (b *reading) Close() error {
	b.once.Do(func() { b.end(false) })
	return nil
}
