//go:build linux

package bench

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"syscall"
	"time"
	"unsafe"
)

const (
	// openPause is the shortest sleep of an open load: what is due meanwhile is sent
	// together, and its wait counts from when it was due.
	openPause = 100 * time.Microsecond
	// openEvents is how many answers one look at the sockets finds at most.
	openEvents = 256
	// epollPwait2 is the number of the system call: epoll_wait that sleeps for less than a
	// millisecond.
	epollPwait2 = 441
)

// openLoad sends an open load over many sockets by one thread. A goroutine and a timer for
// each request took a third of the very processors that are being measured, twice what a
// refusal costs the server.
type openLoad struct {
	*race
	request func() []byte
	poll    int // the epoll descriptor
	conns   map[int32]*openConn
	idle    []*openConn // the latest to become so last
	busy    int
	sent    int64
	own     load
	buffer  [answerLimit]byte
}

// openConn is one keep-alive connection, and the request that is under way on it.
type openConn struct {
	fd       int
	intended time.Time
	answer   []byte // as far as it has come
}

func (r *race) openLoad() (o *openLoad, err error) {
	o = &openLoad{
		race: r, request: r.request(), conns: make(map[int32]*openConn, r.connections),
		own: load{window: map[int]int{}, all: map[int]int{}},
	}
	if o.poll, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("create an epoll descriptor: %w", err)
	}
	return o, nil
}

func (o *openLoad) connect() error {
	addr, err := netip.ParseAddrPort(o.addr)
	if err != nil {
		return fmt.Errorf("read the server's address: %w", err)
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make a socket: %w", err)
	}
	conn := &openConn{fd: fd}
	o.conns[int32(fd)] = conn
	o.idle = append(o.idle, conn)
	event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}
	for _, err := range []error{
		syscall.Connect(fd, &syscall.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}),
		syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1),
		syscall.SetNonblock(fd, true),
		syscall.EpollCtl(o.poll, syscall.EPOLL_CTL_ADD, fd, &event),
	} {
		if err != nil {
			return fmt.Errorf("connect to the server: %w", err)
		}
	}
	return nil
}

func (o *openLoad) close() error {
	err := syscall.Close(o.poll)
	for _, conn := range o.conns {
		err = errors.Join(err, syscall.Close(conn.fd))
	}
	return err
}

// run sends and receives until the load's end. It fails on the first answer that is not
// wanted.
func (o *openLoad) run() error {
	for {
		due, more, err := o.send()
		if err != nil || !more && o.busy == 0 {
			return err
		}
		if err := o.receive(max(time.Until(due), openPause)); err != nil {
			return err
		}
		if time.Since(o.start) > wireLife {
			return fmt.Errorf("%d requests: %w", o.busy, errUnanswered)
		}
	}
}

// send sends what is due, as far as there are idle connections. It says when there may be
// something to send again, and whether there is more at all.
func (o *openLoad) send() (due time.Time, more bool, err error) {
	for now := time.Now(); ; {
		due = o.start.Add(time.Duration(float64(o.sent) / o.rate * float64(time.Second)))
		switch {
		case due.After(o.to) || now.After(o.to.Add(backlogGrace)):
			return now.Add(backlogGrace), false, nil
		case due.After(now):
			return due, true, nil
		case len(o.idle) == 0 && len(o.conns) == o.connections:
			return now.Add(backlogGrace), true, nil
		case len(o.idle) == 0:
			if err := o.connect(); err != nil {
				return now, false, err
			}
		}
		// The last used first, and new ones as they are needed: as the connection pools of
		// HTTP clients do.
		conn := o.idle[len(o.idle)-1]
		o.idle = o.idle[:len(o.idle)-1]
		o.busy++
		o.sent++
		conn.intended = due
		request := o.request()
		n, err := syscall.Write(conn.fd, request)
		if err == nil && n < len(request) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return due, false, fmt.Errorf("send a request: %w", err)
		}
	}
}

// receive waits for answers, at most so long.
func (o *openLoad) receive(patience time.Duration) error {
	var events [openEvents]syscall.EpollEvent
	limit := syscall.NsecToTimespec(patience.Nanoseconds())
	n, _, errno := syscall.Syscall6(epollPwait2, uintptr(o.poll), uintptr(unsafe.Pointer(&events[0])),
		openEvents, uintptr(unsafe.Pointer(&limit)), 0, 0)
	switch errno {
	case 0:
	case syscall.EINTR:
		n = 0
	default:
		return fmt.Errorf("wait for answers: %w", errno)
	}
	for _, event := range events[:n] {
		if err := o.read(o.conns[event.Fd]); err != nil {
			return err
		}
	}
	return nil
}

func (o *openLoad) read(conn *openConn) error {
	n, err := syscall.Read(conn.fd, o.buffer[:])
	switch {
	case err != nil:
		return fmt.Errorf("read an answer: %w", err)
	case n == 0:
		return errClosed
	}
	answer := o.buffer[:n]
	if len(conn.answer) > 0 {
		answer = append(conn.answer, answer...)
	}
	status, body, whole, err := parseAnswer(answer)
	switch {
	case err != nil:
		return err
	case !whole:
		conn.answer = slices.Clone(answer)
		return nil
	case !o.tolerant && !slices.Contains(o.want, status):
		return wrong(status, o.want, body)
	}
	conn.answer = nil
	o.note(&o.own, status, conn.intended, time.Now())
	o.busy--
	o.idle = append(o.idle, conn)
	return nil
}
