package testenv

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	packetHeader = 4 // three bytes of length, one of sequence
	comQuery     = 0x03
	// queryAttributes is what may stand between the command and its text when a
	// client sends attributes, with none given.
	queryAttributes = 2
)

var (
	commitText = []byte("COMMIT")
	dsnAddress = regexp.MustCompile(`@tcp\([^)]*\)`)
)

// cut is what happens to the next COMMIT.
type cut int32

const (
	cutNone     cut = iota
	cutCommit       // the server never sees it
	cutAnswer       // the client never sees that it happened
	cutFreeze       // it happens, and nothing passes from then on
	cutAfter        // the client hears of it, and of nothing else
	crashBefore     // the client dies before the server sees it
	crashAfter      // the client dies before it hears that it happened
)

// CommitProxy stands before MySQL and, on demand, loses one COMMIT, or the answer
// to it, or goes down at one. Connections through it must not be encrypted or
// compressed.
type CommitProxy struct {
	dsn      string
	server   string
	listener net.Listener
	next     atomic.Int32
	crashes  atomic.Pointer[crashes]
	cuts     atomic.Int64
	queries  atomic.Int64
	running  sync.WaitGroup
	mu       sync.Mutex
	closed   bool
	down     bool          // connections are refused
	thaw     chan struct{} // closed when what is frozen may pass; nil while nothing is
	links    map[*link]struct{}
}

// link is one client's connection.
type link struct {
	client, server net.Conn
	swallow        atomic.Bool // whatever the server says next is lost
	last           atomic.Bool // what the server says next is the last that the client hears
	crash          atomic.Bool // the client dies when the server says something
}

func (l *link) close() { _, _ = l.client.Close(), l.server.Close() }

// NewCommitProxy starts a proxy before the server of a DSN. It ends with the test.
func NewCommitProxy(tb testing.TB, dsn string) *CommitProxy {
	tb.Helper()
	address := dsnAddress.FindString(dsn)
	require.NotEmpty(tb, address, "the proxy needs a DSN with a TCP address")
	var config net.ListenConfig
	listener, err := config.Listen(tb.Context(), "tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	proxy := &CommitProxy{
		dsn:      dsnAddress.ReplaceAllString(dsn, "@tcp("+listener.Addr().String()+")"),
		server:   address[len("@tcp(") : len(address)-1],
		listener: listener,
		links:    map[*link]struct{}{},
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	proxy.running.Go(func() { proxy.accept(ctx) })
	tb.Cleanup(func() {
		cancel()
		proxy.close()
	})
	return proxy
}

// DSN leads through the proxy.
func (p *CommitProxy) DSN() string { return p.dsn }

// CutNextCommitAnswer lets the next COMMIT happen and closes its connection
// before the client hears of it.
func (p *CommitProxy) CutNextCommitAnswer() { p.next.Store(int32(cutAnswer)) }

// CutNextCommit closes the connection on which the next COMMIT comes, before the
// server hears of it.
func (p *CommitProxy) CutNextCommit() { p.next.Store(int32(cutCommit)) }

// FreezeAtNextCommit lets the next COMMIT happen and holds up whatever comes after
// it, on all connections and both ways, its answer among it, until Resume: a server
// that hangs.
func (p *CommitProxy) FreezeAtNextCommit() { p.next.Store(int32(cutFreeze)) }

// DieAfterNextCommit lets the next COMMIT happen and its client hear of it, with
// all other connections closed before and its own after; new ones are refused until
// Resume: a server that is gone when the answer is to be read.
func (p *CommitProxy) DieAfterNextCommit() { p.next.Store(int32(cutAfter)) }

// Resume ends what FreezeAtNextCommit or DieAfterNextCommit began: what was held up
// passes, and connections are taken again.
func (p *CommitProxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = false
	if p.thaw != nil {
		close(p.thaw)
		p.thaw = nil
	}
}

// Cuts is how many COMMITs met what was demanded for one, so that a test can tell
// that its own did.
func (p *CommitProxy) Cuts() int64 { return p.cuts.Load() }

// Queries is how many statements clients have sent so far, whether or not they
// passed. Pings are none.
func (p *CommitProxy) Queries() int64 { return p.queries.Load() }

func (p *CommitProxy) accept(ctx context.Context) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		var dialer net.Dialer
		server, err := dialer.DialContext(ctx, "tcp", p.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.serve(&link{client: client, server: server})
	}
}

func (p *CommitProxy) serve(link *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.down {
		link.close()
		return
	}
	p.links[link] = struct{}{}
	p.running.Go(func() { p.forward(link) })
	p.running.Go(func() { p.answer(link) })
}

func (p *CommitProxy) end(link *link) {
	link.close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, link)
}

func (p *CommitProxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	p.closed = true
	for link := range p.links {
		link.close()
	}
	p.mu.Unlock()
	p.Resume()
	p.running.Wait()
}

func (p *CommitProxy) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.thaw = make(chan struct{})
}

// await waits while the proxy is frozen.
func (p *CommitProxy) await() {
	p.mu.Lock()
	thaw := p.thaw
	p.mu.Unlock()
	if thaw != nil {
		<-thaw
	}
}

// die refuses connections from now on and closes all but one.
func (p *CommitProxy) die(survivor *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = true
	for link := range p.links {
		if link != survivor {
			link.close()
		}
	}
}

// forward carries packets to the server, one at a time, to see each COMMIT.
func (p *CommitProxy) forward(link *link) {
	defer p.end(link)
	reader := bufio.NewReader(link.client)
	for {
		packet, err := readPacket(reader)
		if err != nil {
			return
		}
		if isQuery(packet) {
			p.queries.Add(1)
		}
		p.await()
		if isCommit(packet) && !p.arrange(link) {
			return
		}
		if _, err := link.server.Write(packet); err != nil {
			return
		}
	}
}

// arrange prepares what was demanded for the COMMIT that has just come on a link,
// and says whether the server is to see it.
func (p *CommitProxy) arrange(link *link) bool {
	switch p.demanded() {
	case cutCommit:
		p.cuts.Add(1)
		return false
	case crashBefore:
		p.crash()
		return false
	case crashAfter:
		link.crash.Store(true)
	case cutAnswer:
		link.swallow.Store(true)
	case cutFreeze:
		p.cuts.Add(1)
		p.freeze()
	case cutAfter:
		link.last.Store(true)
	case cutNone:
	}
	return true
}

// answer carries bytes back. The protocol is question and answer, so what comes
// after a swallowed COMMIT was sent is its answer.
func (p *CommitProxy) answer(link *link) {
	defer p.end(link)
	buffer := make([]byte, 16<<10)
	for {
		n, err := link.server.Read(buffer)
		p.await()
		if link.crash.Load() {
			p.crash()
			return
		}
		if link.swallow.Load() {
			if n > 0 {
				p.cuts.Add(1)
			}
			return
		}
		last := link.last.Load()
		if last {
			p.cuts.Add(1)
			p.die(link)
		}
		if _, writeErr := link.client.Write(buffer[:n]); last || err != nil || writeErr != nil {
			return
		}
	}
}

func readPacket(reader io.Reader) ([]byte, error) {
	packet := make([]byte, packetHeader)
	if _, err := io.ReadFull(reader, packet); err != nil {
		return nil, err
	}
	length := binary.LittleEndian.Uint32(packet) & 0xffffff
	packet = append(packet, make([]byte, length)...)
	_, err := io.ReadFull(reader, packet[packetHeader:])
	return packet, err
}

func isQuery(packet []byte) bool {
	return len(packet) > packetHeader && packet[3] == 0 && packet[packetHeader] == comQuery
}

func isCommit(packet []byte) bool {
	if !isQuery(packet) {
		return false
	}
	text := packet[packetHeader+1:]
	if len(text) == queryAttributes+len(commitText) {
		text = text[queryAttributes:]
	}
	return bytes.EqualFold(text, commitText)
}
