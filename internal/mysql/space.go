package mysql

import (
	"sync"
	"time"
)

// space keeps changes away from a server that has no room for them, but for one now and
// then that looks whether there is some again. What did not fit is undone, and where that
// needs room itself InnoDB ends the whole server: the fewer try, the longer it lives.
type space struct {
	pause time.Duration // between two looks
	mu    sync.Mutex
	look  time.Time // when the next may be; zero: there is room
}

// admit says whether a change may begin, and whether it is the one that looks.
func (s *space) admit() (admitted, looks bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	switch {
	case s.look.IsZero():
		return true, false
	case now.Before(s.look):
		return false, false
	default:
		s.look = now.Add(s.pause)
		return true, true
	}
}

// note learns from what came of a change. One that had begun when there was no room left, and
// fit, says nothing of it. Neither does a look that ended for another reason: the next change
// looks in its place.
func (s *space) note(err error, looked bool) {
	full := isFull(err)
	if !full && !looked {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case full:
		s.look = time.Now().Add(s.pause)
	case err == nil:
		s.look = time.Time{}
	default:
		s.look = time.Now()
	}
}
