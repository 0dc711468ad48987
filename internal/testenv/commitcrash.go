package testenv

// Crash is where a client dies of a COMMIT.
type Crash int

// The places of a crash.
const (
	CrashNowhere Crash = iota
	CrashBefore        // the server never sees the COMMIT
	CrashAfter         // it took place, and the client never hears of it
)

// crashes is what CrashClients was given.
type crashes struct {
	where func() Crash
	kill  func()
}

// CrashClients asks at each COMMIT where its client dies of it and calls kill there,
// which has to end the client's process before it returns. Other demands for a COMMIT
// are not met from then on.
func (p *CommitProxy) CrashClients(where func() Crash, kill func()) {
	p.crashes.Store(&crashes{where: where, kill: kill})
}

// demanded is what has to happen to the COMMIT that has just come.
func (p *CommitProxy) demanded() cut {
	demand := p.crashes.Load()
	if demand == nil {
		return cut(p.next.Swap(int32(cutNone)))
	}
	switch demand.where() {
	case CrashBefore:
		return crashBefore
	case CrashAfter:
		return crashAfter
	case CrashNowhere:
	}
	return cutNone
}

// crash ends the client.
func (p *CommitProxy) crash() {
	p.cuts.Add(1)
	p.crashes.Load().kill()
}
