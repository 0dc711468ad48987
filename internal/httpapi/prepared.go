package httpapi

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// preparedProblem is a problem's JSON around the id of the request that it answers.
type preparedProblem struct{ head, tail []byte }

func prepareProblem(failure *sale.Error, kind problemKind) (preparedProblem, error) {
	id := rand.Text()
	body, err := json.Marshal(newProblem(id, "", failure, kind))
	if err != nil {
		return preparedProblem{}, fmt.Errorf("prepare a problem: %w", err)
	}
	head, tail, found := bytes.Cut(body, []byte(`"`+id+`"`))
	if !found {
		return preparedProblem{}, fmt.Errorf("prepare a problem: no instance in %s", body)
	}
	return preparedProblem{head: head, tail: tail}, nil
}

// answer is the problem for one request.
func (p preparedProblem) answer(id string) ([]byte, error) {
	body := make([]byte, 0, len(p.head)+len(id)+len(p.tail)+len(`""`))
	body, err := appendText(append(body, p.head...), id)
	return append(body, p.tail...), err
}

// refusals remembers the last refusal of lines. A crowd that comes too late is refused
// with one and the same, a batch at a time: whoever gets it second has it prepared.
type refusals struct{ last atomic.Pointer[repeated] }

type repeated struct {
	failure *sale.Error
	prepare func() (preparedProblem, error)
}

// encode gives the JSON of a refusal of lines.
func (r *refusals) encode(id string, failure *sale.Error, kind problemKind) ([]byte, error) {
	last := r.last.Load()
	if last == nil || last.failure != failure {
		r.last.Store(&repeated{failure, sync.OnceValues(func() (preparedProblem, error) { return prepareProblem(failure, kind) })})
		return json.Marshal(newProblem(id, "", failure, kind))
	}
	prepared, err := last.prepare()
	if err != nil {
		return nil, err
	}
	return prepared.answer(id)
}
